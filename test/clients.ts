/** Real TLS clients, each a program of Debian's packages. */
import { once } from "node:events";
import net from "node:net";
import { program } from "./needs.ts";
import { OPENSSL_ANY, OPENSSL_VERSIONS, type TlsVersion } from "./peers.ts";
import { type Outcome, run } from "./processes.ts";

/** The two ways to a server: CONNECT through the proxy at this port, or a forwarding port. */
export type Way = { readonly proxy: number; readonly target: number } | { readonly port: number };

export interface OpensslClient {
  readonly way: Way;
  readonly name?: string;
  readonly roots: string;
  readonly version?: TlsVersion;
  readonly more?: readonly string[];
  /** What it sends. */
  readonly input?: string;
}

export const GET = "GET / HTTP/1.0\r\n\r\n";

/** Runs `openssl s_client`, which verifies the certificate and stays until the server closes. */
export function opensslClient({ way, name, roots, version, more, input }: OpensslClient): Promise<Outcome> {
  const to =
    "port" in way
      ? ["-connect", `127.0.0.1:${way.port}`]
      : ["-proxy", `127.0.0.1:${way.proxy}`, "-connect", `127.0.0.1:${way.target}`];
  const who = name === undefined ? ["-noservername"] : ["-servername", name, "-verify_hostname", name];
  const trust = ["-CAfile", roots, "-no-CApath", "-no-CAstore", "-verify_return_error", "-verify", "5"];
  const fixed = version === undefined ? [] : [OPENSSL_VERSIONS[version]];
  return run(
    program("openssl"),
    ["s_client", ...to, ...who, ...trust, ...fixed, ...OPENSSL_ANY, "-ign_eof", ...(more ?? [])],
    {
      input: input ?? GET,
      within: 30_000,
    },
  );
}

/** Runs curl. Whatever the URL's host is, it connects to where `way` leads. */
export function curl(way: Way, roots: string, args: readonly string[], within = 60_000): Promise<Outcome> {
  return run(program("curl"), curlArguments(way, roots, args), { within });
}

export function curlArguments(way: Way, roots: string, args: readonly string[]): string[] {
  const to =
    "port" in way
      ? ["--noproxy", "*", "--connect-to", `::127.0.0.1:${way.port}`]
      : ["--noproxy", "", "--proxy", `http://127.0.0.1:${way.proxy}`, "--connect-to", `::127.0.0.1:${way.target}`];
  return ["-q", "-sS", "--cacert", roots, ...to, ...args];
}

/** A proxy's answer to CONNECT, and the connection, which leads to the target after 200. */
export interface Connected {
  readonly status: number;
  readonly head: string;
  readonly socket: net.Socket;
}

/** Sends CONNECT to a proxy, for a host and port ("127.0.0.1:443"). */
export async function connectThrough(proxy: number, target: string): Promise<Connected> {
  const socket = net.connect({ port: proxy, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
  await once(socket, "connect");
  socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  let head = Buffer.alloc(0);
  while (!head.includes("\r\n\r\n")) {
    const bytes = await nextChunk(socket);
    if (bytes === undefined)
      throw new Error(`The proxy closed in the middle of its answer: ${head.toString("latin1")}`);
    head = Buffer.concat([head, bytes]);
  }
  const end = head.indexOf("\r\n\r\n") + 4;
  if (head.length > end) socket.unshift(head.subarray(end));
  const text = head.subarray(0, end).toString("latin1");
  return { status: Number(/^HTTP\/1\.[01] (\d{3}) /.exec(text)?.[1]), head: text, socket };
}

/** The next bytes of a socket, which stays paused afterwards; undefined at its end. Rejects on a reset. */
export function nextChunk(socket: net.Socket): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      socket.pause();
      socket.off("data", onData).off("end", onEnd).off("close", onEnd).off("error", onError);
      act();
    };
    const onData = (bytes: Buffer) => settle(() => resolve(bytes));
    const onEnd = () => settle(() => resolve(undefined));
    const onError = (error: Error) => settle(() => reject(error));
    if (socket.readableEnded || socket.destroyed) return onEnd();
    socket.on("data", onData).on("end", onEnd).on("close", onEnd).on("error", onError).resume();
  });
}

/** All bytes until the socket's end. The other direction stays open. Rejects on a reset. */
export async function readAll(socket: net.Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let chunk = await nextChunk(socket); chunk !== undefined; chunk = await nextChunk(socket)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Opens a port on 127.0.0.1 whose connections go through the proxy, for clients without CONNECT. */
export async function tunnel(proxy: number, target: number): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, async (client) => {
    sockets.add(client);
    client.on("error", () => client.destroy());
    const { status, socket } = await connectThrough(proxy, `127.0.0.1:${target}`);
    sockets.add(socket);
    socket.on("error", () => client.resetAndDestroy());
    if (status !== 200) return void client.resetAndDestroy();
    client.pipe(socket);
    socket.pipe(client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as net.AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
