import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import { nextChunk, opensslClient, readAll } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { freePort } from "../processes.ts";
import { type Delivery, tap } from "../tap.ts";

const SECRET = "the-plaintext-that-no-log-shows";

/** These tests wait for the node's timeouts. Its log level is the lowest, to see that it logs no bytes. */
describe("Peers that fall silent", needs("openssl"), () => {
  let pki: Pki;
  let node: TestNode;
  let server: tls.Server;
  const mute = net.createServer((socket) => void socket.on("error", () => socket.destroy()).resume());

  before(async () => {
    pki = await makePki();
    const identity = { cert: readFileSync(pki.server.ecdsa.certificate), key: readFileSync(pki.server.ecdsa.key) };
    server = tls.createServer(identity, (socket) => void socket.on("error", () => socket.destroy()).pipe(socket));
    server.listen(0, "127.0.0.1");
    mute.listen(0, "127.0.0.1");
    await Promise.all([once(server, "listening"), once(mute, "listening")]);
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { tls: (server.address() as net.AddressInfo).port, mute: (mute.address() as net.AddressInfo).port },
      config: {
        timeouts: { hello: "1s", handshake: "3s", idle: "3s", drain: "1s" },
        log: { level: "trace" },
      },
    });
  });
  after(async () => {
    const output = node?.process.output();
    await node?.stop();
    server?.close();
    mute.close();
    assert.ok(!output.includes(SECRET), "plaintext in the log");
  });

  test("An idle decrypted session is ended on both sides", async () => {
    const servername = `idle.${DOMAIN}`;
    const ca = readFileSync(node.primary, "utf8").split(/(?<=END CERTIFICATE-----\n)/);
    const client = tls.connect({ port: node.forward("tls"), host: "127.0.0.1", servername, ca });
    await once(client, "secureConnect");
    client.write(SECRET);
    assert.equal((await nextChunk(client))?.toString(), SECRET);
    await readAll(client).catch((error: NodeJS.ErrnoException) => assert.equal(error.code, "ECONNRESET"));
    const session = await node.session(servername);
    assert.match(session.closeReason ?? "", /Nothing passed for 3 s/);
  });

  test("When a server never answers the ClientHello, the client gets an alert", async () => {
    const name = `mute.${DOMAIN}`;
    const { code } = await opensslClient({ way: { port: node.forward("mute") }, name, roots: node.primary, input: "" });
    assert.notEqual(code, 0);
    const session = await node.session(name);
    assert.equal(session.verdict, null);
    assert.match(session.closeReason ?? "", /server/i);
  });

  test("A client that stops in the middle of its handshake is disconnected", async () => {
    const name = `stops.${DOMAIN}`;
    let first = true;
    // The ClientHello passes; the client's next flight does not.
    const helloOnly: Delivery = async (bytes, send) => {
      if (first) await send(bytes);
      first = false;
      await new Promise<never>(() => undefined);
    };
    const client = await tap(node.forward("tls"), helloOnly);
    const { code } = await opensslClient({ way: { port: client.port }, name, roots: node.primary });
    client.close();
    assert.notEqual(code, null);
    const session = await node.session(name);
    assert.match(session.closeReason ?? "", /client/i);
    assert.ok(client.connections[0]!.fromClient.length > client.connections[0]!.fromClient.readUInt16BE(3) + 5);
  });

  test("A silent client of the explicit proxy gets 408", async () => {
    const client = net.connect(node.proxy, "127.0.0.1");
    assert.match((await readAll(client)).toString(), /^HTTP\/1\.1 408 /);
  });
});

/** Longer than any test may take, so only the reload can end a wait sooner. */
const TOO_LONG = "1h";

test("A reload of timeouts reaches open listeners and tools", { timeout: 120_000 }, async (t) => {
  const echo = net.createServer((socket) => void socket.on("error", () => socket.destroy()).pipe(socket));
  await once(echo.listen(0, "127.0.0.1"), "listening");
  t.after(() => echo.close());
  // A tool that accepts connections and never connects back.
  const tool = net.createServer((socket) => void socket.on("error", () => socket.destroy()).resume());
  const toolPort = await freePort();
  await once(tool.listen(toolPort, "127.0.0.1"), "listening");
  t.after(() => tool.close());
  await using node = await startNode({
    trust: [],
    forwards: { echo: (echo.address() as net.AddressInfo).port },
    config: {
      timeouts: { connect: TOO_LONG, hello: TOO_LONG, drain: "1s" },
      tools: [
        {
          name: "mute",
          kind: "proxy",
          address: `127.0.0.1:${toolPort}`,
          returnAddress: `127.0.0.1:${await freePort()}`,
          flows: ["notTls"],
          heartbeat: { enabled: false },
        },
      ],
    },
  });
  node.rewrite({ timeouts: { connect: "1s", hello: "1s", drain: "1s" } });
  const reloaded = await node.command("reload");
  assert.equal(reloaded.code, 0, reloaded.stderr);

  const silent = net.connect(node.proxy, "127.0.0.1");
  assert.match((await readAll(silent)).toString(), /^HTTP\/1\.1 408 /);

  const since = Date.now();
  const client = net.connect(node.forward("echo"), "127.0.0.1");
  await once(client, "connect");
  const { localPort } = client;
  client.on("error", () => {}).write("not TLS\r\n\r\n");
  const session = await node.sessionFrom(localPort!, since);
  assert.match(session.closeReason ?? "", /The tool mute did not connect back in 1 s/);
  await node.stop();
});
