import type { Loop } from "../engine/loop.ts";
import type { Plan } from "../kernel/listener/lane.ts";
import type { Arrival } from "./arrival.ts";

/** What every capture mode works with. */
export interface CaptureContext {
  /** Where the listener stands in the configuration: "listeners[0]". */
  readonly path: string;
  /** What the kernel was told of for the inline listeners. */
  readonly inline: Pick<Plan, "listeners" | "marks"> | undefined;
  readonly worker: number;
  readonly loop: Loop;
  /** Workers share every listener; the kernel spreads connections over them. */
  readonly workers: number;
  /** The settings in force now. A reload changes them while the listener is open: call this where they are used. */
  readonly settings: () => CaptureSettings;
  /** A session begins. */
  readonly arrive: (arrival: Arrival) => void;
}

export interface CaptureSettings {
  /** ms: to reach a server, and between two bytes of an unfinished request. */
  readonly timeouts: { readonly connect: number; readonly hello: number };
  /** Sessions that the worker carries at one time. */
  readonly sessions: number;
}

/** A listener that runs. */
export interface OpenListener {
  /** Takes no more connections; those it took go on. Once it has resolved, another may take its place. */
  close(): unknown;
}
