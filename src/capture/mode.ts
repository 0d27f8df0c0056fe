import type { Arrival } from "./arrival.ts";

/** What every capture mode works with. */
export interface CaptureContext {
  /** Where the listener stands in the configuration: "listeners[0]". */
  readonly path: string;
  /** Its place among the listeners of its mode, from 0. */
  readonly slot: number;
  readonly worker: number;
  /** Workers share every listener; the kernel spreads connections over them. */
  readonly workers: number;
  /** ms: to reach a server, and between two bytes of an unfinished request. */
  readonly timeouts: { readonly connect: number; readonly hello: number };
  /** Sessions that the worker carries at one time. */
  readonly limit: number;
  /** A session begins. */
  readonly arrive: (arrival: Arrival) => void;
}

/** A listener that runs. */
export interface OpenListener {
  /** Takes no more connections; those it took go on. */
  close(): void;
}
