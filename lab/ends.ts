import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, Socket } from "node:net";
import { within } from "../src/linux/netns.ts";
import { transparentClient, transparentListener } from "../src/linux/sockets.ts";
import { AF, bindAddress, OPTION, SOCK, setOption, socket } from "../src/linux/syscalls.ts";
import type { End, Family } from "./network.ts";

/**
 * TCP and UDP ends of this process, in a host of the lab: a socket stays in the namespace that it was made in. The kernel's
 * TCP is the real peer here; programs are for what has a protocol of its own.
 */

const PATIENCE = 15_000;

/** A TCP connection from a host. Rejects with the system's code, or when `signal` says so: after 15 s by itself. */
export async function dial(
  from: End,
  to: { address: string; port: number },
  { signal = AbortSignal.timeout(PATIENCE) }: { signal?: AbortSignal } = {},
): Promise<Socket> {
  const client = begin(from, to);
  try {
    await once(client, "connect", { signal });
    return client;
  } catch (error) {
    client.destroy();
    throw error;
  }
}

/** The same before anything has answered: its SYN is on its way. */
export function begin(from: End, to: { address: string; port: number }): Socket {
  const family: Family = to.address.includes(":") ? 6 : 4;
  const fd = within(from.namespace, () => transparentClient({ address: from.address[family], port: 0 }));
  // Node's types do not know manualStart.
  const options = { fd, manualStart: true, allowHalfOpen: true };
  const client = new Socket(options);
  client.on("error", () => {});
  return client.connect({ host: to.address, port: to.port });
}

/** A TCP server of a host, at all its addresses of both families. */
export async function serve(on: End, port: number, accept: (client: Socket) => void): Promise<AsyncDisposable> {
  const clients = new Set<Socket>();
  const servers = ["0.0.0.0", "::"].map((address) => {
    const backlog = 511;
    const fd = within(on.namespace, () => transparentListener({ address, port, backlog, reusePort: false }));
    const server = createServer({ allowHalfOpen: true }, (client) => {
      clients.add(client);
      client.on("error", () => {}).on("close", () => clients.delete(client));
      accept(client);
    });
    return server.listen({ fd, backlog });
  });
  await Promise.all(servers.map((server) => once(server, "listening")));
  return {
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.destroy();
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

/** A UDP server of a host that sends everything back. */
export async function echoDatagrams(on: End, port: number): Promise<AsyncDisposable> {
  const sockets = await Promise.all(
    (["0.0.0.0", "::"] as const).map(async (address) => {
      const fd = within(on.namespace, () => datagramDescriptor(address, port));
      const echo = createSocket({ type: address === "::" ? "udp6" : "udp4" });
      echo.on("error", () => {}).on("message", (message, from) => echo.send(message, from.port, from.address));
      const listening = once(echo, "listening");
      echo.bind({ fd });
      await listening;
      return echo;
    }),
  );
  return {
    async [Symbol.asyncDispose]() {
      await Promise.all(sockets.map((echo) => new Promise<void>((resolve) => echo.close(resolve))));
    },
  };
}

/** Sends one datagram and resolves with the answer, or with the code of the error that came back instead. */
export async function ask(from: End, to: { address: string; port: number }, message: Buffer): Promise<Buffer | string> {
  const family: Family = to.address.includes(":") ? 6 : 4;
  const fd = within(from.namespace, () => datagramDescriptor(from.address[family], 0));
  const asking = createSocket({ type: family === 6 ? "udp6" : "udp4" });
  try {
    const listening = once(asking, "listening");
    asking.bind({ fd });
    await listening;
    const connected = once(asking, "connect");
    asking.connect(to.port, to.address);
    await connected;
    const answered = once(asking, "message", { signal: AbortSignal.timeout(PATIENCE) });
    asking.send(message);
    return (await answered)[0] as Buffer;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  } finally {
    asking.close();
  }
}

const SOCK_DGRAM = 2;

function datagramDescriptor(address: string, port: number): number {
  const fd = socket(address.includes(":") ? AF.INET6 : AF.INET, SOCK_DGRAM | SOCK.NONBLOCK, 0);
  if (address === "::") setOption(fd, OPTION.V6ONLY, 1);
  bindAddress(fd, address, port);
  return fd;
}

/** The next line that the other end sends, without its end. Rejects when there is none. */
export async function nextLine(stream: Socket): Promise<string> {
  let text = "";
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    const end = text.indexOf("\n");
    if (end >= 0) return text.slice(0, end);
  }
  throw new Error(`The other end left after ${JSON.stringify(text)}`);
}
