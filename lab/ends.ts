import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, Socket } from "node:net";
import { type SentHeader, sendHeader } from "../src/engine/ip-header.ts";
import { within } from "../src/linux/netns.ts";
import { transparentClient, transparentListener } from "../src/linux/sockets.ts";
import { AF, bindAddress, OPTION, SOCK, setOption, socket } from "../src/linux/syscalls.ts";
import type { End, Family } from "./network.ts";

/**
 * TCP and UDP sockets of this process in a host of the lab: a socket stays in the namespace in which it was made. Where a
 * test is about TCP alone, the kernel is the real peer; other protocols need real programs.
 */

const PATIENCE = 15_000;

/** Opens a TCP connection from a host. Rejects with the system's error code, or when `signal` fires: by default after 15 s. */
export async function dial(
  from: End,
  to: { address: string; port: number },
  { signal = AbortSignal.timeout(PATIENCE), header }: { signal?: AbortSignal; header?: SentHeader } = {},
): Promise<Socket> {
  const client = begin(from, to, header);
  try {
    await once(client, "connect", { signal });
    return client;
  } catch (error) {
    client.destroy();
    throw error;
  }
}

/** Begins a TCP connection and returns at once, before anything has answered. */
export function begin(from: End, to: { address: string; port: number }, header: SentHeader = {}): Socket {
  const family: Family = to.address.includes(":") ? 6 : 4;
  const fd = within(from.namespace, () => transparentClient({ address: from.address[family], port: 0 }));
  sendHeader(fd, to.address, header);
  // Node's types do not know manualStart.
  const options = { fd, manualStart: true, allowHalfOpen: true };
  const client = new Socket(options);
  client.on("error", () => {});
  return client.connect({ host: to.address, port: to.port });
}

/** Starts a TCP server in a host, at all its addresses of both families. */
export async function serve(
  on: End,
  port: number,
  accept: (client: Socket) => void,
  header: SentHeader = {},
): Promise<AsyncDisposable> {
  const clients = new Set<Socket>();
  const servers = ["0.0.0.0", "::"].map((address) => {
    const backlog = 511;
    const fd = within(on.namespace, () => transparentListener({ address, port, backlog, reusePort: false }));
    sendHeader(fd, address, header);
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

/** Starts a UDP server in a host that sends everything back. */
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

/** Sends one datagram. Resolves with the answer, or with the code of the ICMP error that came back. */
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

/** The next line from the other end, without the line end. Rejects when the other end closes before it. */
export async function nextLine(stream: Socket): Promise<string> {
  let text = "";
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    const end = text.indexOf("\n");
    if (end >= 0) return text.slice(0, end);
  }
  throw new Error(`The other end left after ${JSON.stringify(text)}`);
}
