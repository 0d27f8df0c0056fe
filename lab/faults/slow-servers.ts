import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { connect } from "node:tls";
import { nextChunk } from "../../test/clients.ts";
import { DOMAIN, type Pki } from "../../test/pki.ts";
import { freePort, scratch, until } from "../../test/processes.ts";
import { dial, serve } from "../ends.ts";
import { type Bench, dialLoopback, harmless, openBench, tunnel } from "./bench.ts";
import { type Fault, Skipped } from "./fault.ts";
import { inModes, type Mode, type ModeBench, openMode } from "./modes.ts";

/** Where a server becomes slow: after so many bytes of its own. */
const STAGES = [
  ["before its ServerHello", 0],
  ["in its ServerHello", 30],
  ["in its certificate", 400],
] as const;
const CLIENTS = 10;
const HOST = `slow.${DOMAIN}`;

/** Servers and name servers that answer too slowly, or not at all. */
export const SLOW_SERVERS: readonly Fault[] = [
  ...inModes(["loopback", "bridge"], {
    name: "server-one-byte-a-second",
    about: "A server that sends one byte a second, from its first byte on, in its ServerHello, in its certificate",
    promise: "No other session is hurt; each ends at `timeouts.handshake`, and the record blames the server",
    parts: "pcapng feed",
    run: beSlow,
  }),
  ...inModes(["loopback", "router"], {
    name: "answer-one-byte-a-second",
    about: "A server that sends one byte a second once its first 6,000 bytes have passed",
    promise: "No other session is hurt; the session lives on, and ends when its client leaves",
    parts: "pcapng feed",
    run: answerSlowly,
  }),
  {
    name: "dns-silent",
    about: "The name server answers nothing",
    promise: "No other session is hurt; each look-up ends at `timeouts.connect` with an error for its client",
    over: "explicit, forward, pcapng feed",
    run: askSilentServer,
  },
];

async function beSlow(pki: Pki, mode: Mode): Promise<string> {
  await using bench = await openMode(mode, pki, { config: { timeouts: { handshake: "3s", drain: "1s" } } });
  const took: string[] = [];
  const seen = await harmless(bench, async () => {
    for (const [stage, free] of STAGES) {
      await using slow = await trickle(bench, free);
      const ended = await Promise.all(Array.from({ length: CLIENTS }, () => handshake(bench, slow.port)));
      const longest = Math.max(...ended);
      assert.ok(longest < 30_000, `${stage}: a handshake lasted ${longest.toFixed(0)} ms`);
      await blamed(bench, slow.port);
      took.push(`${stage}: ended after ${longest.toFixed(0)} ms`);
    }
  });
  return `${took.join(", ")}; all records blame the server; ${seen}`;
}

/** Resolves with the ms until the handshake came to an end, which must not be a good one. */
async function handshake(bench: ModeBench, port: number): Promise<number> {
  const start = performance.now();
  const socket = await reach(bench, port);
  const tls = connect({ socket, servername: HOST, rejectUnauthorized: false });
  let isSecure = false;
  tls
    .on("error", () => socket.destroy())
    .on("secureConnect", () => {
      isSecure = true;
      tls.destroy();
    });
  await once(tls, "close").catch(() => undefined);
  assert.ok(!isSecure, "the handshake succeeded");
  return performance.now() - start;
}

/** Resolves once the records of this server's sessions blame it. */
function blamed({ node }: ModeBench, port: number): Promise<unknown> {
  return until("records that blame the server", async () => {
    const sessions = await node.sessions({ live: "false", host: HOST });
    const own = sessions.filter(({ server }) => server?.port === port);
    return own.length === CLIENTS && own.every(({ blame }) => blame === "server");
  });
}

async function answerSlowly(pki: Pki, mode: Mode): Promise<string> {
  await using bench = await openMode(mode, pki, { config: { timeouts: { handshake: "3s", drain: "1s" } } });
  await using slow = await trickle(bench, 6000);
  let live = 0;
  const seen = await harmless(bench, async () => {
    const sockets = await Promise.all(
      Array.from({ length: CLIENTS }, async () => {
        const socket = await reach(bench, slow.port);
        const tls = connect({ socket, servername: HOST, rejectUnauthorized: false });
        tls.on("error", () => socket.destroy()).resume();
        await once(tls, "secureConnect");
        return tls.write(`GET /4/0 HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`) && tls;
      }),
    );
    const start = performance.now();
    await until("more than timeouts.handshake", () => performance.now() - start > 5_000);
    live = await count(bench, slow.port);
    for (const socket of sockets) if (socket) socket.destroy();
  });
  assert.equal(live, CLIENTS, "live sessions after 5 s");
  await until("their ends", async () => (await count(bench, slow.port)) === 0);
  return `${live} of ${CLIENTS} live after 5 s, all ended with their clients; ${seen}`;
}

