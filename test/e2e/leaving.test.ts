import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import { connectThrough, nextChunk, opensslClient, readAll } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Origin, opensslServer } from "../peers.ts";
import { DOMAIN, makePki } from "../pki.ts";
import { start } from "../processes.ts";

describe("Leaving a decrypted session", needs("openssl"), () => {
  let node: TestNode;
  let server: tls.Server;
  let reversing: Origin;
  /** Takes connections and says nothing. */
  let mute: net.Server;
  let roots: string;

  before(async () => {
    const pki = await makePki();
    const identity = { cert: readFileSync(pki.server.ecdsa.certificate), key: readFileSync(pki.server.ecdsa.key) };
    server = tls.createServer({ ...identity, allowHalfOpen: true });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    mute = net.createServer({ allowHalfOpen: true });
    mute.listen(0, "127.0.0.1");
    await once(mute, "listening");
    reversing = await opensslServer(pki.server.ecdsa, { version: "TLSv1.2", mode: "-rev" });
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: {
        tls: (server.address() as net.AddressInfo).port,
        reversing: reversing.port,
        mute: (mute.address() as net.AddressInfo).port,
      },
    });
    roots = readFileSync(node.primary, "utf8");
  });
  after(async () => {
    await node?.stop();
    await reversing?.process.stop();
    server?.close();
    mute?.close();
  });

  /** A session through the node: the TLS sockets of both ends, and the TCP sockets below. */
  async function join(way: string, servername: string, version: tls.SecureVersion) {
    const accepted = once(server, "secureConnection") as Promise<[tls.TLSSocket]>;
    const accepting = once(server, "connection") as Promise<[net.Socket]>;
    const port = (server.address() as net.AddressInfo).port;
    const below =
      way === "forward"
        ? net.connect({ port: node.forward("tls"), host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
        : (await connectThrough(node.proxy, `127.0.0.1:${port}`)).socket;
    const limits = { minVersion: version, maxVersion: version } as const;
    // TypeScript's types miss that `connect` hands this on to the socket.
    const halfOpen = { allowHalfOpen: true };
    const client = tls.connect({
      socket: below,
      servername,
      ca: roots.split(/(?<=END CERTIFICATE-----\n)/),
      ...limits,
      ...halfOpen,
    });
    await once(client, "secureConnect");
    const [end] = await accepted;
    const [endBelow] = await accepting;
    return { client, below, end, endBelow };
  }

  for (const way of ["explicit", "forward"]) {
    for (const how of ["closed", "reset"] as const) {
      test(`A client that leaves during the handshake with the server ends the session, ${how}, ${way}`, async () => {
        const host = `early-${how}-${way}.${DOMAIN}`;
        const accepting = once(mute, "connection") as Promise<[net.Socket]>;
        const below =
          way === "forward"
            ? net.connect({ port: node.forward("mute"), host: "127.0.0.1" })
            : (await connectThrough(node.proxy, `127.0.0.1:${(mute.address() as net.AddressInfo).port}`)).socket;
        const client = tls.connect({ socket: below, servername: host });
        client.on("error", () => undefined);
        const [end] = await accepting;
        end.on("error", () => undefined);
        assert.equal((await nextChunk(end))?.[0], 22, "the node's ClientHello");
        const closed = once(end, "close").catch(() => undefined);
        end.resume().once("end", () => end.end());
        if (how === "reset") below.resetAndDestroy();
        else below.end();
        await closed;
        const session = await node.session(host);
        assert.match(session.closeReason ?? "", /^The client .* during the handshake with the server$/);
        assert.equal(session.clientLeft, how);
      });
    }
  }

  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    for (const way of ["explicit", "forward"]) {
      const host = (what: string) => `${what}-${version.replace(".", "").toLowerCase()}-${way}.${DOMAIN}`;

      test(`A client's half-close lets the server answer, ${version}, ${way}`, async () => {
        const { client, end } = await join(way, host("client-ends"), version);
        client.end("question");
        assert.equal((await readAll(end)).toString(), "question");
        end.write("a long ");
        assert.equal((await nextChunk(client))?.toString(), "a long ");
        end.end("answer");
        assert.equal((await readAll(client)).toString(), "answer");
        const session = await node.session(host("client-ends"));
        assert.deepEqual([session.clientLeft, session.serverLeft], ["closed", "closed"]);
        for (const { alertReceived, alertSent } of [session.clientLeg, session.serverLeg])
          assert.deepEqual([alertReceived, alertSent], ["close_notify", "close_notify"]);
        assert.match(session.closeReason ?? "", /client/i);
      });

      for (const how of ["closed", "reset"] as const) {
        test(`The record says that a client left right after the handshake, ${how}, ${version}, ${way}`, async () => {
          const { client, below, end } = await join(way, host(`at-once-${how}`), version);
          for (const one of [client, end]) one.on("error", () => undefined);
          end.resume().once("end", () => end.end());
          // Node's TLS sends the client's Finished when its listeners have been told.
          await new Promise(setImmediate);
          if (how === "reset") below.resetAndDestroy();
          else client.end();
          const session = await node.session(host(`at-once-${how}`));
          assert.match(
            session.closeReason ?? "",
            new RegExp(`^The client ${how} the connection right after the handshake$`),
          );
          assert.deepEqual([session.clientLeft, session.clientLeg.version], [how, version]);
        });
      }

      test(`A server's half-close lets the client go on, ${version}, ${way}`, async () => {
        const { client, end } = await join(way, host("server-ends"), version);
        end.end("last words");
        assert.equal((await readAll(client)).toString(), "last words");
        client.write("still ");
        assert.equal((await nextChunk(end))?.toString(), "still ");
        client.end("here");
        assert.equal((await readAll(end)).toString(), "here");
        const session = await node.session(host("server-ends"));
        assert.match(session.closeReason ?? "", /server/i);
      });

      test(`A client's reset resets the server, ${version}, ${way}`, async () => {
        const { client, below, end } = await join(way, host("client-resets"), version);
        client.on("error", () => undefined);
        client.write("hello");
        await nextChunk(end);
        const reset = once(end, "error").catch((error: unknown) => [error]);
        end.resume();
        below.resetAndDestroy();
        const [error] = await reset;
        assert.equal((error as NodeJS.ErrnoException).code, "ECONNRESET");
        assert.equal((await node.session(host("client-resets"))).clientLeft, "reset");
      });

      test(`A server's reset resets the client, ${version}, ${way}`, async () => {
        const { client, end, endBelow } = await join(way, host("server-resets"), version);
        end.on("error", () => undefined);
        client.write("hello");
        await nextChunk(end);
        const reset = once(client, "error").catch((error: unknown) => [error]);
        client.resume();
        endBelow.resetAndDestroy();
        const [error] = await reset;
        assert.equal((error as NodeJS.ErrnoException).code, "ECONNRESET");
        assert.equal((await node.session(host("server-resets"))).serverLeft, "reset");
      });
    }
  }

  for (const how of ["closed", "reset"] as const) {
    test(`A client that leaves with the node's Finished has its leg filled in, ${how}`, async () => {
      const name = `finished-${how}.${DOMAIN}`;
      const below = net.connect({ port: node.forward("tls"), host: "127.0.0.1", allowHalfOpen: true });
      const client = tls.connect({ socket: below, servername: name, ca: roots.split(/(?<=END CERTIFICATE-----\n)/) });
      client.on("error", () => undefined);
      // Node's TLS has not sent the client's Finished yet.
      client.once("secureConnect", () => (how === "closed" ? below.end() : below.resetAndDestroy()));
      const { closeReason, clientLeg } = await node.session(name);
      assert.equal(closeReason, `The client ${how} the connection right after the node's Finished, without its own`);
      assert.deepEqual([clientLeg.version, clientLeg.unfinished], ["TLSv1.3", true]);
      assert.match(clientLeg.suite ?? "", /^TLS_/);
    });
  }

  test("A slow reader gets every byte", async () => {
    const { client, end } = await join("forward", `slow.${DOMAIN}`, "TLSv1.3");
    const size = 64 * 2 ** 20;
    client.pause();
    end.end(Buffer.alloc(size, "x"));
    // This is much more than the buffers of the node and the kernel hold.
    await nextChunk(client);
    assert.ok(end.writableLength > 0);
    let read = 0;
    client.on("data", (bytes: Buffer) => {
      read += bytes.length;
    });
    client.resume();
    await once(client, "end");
    assert.ok(read > size - 2 ** 16 && read < size, `${read} bytes after the first`);
    client.end();
    await node.session(`slow.${DOMAIN}`);
  });

  test("A renegotiation that the client begins is refused", async () => {
    const name = `again.${DOMAIN}`;
    const to = ["-connect", `127.0.0.1:${node.forward("reversing")}`, "-servername", name, "-CAfile", node.primary];
    const client = start(program("openssl"), ["s_client", ...to, "-tls1_2"]);
    await client.shows(/Verify return code: 0/);
    client.write("abc\n");
    await client.shows(/^cba$/m);
    client.write("R\n");
    await client.shows(/^RENEGOTIATING$/m);
    const { code } = await client.ended;
    assert.notEqual(code, 0);
    assert.match(client.output(), /no renegotiation/);
    await node.session(name);
  });

  test("The record says that a client did not trust the node's CA", async () => {
    const name = `untrusting.${DOMAIN}`;
    const way = { port: node.forward("reversing") };
    const { code, stderr } = await opensslClient({ way, name, roots: node.secondary, input: "" });
    assert.notEqual(code, 0);
    assert.match(stderr, /certificate verify failed/);
    assert.match((await node.session(name)).closeReason ?? "", /client.*(unknown.?ca|certificate)/i);
  });
});
