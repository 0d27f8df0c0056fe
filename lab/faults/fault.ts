import type { Pki } from "../../test/pki.ts";

/** Something that goes wrong under traffic, and what the node promises about it. */
export interface Fault {
  /** As `--only` takes it. */
  readonly name: string;
  /** What is done. */
  readonly about: string;
  readonly promise: string;
  /** Modes and parts of the node that carry the traffic. */
  readonly over: string;
  /** Whether it is part of the short form, which the tests run. */
  readonly quick?: true;
  /** Does it. Resolves with the measured values; rejects when the promise is broken, or with `Skipped`. */
  run(pki: Pki): Promise<string>;
}

export interface Result {
  readonly fault: Fault;
  readonly outcome: "held" | "broken" | "skipped";
  /** The measured values, or why the promise is broken or the fault cannot be had here. */
  readonly measured: string;
  readonly seconds: number;
}

/** This machine cannot have the fault. */
export class Skipped extends Error {}

export async function runFault(fault: Fault, pki: Pki): Promise<Result> {
  const start = performance.now();
  const [outcome, measured] = await fault.run(pki).then(
    (text) => ["held", text] as const,
    (error: Error) => [error instanceof Skipped ? "skipped" : "broken", error.message] as const,
  );
  return { fault, outcome, measured, seconds: (performance.now() - start) / 1000 };
}
