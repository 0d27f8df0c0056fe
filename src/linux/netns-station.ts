import { once } from "node:events";
import { getSystemErrorName } from "node:util";
import { Worker } from "node:worker_threads";
import { NetworkError } from "../errors.ts";
import { AF, SOCK, type SocketSource } from "./syscalls.ts";

/**
 * A thread that stays in a network namespace and makes sockets there. To enter a namespace takes CAP_SYS_ADMIN, with which
 * a process can do nearly everything; to have entered one takes nothing. So a worker posts its stations while it has the
 * capability, and then gives it up.
 */
interface Station {
  readonly words: Int32Array<SharedArrayBuffer>;
  /** Sockets for connections, made ahead: to wait for the thread takes a tenth of a millisecond. By family. */
  readonly stock: Map<number, number[]>;
}

/** What the memory that the thread shares holds, in 32-bit words. */
export const WORD = {
  turn: 0,
  operation: 1,
  family: 2,
  type: 3,
  protocol: 4,
  count: 5,
  error: 6,
  low: 7,
  high: 8,
  first: 9,
};
export const TURN = { station: 0, caller: 1 } as const;
export const OPERATION = { socket: 0, restrict: 1 } as const;
/** Sockets that one question brings. */
const STOCK = 8;
const STREAM = SOCK.STREAM | SOCK.NONBLOCK | SOCK.CLOEXEC;

const stations = new Map<string, Station>();

/** Posts a thread in the namespace. Needs CAP_SYS_ADMIN. Throws NetworkError. */
export async function postStation(name: string): Promise<void> {
  if (stations.has(name)) return;
  const words = new Int32Array(new SharedArrayBuffer((WORD.first + STOCK) * 4));
  const thread = new Worker(new URL("netns-station-thread.ts", import.meta.url), {
    workerData: { words, name },
    // It holds nothing.
    resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16 },
  });
  const [problem] = (await once(thread, "message")) as [string | undefined];
  if (problem !== undefined) throw new NetworkError(problem, "EPERM");
  thread.unref();
  const station: Station = { words, stock: new Map([AF.INET, AF.INET6].map((family) => [family, []])) };
  stations.set(name, station);
  for (const family of station.stock.keys()) refill(station, family);
}

/** Leaves the stations' threads these capabilities. They are called after the process changed its user. */
export function restrictStations(mask: bigint): void {
  for (const { words } of stations.values()) {
    words[WORD.low] = Number(mask & 0xffff_ffffn) | 0;
    words[WORD.high] = Number(mask >> 32n);
    ask(words, OPERATION.restrict);
  }
}

/** Undefined: this process has no station there. */
export function socketsOfStation(name: string): SocketSource | undefined {
  const station = stations.get(name);
  return station && ((family, type, protocol) => take(station, family, type, protocol));
}

function take(station: Station, family: number, type: number, protocol: number): number {
  const stock = type === STREAM && protocol === 0 ? station.stock.get(family) : undefined;
  if (!stock) return make(station.words, 1, family, type, protocol)[0]!;
  if (stock.length === 0) refill(station, family);
  return stock.pop()!;
}

function refill({ words, stock }: Station, family: number): void {
  stock.get(family)!.push(...make(words, STOCK, family, STREAM, 0));
}

/** Throws NetworkError when not one socket could be made. */
function make(
  words: Int32Array<SharedArrayBuffer>,
  count: number,
  family: number,
  type: number,
  protocol: number,
): number[] {
  words.set([family, type, protocol, count], WORD.family);
  ask(words, OPERATION.socket);
  const made = words[WORD.count]!;
  if (made > 0) return Array.from(words.subarray(WORD.first, WORD.first + made));
  const code = getSystemErrorName(-words[WORD.error]!);
  throw new NetworkError(`The system call socket failed: ${code}`, code);
}

/** The thread does nothing else, so the answer comes at once. */
function ask(words: Int32Array<SharedArrayBuffer>, operation: number): void {
  words[WORD.operation] = operation;
  Atomics.store(words, WORD.turn, TURN.station);
  Atomics.notify(words, WORD.turn);
  Atomics.wait(words, WORD.turn, TURN.station);
}
