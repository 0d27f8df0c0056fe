import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { type TestContext, test } from "node:test";
import { boundConnections, type ConnectionLimits } from "./connections.ts";

const OWN = Object.values(networkInterfaces())
  .flatMap((list) => list ?? [])
  .find(({ internal, family }) => !internal && family === "IPv4")?.address;

/** A web server with these limits. `open` begins a request that never ends, and resolves once the server has it. */
async function serve(context: TestContext, limits: ConnectionLimits) {
  const server = createServer((request, answer) => {
    connections.prove(request.socket);
    answer.writeHead(200).flushHeaders();
  });
  const connections = boundConnections(server, limits);
  const sockets: Socket[] = [];
  await once(server.listen(0, "0.0.0.0"), "listening");
  context.after(() => {
    for (const socket of sockets) socket.destroy();
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  async function open(host: string): Promise<Socket> {
    const accepted = once(server, "connection");
    const socket = connect(port, host).on("error", () => {});
    sockets.push(socket);
    await accepted;
    socket.resume().write("GET / HTTP/1.1\r\nHost: x\r\n");
    return socket;
  }
  async function prove(socket: Socket): Promise<void> {
    const answered = once(socket, "data");
    socket.write("\r\n");
    await answered;
  }
  return { open, prove };
}

async function ended(...sockets: Socket[]): Promise<void> {
  for (const socket of sockets) if (!socket.closed) await once(socket, "close");
}

test("The oldest connection without the token gives way, and those that have shown it stay", async (context) => {
  const { open, prove } = await serve(context, { all: 3, perPeer: 2 });
  const proven = await open("127.0.0.1");
  await prove(proven);
  const first = await open("127.0.0.1");
  const rest = [await open("127.0.0.1"), await open("127.0.0.1")];
  assert.ok(!first.closed);
  const last = await open("127.0.0.1");
  await ended(first);
  await prove(last);
  assert.ok([proven, last, ...rest].every((socket) => !socket.closed));
});

test("A peer's own connections give way to its new ones, and loopback keeps its place", {
  skip: OWN === undefined && "needs an address beside loopback",
}, async (context) => {
  const { open, prove } = await serve(context, { all: 5, perPeer: 2 });
  const local = await open("127.0.0.1");
  const far = [await open(OWN!), await open(OWN!)];
  const newest = await open(OWN!);
  await ended(far[0]!);
  assert.ok([local, far[1]!, newest].every((socket) => !socket.closed));
  // The peer with the most gives way when all places are taken.
  const more = [await open("127.0.0.1"), await open("127.0.0.1"), await open("127.0.0.1")];
  await ended(local);
  assert.ok([far[1]!, newest, ...more].every((socket) => !socket.closed));
  await prove(more[2]!);
});
