import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import { curl } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { RECORDED } from "../recorded/client-hello/recorded.ts";

/** unrecognized_name, as a warning: clients read past it. */
const WARNING = Buffer.from("15030300020170", "hex");

describe("Ways past the policy", needs("curl"), () => {
  let pki: Pki;
  let node: TestNode;
  let server: net.Server;

  before(async () => {
    pki = await makePki();
    const { certificate, key } = pki.server.ecdsa;
    // TLS 1.2: the versions in which clients expect a warning before the ServerHello.
    const secureContext = tls.createSecureContext({
      cert: readFileSync(certificate),
      key: readFileSync(key),
      maxVersion: "TLSv1.2",
    });
    server = net.createServer((socket) => {
      socket.on("error", () => {});
      socket.write(WARNING);
      const stream = new tls.TLSSocket(socket, { isServer: true, secureContext });
      stream.on("error", () => {});
      stream.once("data", () => stream.end("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret"));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as net.AddressInfo;
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: port },
      config: { policy: { rules: [{ name: "no", match: { host: [`no.${DOMAIN}`] }, action: "drop" }] } },
    });
  });
  after(async () => {
    await node?.stop();
    server?.close();
  });

  const ask = (host: string) => curl({ port: node.forward("web") }, node.primary, ["--http1.1", `https://${host}/`]);

  test("A server that speaks first, in TLS, reaches no client of a host that policy drops", async () => {
    const { code, stdout } = await ask(`no.${DOMAIN}`);
    assert.notEqual(code, 0);
    assert.equal(stdout, "");
    const { verdict, rule, protocol } = await node.session(`no.${DOMAIN}`);
    assert.deepEqual([verdict, rule, protocol], ["drop", "no", "tls"]);
  });

  test("A server that speaks first, in TLS, is decrypted where policy says so", async () => {
    const { stdout } = await ask(`yes.${DOMAIN}`);
    assert.equal(stdout, "secret");
    assert.equal((await node.session(`yes.${DOMAIN}`)).verdict, "decrypt");
  });

  test("A client that puts a record in front of its hello gets unexpected_message, and nothing of it passes", async () => {
    for (const prefix of ["15030300020170", "140303000101"]) {
      const since = Date.now();
      const socket = net.connect(node.forward("web"), "127.0.0.1");
      await once(socket, "connect");
      const port = socket.localPort!;
      socket.write(Buffer.concat([Buffer.from(prefix, "hex"), RECORDED["go"]!]));
      const answer: Buffer[] = [];
      for await (const bytes of socket) answer.push(bytes);
      assert.equal(Buffer.concat(answer).toString("hex"), "1503030002020a");
      const { verdict, closeReason } = await node.sessionFrom(port, since);
      assert.equal(verdict, null);
      assert.match(closeReason!, /a record of another type comes before its end/);
    }
  });
});
