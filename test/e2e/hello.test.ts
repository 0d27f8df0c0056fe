import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import { opensslClient, readAll, tunnel } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Origin, opensslServer } from "../peers.ts";
import { DOMAIN, makePki } from "../pki.ts";
import { pause } from "../processes.ts";
import { byteByByte, type Delivery, overRecords, tap } from "../tap.ts";

/** 68 names of 250 bytes: a ClientHello of more than the 16 KiB that one record holds. */
const LONG_OFFER = Array.from({ length: 68 }, (_, at) => String(at).padStart(250, "x")).join(",");

describe("A ClientHello", needs("openssl"), () => {
  let node: TestNode;
  let origin: Origin;
  const mute = net.createServer({ allowHalfOpen: true });

  before(async () => {
    const pki = await makePki();
    origin = await opensslServer(pki.server.ecdsa, { more: ["-alpn", "http/1.1"] });
    mute.listen(0, "127.0.0.1");
    await once(mute, "listening");
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: origin.port, mute: (mute.address() as net.AddressInfo).port },
      // Much longer than the gaps below, also on a busy machine.
      config: { timeouts: { hello: "4s", drain: "1s" } },
    });
  });
  after(async () => {
    await node?.stop();
    await origin?.process.stop();
    mute.close();
  });

  const deliveries: [string, Delivery | undefined, readonly string[]][] = [
    ["in one-byte segments", byteByByte(-1, () => pause(0)), []],
    ["in one-byte segments with a gap inside the SNI", byteByByte(150, () => pause(400)), []],
    ["with a gap after its first byte", byteByByte(1, () => pause(400)), []],
    ["with a gap before its last byte", byteByByte(230, () => pause(400)), []],
    ["over records of 100 bytes", overRecords(100), []],
    ["over records of one byte", overRecords(1), []],
    ["of more than 16 KiB", undefined, ["-alpn", `${LONG_OFFER},http/1.1`]],
  ];
  for (const [at, [title, delivery, more]] of deliveries.entries()) {
    for (const way of ["explicit", "forward"]) {
      test(`A ClientHello ${title} is read whole, ${way}`, async () => {
        const name = `hello-${at}-${way}.${DOMAIN}`;
        await using path = way === "explicit" ? await tunnel(node.proxy, origin.port) : undefined;
        const client = await tap(path?.port ?? node.forward("web"), delivery);
        const target = { port: client.port };
        const { code, stderr } = await opensslClient({ way: target, name, roots: node.primary, more });
        client.close();
        assert.equal(code, 0, stderr);
        const session = await node.session(name);
        assert.deepEqual([session.verdict, session.sni], ["decrypt", name]);
        if (more.length > 0) assert.ok(client.connections[0]!.fromClient.length > 17_000);
      });
    }
  }

  test("A client without SNI gets a certificate with the server's own names", async () => {
    const way = { port: node.forward("web") };
    const { code, stdout, stderr } = await opensslClient({ way, roots: node.primary });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /issuer=.*Primary/);
  });

  const record = (bytes: readonly number[]) => Buffer.from(bytes);
  const broken: [string, Buffer][] = [
    ["half a hello, then silence", record([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3])],
    ["the first byte of a record, then silence", record([0x16])],
  ];
  for (const [title, bytes] of broken) {
    test(`The node ends a connection with ${title}`, async () => {
      const since = Date.now();
      const socket = net.connect({ port: node.forward("mute"), host: "127.0.0.1", allowHalfOpen: true });
      await once(socket, "connect");
      const port = socket.localPort!;
      socket.write(bytes);
      await readAll(socket).catch((error: NodeJS.ErrnoException) => assert.equal(error.code, "ECONNRESET"));
      socket.destroy();
      const session = await node.sessionFrom(port, since);
      assert.match(session.closeReason ?? "", /in time/);
    });
  }

  test("A malformed ClientHello gets an alert", async () => {
    // A handshake record with a ClientHello whose session_id is longer than the message.
    const body = Buffer.concat([Buffer.from([3, 3]), Buffer.alloc(32), Buffer.from([255, 0, 0])]);
    const message = Buffer.concat([Buffer.from([1, 0, 0, body.length]), body]);
    const socket = net.connect({ port: node.forward("mute"), host: "127.0.0.1", allowHalfOpen: true });
    socket.write(Buffer.concat([Buffer.from([0x16, 3, 1, 0, message.length]), message]));
    const answer = await readAll(socket);
    socket.destroy();
    assert.equal(answer.length, 7);
    assert.deepEqual([answer[0], answer[5]], [21, 2]);
  });

  test("Bytes that only look like a record reach the server unchanged", async () => {
    const garbage = Buffer.from([0x16, 0x16, 0x16, 0xff, 0, 1, 2, 3]);
    const accepted = once(mute, "connection") as Promise<[net.Socket]>;
    const socket = net.connect({ port: node.forward("mute"), host: "127.0.0.1", allowHalfOpen: true });
    socket.end(garbage);
    const [end] = await accepted;
    assert.ok((await readAll(end)).equals(garbage));
    end.end();
    await readAll(socket);
    socket.destroy();
  });
});
