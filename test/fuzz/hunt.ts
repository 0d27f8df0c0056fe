import { createDice, spoil } from "./damage.ts";
import { type Parser, refuses } from "./parser.ts";

/** An input on which a parser failed. */
export interface Failure {
  readonly parser: string;
  readonly run: number;
  readonly input: Buffer;
  readonly error: unknown;
}

export interface Hunt {
  readonly parser: string;
  readonly inputs: number;
  /** How many of them were refused with an error. */
  readonly refused: number;
  /** CPU time of the process, in ms. */
  readonly ms: number;
  /** What the slowest input took, in ms: the faster of two tries, since the machine may have been elsewhere. */
  readonly slowest: number;
  /** By how much memory has grown that is still in use, in bytes. */
  readonly growth: number;
  readonly failure: Failure | undefined;
}

export interface HuntOptions {
  readonly seed: number;
  readonly inputs: number;
  /** The number of the first; 0 where it is absent. */
  readonly from?: number;
  /** Collects garbage; undefined: growth is not measured. */
  readonly collect?: (() => void) | undefined;
  /** Called before each input, so that somebody else may notice one that never ends. */
  readonly onRun?: (run: number) => void;
}

/** An input that takes longer is a failure, in ms. Busy machines stop a program for longer than it seems. */
export const SLOWEST = 5_000;
/** Memory that is still in use when all is over, beyond what it was after the first inputs, in bytes. */
export const MOST_GROWTH = 24 * 2 ** 20;
/** Caches, compiled code and tables fill with the first inputs. */
const WARM_UP = 2_000;

/** The input of one run, which depends on the seed and the run's number only. */
export function inputOf(
  { seeds, name }: Parser,
  seed: number,
  run: number,
): { input: Buffer; dice: (n: number) => number } {
  let mixed = seed;
  for (const letter of name) mixed = (Math.imul(mixed, 31) + letter.charCodeAt(0)) | 0;
  const dice = createDice((mixed + Math.imul(run, 0x9e3779b9)) | 0);
  const original = seeds[dice(seeds.length)]!;
  // The first inputs are the corpus itself.
  const input = run < seeds.length ? seeds[run]! : spoil(original, dice, seeds[dice(seeds.length)]!);
  return { input, dice };
}

/** Gives a parser this many inputs. Stops at the first failure. */
export async function hunt(parser: Parser, { seed, inputs, from = 0, collect, onRun }: HuntOptions): Promise<Hunt> {
  const start = cpuTime();
  let [refused, slowest, base, run] = [0, 0, undefined as number | undefined, from];
  const end = from + inputs;
  let failure: Failure | undefined;
  const begun: Promise<Attempt>[] = [];
  for (; run < end && !failure; run += 1) {
    if (run === from + WARM_UP) base = memory(collect);
    while (begun.length < (parser.atOnce ?? 1) && run + begun.length < end) {
      onRun?.(run + begun.length);
      begun.push(attempt(parser, seed, run + begun.length));
    }
    if (begun.length > 1) onRun?.(run);
    const { input, error, took } = (await begun.shift())!;
    if (took > slowest) slowest = Math.max(slowest, Math.min(took, (await attempt(parser, seed, run)).took));
    if (error !== undefined && refuses(parser, error)) refused += 1;
    else if (error !== undefined) failure = { parser: parser.name, run, input, error };
    if (!failure && slowest > SLOWEST)
      failure = { parser: parser.name, run, input, error: new Error(`it took ${slowest} ms`) };
  }
  const ms = cpuTime() - start;
  const growth = base === undefined ? 0 : (memory(collect) ?? base) - base;
  if (!failure && growth > MOST_GROWTH) {
    const error = new Error(`after ${run - from} inputs ${growth} bytes more are in use`);
    failure = { parser: parser.name, run: run - 1, input: inputOf(parser, seed, run - 1).input, error };
  }
  return { parser: parser.name, inputs: run - from, refused, ms, slowest, growth, failure };
}

interface Attempt {
  readonly input: Buffer;
  /** Undefined: it answered. */
  readonly error: unknown;
  readonly took: number;
}

async function attempt(parser: Parser, seed: number, run: number): Promise<Attempt> {
  const { input, dice } = inputOf(parser, seed, run);
  const before = performance.now();
  const answered = (error: unknown): Attempt => ({ input, error, took: performance.now() - before });
  try {
    const answer = parser.read(Buffer.from(input), dice);
    // Only what answers later is waited for.
    if (answer instanceof Promise) await answer;
    return answered(undefined);
  } catch (error) {
    return answered(error ?? new Error("it threw nothing"));
  }
}

function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function memory(collect: (() => void) | undefined): number | undefined {
  if (!collect) return undefined;
  // The first leaves its buffers to a thread, for which the second waits.
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
