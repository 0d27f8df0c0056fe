import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import type { Session } from "../../src/control/api.ts";
import { nextChunk } from "../../test/clients.ts";
import { MAIN, type NodeOptions, startNode, type TestNode } from "../../test/node.ts";
import type { Pki } from "../../test/pki.ts";
import { type Program, start, until } from "../../test/processes.ts";
import { type Origin, openOrigin } from "./origin.ts";
import { describe, type Plan, startTraffic, type Traffic, type Way } from "./traffic.ts";

/** A node on loopback under traffic, half of it through a forwarding listener and half through the explicit proxy. */
export interface Bench extends AsyncDisposable {
  readonly node: TestNode;
  readonly origin: Origin;
  readonly ways: readonly Way[];
  readonly traffic: Traffic;
}

/** ms until a proxy has to answer. */
const PATIENCE = 15_000;

export const FEED = { name: "archive", kind: "pcapng", directory: "./captures", rotate: "10MB", keep: 2 };

export async function openBench(
  pki: Pki,
  options: Omit<NodeOptions, "trust" | "forwards"> = {},
  plan: Plan = {},
): Promise<Bench> {
  await using stack = new AsyncDisposableStack();
  const origin = stack.use(await openOrigin(pki.server.ecdsa));
  const config = { feeds: [FEED], ...options.config };
  const more = { trust: [pki.root.certificate], forwards: { web: origin.port } };
  const node = stack.use(await startNode({ ...options, ...more, config }));
  const target = `127.0.0.1:${origin.port}`;
  const trusted = () => authoritiesIn(node.folder);
  const ways: readonly Way[] = [
    { trusted, dial: () => dialLoopback(node.forward("web")) },
    { trusted, dial: () => tunnel(node.proxy, target) },
  ];
  const traffic = stack.use(await startTraffic(ways, plan));
  const kept = stack.move();
  return { node, origin, ways, traffic, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** The node's CAs of the moment, PEM: they may be renewed. */
export function authoritiesIn(folder: string): string {
  const files = ["ecdsa", "rsa"].map((type) => join(folder, `data/ca/primary-${type}.pem`));
  return files.map((file) => readFileSync(file, "utf8")).join("");
}

/** Rejects with the system's error code. */
export function dialLoopback(port: number, localAddress = "127.0.0.1"): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: "127.0.0.1", localAddress, noDelay: true });
    socket.once("connect", () => resolve(socket.on("error", () => undefined))).once("error", reject);
  });
}

/** Connects to a target through the explicit proxy. */
export async function tunnel(proxy: number, target: string): Promise<net.Socket> {
  const socket = await dialLoopback(proxy);
  socket.setTimeout(PATIENCE, () => socket.destroy());
  socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  const answer = String((await nextChunk(socket)) ?? "nothing");
  socket.setTimeout(0);
  if (/^HTTP\/1\.[01] 200 .*\r\n\r\n$/s.test(answer)) return socket;
  socket.destroy();
  throw new Error(`the proxy answered ${answer.split("\r\n")[0]}`);
}

/** The live sessions by the clients' ports. */
export async function liveByPort(node: Pick<TestNode, "sessions">): Promise<ReadonlyMap<number, Session>> {
  return new Map((await node.sessions({ live: "true" })).map((session) => [session.client.port, session]));
}

/** Asserts that the downloads which run now and the idle sessions are unhurt. Resolves with what was seen. */
export async function unhurt({ traffic }: Pick<Bench, "traffic">): Promise<string> {
  const downloads = await traffic.finish();
  const idle = await Promise.all(traffic.idle.map((one) => one.answers()));
  const errors = downloads.flatMap(({ error }) => error ?? []);
  assert.deepEqual(errors, [], `${errors.length} of ${downloads.length} downloads broke`);
  assert.ok(idle.every(Boolean), `${idle.filter((one) => !one).length} of ${idle.length} idle sessions died`);
  return `${downloads.length} downloads whole, ${idle.length} idle sessions alive`;
}

/** Starts the node of this bench again. Resolves once it carries sessions, with the ms that took. */
export async function startAgain({
  begin,
}: {
  readonly begin: () => Program;
}): Promise<{ readonly program: Program; readonly took: number }> {
  const began = performance.now();
  const program = begin();
  await program.shows(/Clearline runs with/, 120_000);
  return { program, took: performance.now() - began };
}

/** Starts the node of this bench again, and does not wait until it is ready. */
export function begin(node: TestNode): Program {
  return start(process.execPath, [MAIN, "run", "-c", node.file], { cwd: node.folder });
}

/** ms since `start`, for people. */
export function since(start: number): string {
  return `${(performance.now() - start).toFixed(0)} ms`;
}

/** Resolves once new sessions are carried again, with the ms from `start` to the end of the first. */
export async function recovery(traffic: Traffic, start: number): Promise<string> {
  await traffic.whole(1, start);
  const first = traffic.visits.find((visit) => visit.start >= start && visit.error === undefined)!;
  return `the first new session was whole after ${(first.end - start).toFixed(0)} ms`;
}

/** Resolves once no session is live, and no TLS connection is left in any worker. */
export function atRest(node: Pick<TestNode, "stats">): Promise<unknown> {
  return until("every session ended, every SSL freed", async () => {
    const { sessions, workers } = await node.stats();
    return sessions.live === 0 && workers.every(({ engine }) => engine?.connections === 0);
  });
}

/** Makes a fault that may hurt no session. Resolves with what was seen of the traffic during it. */
export async function harmless(
  bench: Pick<Bench, "traffic">,
  act: () => Promise<unknown>,
  count = 60,
): Promise<string> {
  const start = performance.now();
  const running = unhurt(bench);
  // A failed act ends the traffic, which is no failure of the traffic.
  running.catch(() => undefined);
  await act();
  const visits = await bench.traffic.whole(count, start);
  assert.deepEqual(
    visits.flatMap(({ error }) => error ?? []),
    [],
    "new sessions failed",
  );
  return `${describe(visits)}; ${await running}`;
}
