import type { RequestLimits } from "../detect/request-head.ts";
import type { Loop } from "../engine/loop.ts";
import type { Plan } from "../kernel/listener/lane.ts";
import type { Arrival } from "./arrival.ts";

/** The environment of every capture mode. */
export interface CaptureContext {
  /** Where the listener stands in the configuration: "listeners[0]". */
  readonly path: string;
  /** The ports, queues and marks that the kernel was set up with for the inline listeners. */
  readonly inline: Pick<Plan, "listeners" | "marks"> | undefined;
  readonly worker: number;
  readonly loop: Loop;
  /** All workers listen at each address, and the kernel spreads connections over them. */
  readonly workers: number;
  /** The settings in force now. A reload changes them while the listener is open: call this where they are used. */
  readonly settings: () => CaptureSettings;
  /** Makes the test whether an address is one of these: addresses, subnets and ranges. */
  readonly addresses: (entries: readonly string[]) => (address: string) => boolean;
  /** A session begins. */
  readonly arrive: (arrival: Arrival) => void;
}

export interface CaptureSettings {
  /** ms: to reach a server, and between two bytes of an unfinished request. */
  readonly timeouts: { readonly connect: number; readonly hello: number };
  readonly limits: RequestLimits;
  /** Sessions that the worker carries at one time. */
  readonly sessions: number;
}

/** An open listener. */
export interface OpenListener {
  /** Takes no more connections; accepted connections continue. When it resolves, another listener can take the address. */
  close(): unknown;
}