/** The live sessions with this server. */
async function count({ node }: ModeBench, port: number): Promise<number> {
  return (await node.sessions({ live: "true" })).filter(({ server }) => server?.port === port).length;
}

/** Connects to a server of this process, through the node. */
function reach({ loopback, stage }: ModeBench, port: number): Promise<net.Socket> {
  if (loopback) return tunnel(loopback.node.proxy, `127.0.0.1:${port}`);
  const { client, server } = stage!.network;
  return dial(client, { address: server.address[4], port });
}

/** The slow server's port in a network of the lab is so much higher than the bytes that it sends at once: each has its own. */
const SLOW_PORTS = 20_000;

/** A server in front of another, which sends so many of the other's bytes at once, and then one a second. */
async function trickle({ origin: { port }, stage }: ModeBench, free: number) {
  await using stack = new AsyncDisposableStack();
  const accept = async (client: net.Socket) => {
    const origin = await dialLoopback(port);
    client.on("error", () => undefined).pipe(origin);
    client.on("end", () => client.end());
    let [left, waiting] = [free, Buffer.alloc(0)];
    origin.on("data", (bytes: Buffer) => {
      client.write(bytes.subarray(0, left));
      waiting = Buffer.concat([waiting, bytes.subarray(left)]);
      left = Math.max(0, left - bytes.length);
    });
    const timer = setInterval(() => {
      client.write(waiting.subarray(0, 1));
      waiting = waiting.subarray(1);
    }, 1000);
    client.on("close", () => {
      clearInterval(timer);
      origin.destroy();
    });
  };
  const at = stage ? SLOW_PORTS + free : await freePort();
  if (stage) stack.use(await serve(stage.network.server, at, (client) => void accept(client)));
  else stack.use(await serveLoopback(at, accept));
  const kept = stack.move();
  return { port: at, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

async function serveLoopback(port: number, accept: (client: net.Socket) => Promise<void>): Promise<AsyncDisposable> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((client) => {
    sockets.add(client);
    void accept(client);
  });
  await once(server.listen(port, "127.0.0.1"), "listening");
  return {
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** A loopback address of its own: 127.0.0.1 may have a name server. */
const NAME_SERVER = "127.0.0.7";

async function askSilentServer(pki: Pki): Promise<string> {
  const server = createSocket("udp4");
  let asked = 0;
  server.on("message", () => {
    asked += 1;
  });
  server.bind(53, NAME_SERVER);
  await once(server, "listening").catch(({ message }: Error) => {
    throw new Skipped(`no name server can be had here: ${message}`);
  });
  const file = join(scratch(), "resolv.conf");
  writeFileSync(file, `nameserver ${NAME_SERVER}\n`);
  const script = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"';
  const within = ["unshare", "-m", "sh", "-c", script, "sh", file];
  try {
    await using bench = await openBench(pki, { within, config: { timeouts: { connect: "3s", drain: "1s" } } });
    const answers: string[] = [];
    const start = performance.now();
    const seen = await harmless(bench, async () => {
      const all = Array.from({ length: CLIENTS }, (_, at) => askProxy(bench, `nobody-${at}.example:443`));
      answers.push(...(await Promise.all(all)));
    });
    assert.ok(asked > 0, "the name server was not asked");
    assert.ok(
      answers.every((answer) => /^HTTP\/1\.1 50[24]/.test(answer)),
      answers.join("; "),
    );
    const took = performance.now() - start;
    return `${CLIENTS} clients got ${answers[0]?.slice(9, 12)} within ${took.toFixed(0)} ms; ${seen}`;
  } finally {
    server.close();
  }
}

/** The first line of the proxy's answer to CONNECT. */
async function askProxy({ node }: Bench, target: string): Promise<string> {
  const socket = await dialLoopback(node.proxy);
  socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  const answer = String(await nextChunk(socket).catch(() => undefined));
  socket.destroy();
  return answer.split("\r\n")[0]!;
}
