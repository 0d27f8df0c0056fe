import { QUANTITIES, type Quantity, type Sample } from "./samples.ts";

/** Whether what the node holds stays the same while traffic goes on. */
export interface Flatness {
  readonly quantity: Quantity;
  /** The medians of the second fifth of the time and of the last. */
  readonly early: number;
  readonly late: number;
  readonly isFlat: boolean;
}

/** The late median may be this part of the early one above it, */
const PART = 0.15;
/** and this much: of numbers that are small, or differ from one moment to the next with the sessions that are open. */
const ROOM: Readonly<Record<Quantity, number>> = {
  ...{ memory: 8, supervisor: 8, helpers: 8, heap: 8, supervisorHeap: 8, history: 2 },
  ...{ handles: 4, descriptors: 16, otherDescriptors: 16, connections: 16, contexts: 8, ends: 16, caches: 50 },
};

/** As many as there are sessions, or were in the last minutes: a machine that is less busy carries more. */
const WITH_SESSIONS: readonly Quantity[] = ["caches", "connections", "ends"];

/** Seconds. In less, caches are still filling. */
export const SHORTEST = 600;

export function flatness(samples: readonly Sample[]): readonly Flatness[] {
  const last = samples.at(-1)?.at ?? 0;
  const fifth = (index: number) =>
    samples.filter(({ at }) => at >= (last * index) / 5 && at < (last * (index + 1)) / 5);
  const [second, final] = [fifth(1), fifth(4)];
  const faster = Math.max(1, rate(final) / rate(second));
  return (Object.keys(QUANTITIES) as Quantity[]).map((quantity) => {
    const [early, late] = [second, final].map((some) => median(some.map((one) => one[quantity]))) as [number, number];
    const due = WITH_SESSIONS.includes(quantity) ? early * faster : early;
    return { quantity, early, late, isFlat: late <= due * (1 + PART) + ROOM[quantity] };
  });
}

/** Sessions in a second. */
function rate(samples: readonly Sample[]): number {
  const [first, last] = [samples[0], samples.at(-1)];
  return first && last && last.at > first.at ? (last.sessions - first.sessions) / (last.at - first.at) : 1;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}
