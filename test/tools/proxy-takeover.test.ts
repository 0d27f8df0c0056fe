import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import { readProxyHeader, writeProxyHeader } from "../../src/wire/proxy-protocol.ts";
import { connectThrough, nextChunk } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { makePki } from "../pki.ts";
import { freePort, until } from "../processes.ts";

const GREETING = "hello from the server";

/** A session whose tool has its header and has not connected back yet. A local user knows every address and port of it. */
describe("A session that waits for its proxy tool", needs("openssl"), () => {
  const taken: Socket[] = [];
  const held: Buffer[] = [];
  let tool: Server;
  let server: Server;
  let node: TestNode;
  let back: number;

  before(async () => {
    tool = createServer((socket) => {
      taken.push(socket);
      socket.on("error", () => {}).on("data", (bytes: Buffer) => held.push(bytes));
    });
    server = createServer((socket) =>
      socket
        .on("error", () => {})
        .resume()
        .write(GREETING),
    );
    for (const one of [tool, server]) await once(one.listen(0, "127.0.0.1"), "listening");
    back = await freePort();
    const { port } = tool.address() as AddressInfo;
    const heartbeat = { enabled: false };
    const place = { address: `127.0.0.1:${port}`, returnAddress: `127.0.0.1:${back}` };
    node = await startNode({
      trust: [(await makePki()).root.certificate],
      config: { tools: [{ name: "slow", kind: "proxy", ...place, heartbeat }] },
    });
  });
  after(async () => {
    for (const socket of taken) socket.destroy();
    await node?.stop();
    for (const one of [tool, server]) one?.close();
  });

  /** Connects back as the tool would. Answers the first bytes; undefined: the connection was ended. */
  async function comeBack(header: Buffer): Promise<string | undefined> {
    const socket = connect(back, "127.0.0.1").on("error", () => {});
    taken.push(socket);
    socket.write(header);
    return (await nextChunk(socket).catch(() => undefined))?.toString();
  }

  test("is given to whoever has its unique ID, and to nobody who knows its addresses", async () => {
    const { port } = server.address() as AddressInfo;
    const { socket: client } = await connectThrough(node.proxy, `127.0.0.1:${port}`);
    client.on("error", () => {}).write("first bytes");
    const { header } = await until("the header at the tool", () => {
      const reading = readProxyHeader(Buffer.concat(held));
      return reading.kind === "header" && reading;
    });
    const { source, destination, uniqueId } = header;
    const [live] = await until("the record", async () => {
      const found = await node.sessions({ live: "true" });
      return found.length > 0 && found;
    });
    assert.match(String(uniqueId), new RegExp(`^${live!.id}-[0-9a-f]{32}$`));

    const [ta] = taken;
    const pairs = [
      [source!, destination!],
      [source!, { address: "127.0.0.1", port: (tool.address() as AddressInfo).port }],
      [
        { address: ta!.remoteAddress!, port: ta!.remotePort! },
        { address: ta!.localAddress!, port: ta!.localPort! },
      ],
    ] as const;
    const guesses = [undefined, live!.id, `${live!.id}-${"0".repeat(32)}`, String(uniqueId).slice(0, -1)];
    // Every worker listens there: each attempt may meet another one.
    const attempts = pairs.flatMap(([from, to]) => [
      Buffer.from(`PROXY TCP4 ${from.address} ${to.address} ${from.port} ${to.port}\r\n`),
      ...guesses.map((guess) => writeProxyHeader({ source: from, destination: to, uniqueId: guess })),
    ]);
    for (const attempt of [...attempts, ...attempts]) assert.equal(await comeBack(attempt), undefined);
    assert.ok(!client.destroyed);

    // The server's bytes pass the tool: they come out of the connection that has the unique ID.
    const nowhere = { address: "192.0.2.1", port: 1 };
    const given = writeProxyHeader({ source: nowhere, destination: nowhere, uniqueId: String(uniqueId) });
    assert.equal(await comeBack(given), GREETING);
    client.destroy();
  });

  test("has to be there first: a connection that comes before its session is ended at once", async () => {
    const early = connect(back, "127.0.0.1").on("error", () => {});
    early.write(
      writeProxyHeader({ source: { address: "127.0.0.1", port: 1 }, destination: { address: "127.0.0.1", port: 2 } }),
    );
    assert.equal(await nextChunk(early).catch(() => undefined), undefined);
    await node.process.shows(/its PROXY header has no unique ID; let the tool pass it on, or set matching: addresses/);
  });
});
