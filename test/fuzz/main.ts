import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import type { Failure, Hunt } from "./hunt.ts";
import { hunt, inputOf } from "./hunt.ts";
import type { Parser } from "./parser.ts";
import { PARSERS } from "./parsers.ts";

/**
 * `npm run fuzz` gives every parser damaged inputs of its corpus. An input that makes one fail, hang or fill memory is written down with
 * the command that repeats it, and the others go on. Ends with 1 if one failed.
 *
 * --inputs N      for each parser, 100,000 by default; slow ones get fewer, unless --all
 * --from N        begins with this input, 0 by default: a long run in parts
 * --only PARSER   this one alone; may be repeated
 * --seed S        which damage, by default another one each time
 * --all           the slow ones get as many
 * --input FILE    gives the one parser these bytes, and nothing else
 * --failures DIR  where failing inputs go, fuzz-failures by default
 * --list          names the parsers
 */

/** An input that has not ended by then never will, in ms. */
const HANG = 30_000;
/** ms by which a look for hangs may be late. */
const LATE = 5_000;
/** The most memory of one parser's thread, in MiB. */
const MEMORY = 512;

const values = readOptions();
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
const [inputs, from] = [Number(values.inputs), Number(values.from)];
if (![inputs, from, seed].every(Number.isSafeInteger) || inputs < 1 || from < 0) {
  stop("Cannot fuzz: --inputs, --from and --seed need whole numbers, --inputs one above 0, --from none below");
}
const unknown = values.only.filter((name) => !PARSERS.some((parser) => parser.name === name));
if (unknown.length > 0) stop(`Cannot fuzz ${unknown.join(", ")}: no parser has this name; --list names them`);
const chosen = PARSERS.filter(({ name }) => values.only.length === 0 || values.only.includes(name));

if (values.list) for (const { name, of } of chosen) console.log(`${name.padEnd(18)} ${of}`);
else if (values.input !== undefined) await repeat(values.input);
else await huntAll();

async function huntAll(): Promise<void> {
  console.log(`seed ${seed}\n${row("parser", "inputs", "refused", "a CPU second", "slowest")}`);
  let total = 0;
  for (const parser of chosen) {
    const share = values.all ? 1 : (parser.every ?? 1);
    const found = await huntInThread(parser, Math.ceil(inputs / share));
    const { inputs: done, refused, ms, slowest, failure } = found;
    total += done;
    const perSecond = Math.round((1000 * done) / ms).toLocaleString("en");
    const share100 = `${Math.round((100 * refused) / Math.max(1, done))} %`;
    console.log(row(parser.name, done.toLocaleString("en"), share100, perSecond, `${slowest.toFixed(1)} ms`));
    if (failure) tell(failure);
  }
  console.log(`${total.toLocaleString("en")} inputs, ${chosen.length} parsers`);
}

function row(name: string, ...cells: readonly string[]): string {
  return name.padEnd(18) + cells.map((cell) => cell.padStart(13)).join("");
}

/** In a thread of its own, which can be ended when it hangs, and has a bound of memory. */
async function huntInThread(parser: Parser, count: number): Promise<Hunt> {
  const run = new Int32Array(new SharedArrayBuffer(4));
  // It may be lost before its first input.
  run[0] = from;
  const start = performance.now();
  const thread = new Worker(new URL("thread.ts", import.meta.url), {
    workerData: { name: parser.name, seed, inputs: count, from, run },
    resourceLimits: { maxOldGenerationSizeMb: MEMORY },
  });
  const { promise, resolve } = Promise.withResolvers<Hunt>();
  const lost = (why: string): void => {
    const at = Atomics.load(run, 0);
    const failure = { parser: parser.name, run: at, input: inputOf(parser, seed, at).input, error: new Error(why) };
    const ms = performance.now() - start;
    resolve({ parser: parser.name, inputs: at - from + 1, refused: 0, ms, slowest: ms, growth: 0, failure });
  };
  let [last, lookedAt] = [-1, start];
  const watch = setInterval(() => {
    const now = Atomics.load(run, 0);
    // A look that comes late: the whole process was stopped for a time.
    const isLate = performance.now() - lookedAt > HANG + LATE;
    if (now === last && !isLate) lost(`it has not ended after ${HANG} ms`);
    [last, lookedAt] = [now, performance.now()];
  }, HANG);
  thread.on("message", (found: Hunt) => resolve(found));
  thread.on("error", (error) => lost(error instanceof Error ? `${error.name}: ${error.message}` : String(error)));
  const found = await promise;
  clearInterval(watch);
  await thread.terminate();
  return found;
}

function tell({ parser, run, input, error }: Failure): void {
  mkdirSync(values.failures, { recursive: true });
  const file = join(values.failures, `${parser}-${seed}-${run}`);
  const command = `npm run fuzz -- --only ${parser} --input ${file}.bin`;
  const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
  writeFileSync(`${file}.bin`, input);
  const whole = `npm run fuzz -- --only ${parser} --seed ${seed} --inputs ${run + 1} --all`;
  writeFileSync(`${file}.txt`, `${command}\n\nWith what else was left to chance:\n${whole}\n\n${why}\n`);
  console.log(`  FAILED at input ${run}: ${why.split("\n", 1)[0]}\n  repeat it: ${command}`);
  process.exitCode = 1;
}

/** Answers what one parser makes of the bytes of a file. */
async function repeat(file: string): Promise<void> {
  const [parser, ...others] = chosen;
  if (!parser || others.length > 0) stop("Cannot repeat an input: --only must name one parser");
  const { failure, refused } = await hunt({ ...parser!, seeds: [readInput(file)] }, { seed, inputs: 1 });
  console.log(failure ? "it fails:" : refused > 0 ? "it is refused" : "it is answered");
  if (!failure) return;
  console.log(failure.error);
  process.exitCode = 1;
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        inputs: { type: "string", default: "100000" },
        from: { type: "string", default: "0" },
        only: { type: "string", multiple: true, default: [] },
        seed: { type: "string" },
        all: { type: "boolean", default: false },
        input: { type: "string" },
        failures: { type: "string", default: "fuzz-failures" },
        list: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    return stop(`Cannot fuzz: ${(error as Error).message}`);
  }
}

function readInput(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    return stop(`Cannot repeat an input: ${(error as Error).message}`);
  }
}

function stop(message: string): never {
  console.error(message);
  process.exit(2);
}
