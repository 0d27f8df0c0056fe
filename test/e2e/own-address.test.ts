import assert from "node:assert/strict";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import { connectThrough, nextChunk } from "../clients.ts";
import { startNode, type TestNode } from "../node.ts";
import { makePki } from "../pki.ts";

/** Each reaches 127.0.0.1 or ::1 on Linux, by connect(2) or by inet_aton(3). */
const SPELLINGS = [
  ...["127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "017700000001"],
  ...["0.0.0.0", "0", "0x0", "00", "127.255.255.254", "localhost", "localhost."],
  ...["[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:0.0.0.0]", "[::ffff:7f00:1]"],
];

describe("A network rule that drops the machine itself", () => {
  let node: TestNode;
  let servers: net.Server[];
  let port: number;
  /** Connections that have reached the service. */
  let reached = 0;

  before(async () => {
    const pki = await makePki();
    const accept = (socket: net.Socket) => {
      reached += 1;
      socket.on("error", () => {}).end("secret");
    };
    servers = [net.createServer(accept), net.createServer(accept)];
    await new Promise<void>((resolve) => servers[0]!.listen(0, "0.0.0.0", resolve));
    port = (servers[0]!.address() as net.AddressInfo).port;
    await new Promise<void>((resolve) => servers[1]!.listen({ port, host: "::", ipv6Only: true }, resolve));
    const match = { listener: ["proxy"], server: ["127.0.0.0/8", "::1"] };
    node = await startNode({
      trust: [pki.root.certificate],
      config: { policy: { rules: [{ name: "no way inside", match, action: "drop" }] } },
    });
  });
  after(async () => {
    await node?.stop();
    for (const server of servers ?? []) server.close();
  });

  test("holds for every spelling of it in a CONNECT", async () => {
    const answers = await Promise.all(
      SPELLINGS.map(async (spelling) => {
        const { status, socket } = await connectThrough(node.proxy, `${spelling}:${port}`);
        const from = socket.localPort!;
        socket.destroy();
        const { verdict, phase } = await node.sessionFrom(from, 0);
        return { spelling, status, verdict, phase };
      }),
    );
    for (const { spelling, status, verdict, phase } of answers) {
      // 502: a name that this machine's resolver does not know.
      if (status !== 502) assert.deepEqual([status, verdict, phase], [403, "drop", "network"], spelling);
    }
    assert.ok(answers.filter(({ status }) => status === 403).length > SPELLINGS.length / 2, JSON.stringify(answers));
    assert.equal(reached, 0, "the service was connected to");
  });

  for (const spelling of ["0", "127.1", "[::ffff:0.0.0.0]"]) {
    test(`holds for plain HTTP to ${spelling}`, async () => {
      const socket = net.connect(node.proxy, "127.0.0.1");
      socket.write(`GET http://${spelling}:${port}/ HTTP/1.1\r\nHost: ${spelling}:${port}\r\n\r\n`);
      assert.match(String(await nextChunk(socket)), /^HTTP\/1.1 403 /);
      socket.destroy();
      assert.equal(reached, 0);
    });
  }
});
