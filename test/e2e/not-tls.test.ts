import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import { connectThrough, nextChunk, readAll } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { makePki } from "../pki.ts";
import { freePort } from "../processes.ts";

const GREETING = "220 mail.clearline.test ESMTP\r\n";

describe("Connections without TLS", needs("openssl"), () => {
  let node: TestNode;
  let accept: (socket: net.Socket) => void;
  const server = net.createServer({ allowHalfOpen: true }, (socket) => accept(socket));

  before(async () => {
    const pki = await makePki();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    node = await startNode({ trust: [pki.root.certificate], forwards: { any: portOf(server) } });
  });
  after(async () => {
    await node?.stop();
    server.close();
  });

  /** A connection through the node: the client's end and the server's end. */
  async function join(way: string): Promise<{ client: net.Socket; accepted: Promise<net.Socket> }> {
    const accepted = new Promise<net.Socket>((resolve) => {
      accept = resolve;
    });
    if (way === "forward") {
      const client = net.connect({ port: node.forward("any"), host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
      await once(client, "connect");
      return { client, accepted };
    }
    const { socket, status } = await connectThrough(node.proxy, `127.0.0.1:${portOf(server)}`);
    assert.equal(status, 200);
    return { client: socket, accepted };
  }

  for (const way of ["explicit", "forward"]) {
    test(`The client hears a server that speaks first, ${way}`, async () => {
      const since = Date.now();
      const { client, accepted } = await join(way);
      const end = await accepted;
      end.write(GREETING);
      assert.equal((await nextChunk(client))?.toString(), GREETING);
      const port = client.localPort!;
      client.end("QUIT\r\n");
      assert.equal((await readAll(end)).toString(), "QUIT\r\n");
      end.end("221 bye\r\n");
      assert.equal((await readAll(client)).toString(), "221 bye\r\n");

      const session = await node.sessionFrom(port, since);
      assert.equal(session.protocol, "other");
      assert.equal(session.state, "EST:EST:INIT:INIT");
      assert.deepEqual([session.clientLeg.received, session.clientLeg.sent], [6, GREETING.length + 9]);
      assert.deepEqual([session.clientLeft, session.serverLeft], ["closed", "closed"]);
    });

    test(`Bytes of any kind pass unchanged both ways, ${way}`, async () => {
      const { client, accepted } = await join(way);
      const [up, down] = [Buffer.concat([Buffer.from([0]), randomBytes(3_000_000)]), randomBytes(3_000_000)];
      client.end(up);
      const end = await accepted;
      end.end(down);
      const [received, sent] = await Promise.all([readAll(client), readAll(end)]);
      assert.ok(received.equals(down));
      assert.ok(sent.equals(up));
    });

    test(`A word without a line end reaches its server, ${way}`, async () => {
      const { client, accepted } = await join(way);
      client.write("ping");
      const end = await accepted;
      assert.equal((await nextChunk(end))?.toString(), "ping");
      end.end("pong");
      assert.equal((await readAll(client)).toString(), "pong");
      client.end();
    });

    test(`A word that becomes an HTTP request behind a pause goes no further, ${way}`, async () => {
      const { client, accepted } = await join(way);
      client.write("GE");
      const end = await accepted;
      assert.equal((await nextChunk(end))?.toString(), "GE");
      client.write("T / HTTP/1.1\r\nHost: any.test\r\n\r\n");
      const rest: Buffer[] = [];
      const over = (one: net.Socket) =>
        new Promise((resolve) => {
          one
            .on("error", () => {})
            .on("data", (bytes: Buffer) => rest.push(bytes))
            .on("close", resolve);
        });
      await Promise.all([over(client), over(end)]);
      assert.deepEqual(rest, []);
    });

    test(`A client's half-close lets the server go on, ${way}`, async () => {
      const { client, accepted } = await join(way);
      client.end("question");
      const end = await accepted;
      assert.equal((await readAll(end)).toString(), "question");
      end.write("first ");
      assert.equal((await nextChunk(client))?.toString(), "first ");
      end.end("second");
      assert.equal((await readAll(client)).toString(), "second");
    });

    test(`A server's half-close lets the client go on, ${way}`, async () => {
      const { client, accepted } = await join(way);
      client.write("hello");
      const end = await accepted;
      end.end("last words");
      assert.equal((await readAll(client)).toString(), "last words");
      client.end(" and more");
      assert.equal((await readAll(end)).toString(), "hello and more");
    });

    test(`A client's reset resets the server, ${way}`, async () => {
      const since = Date.now();
      const { client, accepted } = await join(way);
      client.write("hello");
      const end = await accepted;
      await nextChunk(end);
      const port = client.localPort!;
      const reset = once(end, "error").catch((error: unknown) => [error]);
      end.resume();
      client.resetAndDestroy();
      const [error] = await reset;
      assert.equal((error as NodeJS.ErrnoException).code, "ECONNRESET");
      assert.equal((await node.sessionFrom(port, since)).clientLeft, "reset");
    });

    test(`A server's reset resets the client, ${way}`, async () => {
      const since = Date.now();
      const { client, accepted } = await join(way);
      client.write("hello");
      const end = await accepted;
      await nextChunk(end);
      const port = client.localPort!;
      const reset = once(client, "error").catch((error: unknown) => [error]);
      client.resume();
      end.resetAndDestroy();
      const [error] = await reset;
      assert.equal((error as NodeJS.ErrnoException).code, "ECONNRESET");
      assert.equal((await node.sessionFrom(port, since)).serverLeft, "reset");
    });
  }

  test("A client of a forwarding port is reset when the server's port is closed", async () => {
    const closed = await freePort();
    const pki = await makePki();
    await using other = await startNode({ trust: [pki.root.certificate], forwards: { closed } });
    const client = net.connect(other.forward("closed"), "127.0.0.1");
    await assert.rejects(readAll(client), { code: "ECONNRESET" });
    await other.stop();
  });
});

function portOf(server: net.Server): number {
  return (server.address() as net.AddressInfo).port;
}
