import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { nextChunk } from "../../test/clients.ts";
import type { Pki } from "../../test/pki.ts";
import { type Bench, dialLoopback, harmless, openBench, tunnel } from "./bench.ts";
import type { Fault } from "./fault.ts";
import { inModes, type Mode, openMode } from "./modes.ts";

const PROMISE =
  "No other session is hurt; each is closed twice `timeouts.hello` after its first byte, while it still sends";

/** Clients that send a byte from time to time, so that they are never silent for long. */
export const SLOW_CLIENTS: readonly Fault[] = [
  {
    name: "slow-clients",
    about:
      "20 clients that send a byte each 100 ms: of a ClientHello to a forwarding listener, in a tunnel and behind STARTTLS, and of a request to the proxy",
    promise: PROMISE,
    over: "forward, explicit, STARTTLS, pcapng feed",
    run: sendSlowly,
  },
  ...inModes(["bridge", "router"], {
    name: "slow-clients",
    about: "20 clients that send a byte of a ClientHello each 100 ms",
    promise: PROMISE,
    parts: "",
    run: sendHellosSlowly,
  }),
];

/** The beginning of a ClientHello with 128 cipher suites. */
const SLOW_HELLO = Buffer.concat([
  Buffer.from("1603010200010001fc0303", "hex"),
  Buffer.alloc(32, 7),
  Buffer.from("000100", "hex"),
  Buffer.alloc(256, 0x13),
]);
const SLOW_REQUEST = Buffer.from(`CONNECT slow.example:443 HTTP/1.1\r\nX-Slow: ${"x".repeat(250)}`);

/** Connects, and says what the client sends slowly. */
type Slow = (bench: Bench, mail: number) => Promise<readonly [socket: net.Socket, bytes: Buffer]>;

const SLOW: Readonly<Record<string, Slow>> = {
  forward: async ({ node }) => [await dialLoopback(node.forward("web")), SLOW_HELLO],
  tunnel: async ({ node, origin }) => [await tunnel(node.proxy, `127.0.0.1:${origin.port}`), SLOW_HELLO],
  request: async ({ node }) => [await dialLoopback(node.proxy), SLOW_REQUEST],
  STARTTLS: async ({ node }, mail) => [await startTls(node.proxy, mail), SLOW_HELLO],
};

async function sendSlowly(pki: Pki): Promise<string> {
  await using mail = await openMail();
  const config = {
    timeouts: { hello: "2s", drain: "1s" },
    policy: { startTls: { enabled: true, ports: [mail.port] } },
  };
  await using bench = await openBench(pki, { config });
  const longest = new Map<string, number>();
  const seen = await harmless(bench, async () => {
    const clients = Object.entries(SLOW).flatMap(([name, slow]) =>
      Array.from({ length: 5 }, async () => {
        const [socket, bytes] = await slow(bench, mail.port);
        const lasted = await trickle(name, socket, bytes);
        longest.set(name, Math.max(lasted, longest.get(name) ?? 0));
      }),
    );
    await Promise.all(clients);
  });
  const times = [...longest].map(([name, ms]) => `${name} ${ms.toFixed(0)} ms`);
  return `closed at the latest after: ${times.join(", ")}; ${seen}`;
}

async function sendHellosSlowly(pki: Pki, mode: Mode): Promise<string> {
  await using bench = await openMode(mode, pki, { config: { timeouts: { hello: "2s", drain: "1s" } } });
  let lasted: readonly number[] = [];
  const seen = await harmless(bench, async () => {
    const clients = Array.from({ length: 20 }, async (_, at) => {
      const socket = await bench.ways[at % bench.ways.length]!.dial();
      return await trickle(mode, socket, SLOW_HELLO);
    });
    lasted = await Promise.all(clients);
  });
  return `closed at the latest after ${Math.max(...lasted).toFixed(0)} ms; ${seen}`;
}

/** Sends a byte each 100 ms until the other side ends, which must be before the last. Resolves with the ms until then. */
async function trickle(name: string, socket: net.Socket, bytes: Buffer): Promise<number> {
  const start = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    socket.write(bytes.subarray(sent, ++sent));
    if (sent === bytes.length) socket.destroy();
  }, 100);
  await nextChunk(socket).catch(() => undefined);
  clearInterval(timer);
  assert.ok(!socket.destroyed || sent < bytes.length, `${name}: all ${sent} bytes were taken`);
  socket.destroy();
  return performance.now() - start;
}

/** A dialogue with the mail server, through the proxy, up to its agreement to TLS. */
async function startTls(proxy: number, port: number): Promise<net.Socket> {
  const socket = await tunnel(proxy, `127.0.0.1:${port}`);
  for (const line of ["EHLO client.example\r\n", "STARTTLS\r\n"]) {
    assert.match(String(await nextChunk(socket)), /^2/);
    socket.write(line);
  }
  assert.match(String(await nextChunk(socket)), /^220 /);
  return socket;
}

/** A mail server that agrees to TLS, and then says nothing. */
async function openMail() {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket.on("error", () => undefined));
    socket.write("220 mail.example ESMTP\r\n");
    socket.on("data", (line) => {
      const text = String(line);
      if (text.startsWith("EHLO")) socket.write("250-mail.example\r\n250 STARTTLS\r\n");
      if (text.startsWith("STARTTLS")) socket.write("220 Go ahead\r\n");
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    port: (server.address() as net.AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
