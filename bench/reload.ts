import { once } from "node:events";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as after } from "node:timers/promises";
import { connect, type TLSSocket } from "node:tls";
import { startClearline } from "./clearline.ts";
import { HERE } from "./hosts.ts";
import type { Origin } from "./origin.ts";
import { freePort, listening, type Program, stop, usage, WORKSHOP } from "./processes.ts";
import { align } from "./report.ts";
import { median, progress } from "./rounds.ts";

/** How long a live session stands still while a long list is read again, and what the list takes of memory. */
export interface Reloads {
  readonly entries: number;
  /** ms: the longest that a request of the live session took, in the same time without a reload and during each reload. */
  readonly quiet: number;
  readonly reloading: number;
  /** ms that a reload takes. */
  readonly took: number;
  /** Bytes in all processes, what they share counted once: with 1 entry, with all, and after the reloads. */
  readonly memory: { readonly short: number; readonly long: number; readonly afterwards: number };
}

const ENTRIES = 500_000;
/** ms that a live session may stand still. */
export const MOST_STALL = 20;
const HOST = (index: number) => `host-${index}.example\n`;

export async function measureReloads(origin: Origin, rounds: number): Promise<Reloads> {
  const file = join(WORKSHOP, "reload-list.txt");
  writeFileSync(file, HOST(0));
  const short = await memoryOf(origin, file);
  writeFileSync(file, Array.from({ length: ENTRIES }, (_, index) => HOST(index)).join(""));
  const { program, port } = await startNode(origin, file);
  await after(2_000);
  const long = usage(program).memory;
  const socket = await openSession(port);
  const [quiet, reloading, took]: [number[], number[], number[]] = [[], [], []];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`reload: ${round} of ${rounds}`);
    appendFileSync(file, HOST(ENTRIES + round));
    const begun = performance.now();
    reloading.push(await longestRequest(socket, () => reload(program)));
    took.push(performance.now() - begun);
    quiet.push(await longestRequest(socket, () => after(took.at(-1))));
  }
  socket.destroy();
  const afterwards = usage(program).memory;
  await stop(program);
  return {
    entries: ENTRIES,
    quiet: median(quiet),
    reloading: median(reloading),
    took: median(took),
    memory: { short, long, afterwards },
  };
}

export function reloadReport({ entries, quiet, reloading, took, memory }: Reloads): string {
  const word = reloading - quiet <= MOST_STALL ? "holds" : "MISSED";
  const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
  return [
    `A reload with ${entries.toLocaleString("en")} list entries`,
    align([
      ["the longest request of a live session (ms)", quiet.toFixed(1), reloading.toFixed(1)],
      ["", "without", "while reloading"],
    ]),
    `more by ${(reloading - quiet).toFixed(1)} ms, at most ${MOST_STALL}: ${word}; a reload takes ${took.toFixed(0)} ms`,
    `memory of all processes: 1 entry ${mib(memory.short)} MiB, all ${mib(memory.long)} MiB, after the reloads ${mib(memory.afterwards)} MiB`,
  ].join("\n");
}

async function memoryOf(origin: Origin, file: string): Promise<number> {
  const { program } = await startNode(origin, file);
  await after(2_000);
  const { memory } = usage(program);
  await stop(program);
  return memory;
}

async function startNode(origin: Origin, file: string): Promise<{ program: Program; port: number }> {
  const port = await freePort();
  const listener = { mode: "forward", address: `127.0.0.1:${port}`, server: `127.0.0.1:${origin.port}` };
  const settings = { workers: 2, log: { level: "info" }, policy: { lists: { bypass: [file] } } };
  const program = await startClearline(origin, listener, settings);
  await listening(program, port);
  return { program, port };
}

async function openSession(port: number): Promise<TLSSocket> {
  const socket = connect({ host: HERE.address, port, servername: "localhost", rejectUnauthorized: false });
  await once(socket, "secureConnect");
  await longestRequest(socket, () => after(500)); // warm-up
  return socket;
}

/** ms that the slowest of all requests took that were made one after the other during this work. */
async function longestRequest(socket: TLSSocket, work: () => Promise<unknown>): Promise<number> {
  let isOver = false;
  const working = work().finally(() => {
    isOver = true;
  });
  let longest = 0;
  while (!isOver) {
    const begun = performance.now();
    socket.write("GET /seen HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await once(socket, "data");
    longest = Math.max(longest, performance.now() - begun);
    await after(1);
  }
  await working;
  return longest;
}

async function reload(program: Program): Promise<void> {
  const reloads = () => readFileSync(program.log, "utf8").split("Reloaded the configuration").length;
  const before = reloads();
  process.kill(program.child.pid!, "SIGHUP");
  const deadline = performance.now() + 60_000;
  while (reloads() === before) {
    if (performance.now() > deadline) throw new Error("The node did not reload in 60 s");
    await after(20);
  }
}
