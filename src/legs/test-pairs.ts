import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { TestContext } from "node:test";

/** For tests: the two ends of a TCP connection over loopback, paused; both may be half-open. The test closes them at its end. */
export async function tcpPair(t: Pick<TestContext, "after">): Promise<[near: Socket, far: Socket]> {
  const pair = await loopback();
  pair[0].pause();
  for (const socket of pair) t.after(() => socket.destroy());
  return pair;
}

/** The same without closing them at the end. The near end is not paused. */
export async function loopback(): Promise<[near: Socket, far: Socket]> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const near = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
  const [[far]] = (await Promise.all([once(server, "connection"), once(near, "connect")])) as [[Socket], unknown];
  server.close();
  for (const socket of [near, far]) socket.on("error", () => {});
  return [near, far];
}

/** Reads a socket to its end. Rejects when it is reset. */
export async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
