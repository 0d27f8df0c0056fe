import { parentPort, workerData } from "node:worker_threads";
import { hunt } from "./hunt.ts";
import { PARSERS } from "./parsers.ts";

/** One parser's hunt, in a thread of its own: see `main.ts`. */
const { name, run, ...options } = workerData as {
  readonly name: string;
  readonly seed: number;
  readonly inputs: number;
  readonly from: number;
  readonly run: Int32Array;
};
const parser = PARSERS.find((one) => one.name === name)!;
const found = await hunt(parser, {
  ...options,
  collect: globalThis.gc && (() => void globalThis.gc!()),
  onRun: (at) => void Atomics.store(run, 0, at),
});
const { failure } = found;
// An error loses its class on the way.
const why =
  failure && (failure.error instanceof Error ? (failure.error.stack ?? failure.error.message) : String(failure.error));
parentPort!.postMessage(failure ? { ...found, failure: { ...failure, error: why } } : found);
