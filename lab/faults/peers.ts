import { once } from "node:events";
import type { Socket } from "node:net";
import { connect } from "node:tls";
import { nextChunk } from "../../test/clients.ts";
import { descendants, openFiles } from "../../test/node.ts";
import type { Pki } from "../../test/pki.ts";
import { until } from "../../test/processes.ts";
import { atRest, type Bench, dialLoopback, harmless, openBench, since } from "./bench.ts";
import type { Fault } from "./fault.ts";
import { ALL, inModes, type Mode, openMode } from "./modes.ts";

const PARTS = "pcapng feed";
const RESETS = 5000;
const SILENT = 300;

/** Clients and servers that do not do what they should. */
export const PEERS: readonly Fault[] = [
  {
    name: "thousands-of-resets",
    about: `${RESETS} connections that are reset: at once, after half a ClientHello, after the handshake`,
    promise: "No other session is hurt, and nothing of them is left: no descriptor, no TLS connection",
    over: "forward, explicit, pcapng feed",
    run: resetMany,
  },
  ...inModes(ALL, {
    name: "half-open-clients",
    about: `${SILENT} clients: half of them stop in the middle of their ClientHello, the others say nothing`,
    promise:
      "No other session is hurt; half a ClientHello is closed after `timeouts.hello`; the silent ones, whose servers may speak first, end with their clients; all are on record",
    parts: PARTS,
    run: holdHalfOpen,
  }),
];

async function resetMany(pki: Pki): Promise<string> {
  await using bench = await openBench(pki);
  const { node } = bench;
  const before = sum(descendants(node.process.pid).map(openFiles));
  const start = performance.now();
  let rate = 0;
  const seen = await harmless(bench, async () => {
    let begun = 0;
    const one = async () => {
      while (begun < RESETS) await resetOne(bench, begun++);
    };
    await Promise.all(Array.from({ length: 16 }, one));
    rate = RESETS / ((performance.now() - start) / 1000);
  });
  await bench.traffic[Symbol.asyncDispose]();
  await atRest(node);
  // Each worker has opened a file of the feed.
  const after = await until("the descriptors closed", () => {
    const open = sum(descendants(node.process.pid).map(openFiles));
    return open <= before && open;
  });
  return `${rate.toFixed(0)} resets a second; ${seen}; ${before} descriptors with the traffic before, ${after} at the end, 0 TLS connections`;
}

/** The beginning of a ClientHello, in a record of 512 bytes. */
export const HALF_HELLO = Buffer.concat([Buffer.from("1603010200010001fc0303", "hex"), Buffer.alloc(40, 7)]);

async function resetOne({ node }: Bench, index: number): Promise<void> {
  const socket = await dialLoopback(node.forward("web")).catch(() => undefined);
  if (socket === undefined) return;
  if (index % 3 === 1) socket.write(HALF_HELLO);
  // Few of them: a handshake costs this process as much as the node.
  if (index % 50 === 2) {
    const tls = connect({ socket, rejectUnauthorized: false });
    tls.on("error", () => undefined);
    await once(tls, "secureConnect").catch(() => undefined);
  }
  socket.resetAndDestroy();
}

async function holdHalfOpen(pki: Pki, mode: Mode): Promise<string> {
  await using bench = await openMode(mode, pki, { config: { timeouts: { hello: "3s", drain: "1s" } } });
  const { node, ways } = bench;
  let ended = "";
  const ports = new Set<number>();
  const seen = await harmless(bench, async () => {
    const sockets: Socket[] = [];
    // Not all at once: the peers of a namespace are slow.
    for (let at = 0; at < SILENT; at += 20)
      sockets.push(...(await Promise.all(Array.from({ length: 20 }, () => ways[0]!.dial()))));
    for (const socket of sockets) ports.add(socket.localPort ?? 0);
    for (const [at, socket] of sockets.entries()) if (at % 2 === 1) socket.write(HALF_HELLO);
    const start = performance.now();
    const halves = sockets.filter((_, at) => at % 2 === 1);
    await Promise.all(halves.map((socket) => nextChunk(socket).catch(() => undefined)));
    ended = since(start);
    // A half-close is carried, and the lab's server waits for more.
    for (const socket of sockets) socket.resetAndDestroy();
  });
  const recorded = await until("their records", async () => {
    const sessions = await node.sessions({ live: "false", limit: "1000" });
    const own = new Set(sessions.map(({ client }) => client.port).filter((port) => ports.has(port)));
    return own.size === SILENT && own.size;
  });
  return `half a ClientHello was closed after ${ended}, ${recorded} on record; ${seen}`;
}

function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0);
}
