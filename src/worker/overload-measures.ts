import { openEnds } from "../engine/end.ts";
import type { Loop } from "../engine/loop.ts";
import { openFileLimit } from "../linux/limits.ts";
import type { WorkerSetup } from "../messages.ts";
import { LOADS } from "../vocabulary.ts";
import { Overload, type Thresholds } from "./overload.ts";
import type { WorkerState } from "./state.ts";

/** The worker's watch over its own load, by the thresholds of the setup in force. */
export function createOverload(loop: Loop, state: () => Pick<WorkerState, "admission" | "setup">): Overload {
  const files = openFileLimit();
  return new Overload(loop, () => thresholdsOf(state().setup), {
    // The new session itself has a place already.
    sessions: () => Math.max(0, state().admission.size - 1) / state().setup.capacity.sessions,
    descriptors: () => openEnds() / files,
    cpu() {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1000;
    },
  });
}

const known = new WeakMap<WorkerSetup, Thresholds>();

function thresholdsOf(setup: WorkerSetup): Thresholds {
  const made = known.get(setup) ?? thresholdsFor(setup);
  known.set(setup, made);
  return made;
}

function thresholdsFor({ config: { overload }, workers }: WorkerSetup): Thresholds {
  const set = LOADS.flatMap((load) => {
    const value = overload[load];
    if (value === "off") return [];
    // The kernel spreads new connections over the workers.
    return [[load, load === "newSessions" ? Math.ceil(value / workers) : value] as const];
  });
  return Object.fromEntries(set);
}
