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

/** Seconds. In less, caches are still filling. */
export const SHORTEST = 600;

export function flatness(samples: readonly Sample[]): readonly Flatness[] {
  const last = samples.at(-1)?.at ?? 0;
  const fifth = (index: number) =>
    samples.filter(({ at }) => at >= (last * index) / 5 && at < (last * (index + 1)) / 5);
  return (Object.keys(QUANTITIES) as Quantity[]).map((quantity) => {
    const [early, late] = [median(fifth(1).map((one) => one[quantity])), median(fifth(4).map((one) => one[quantity]))];
    return { quantity, early, late, isFlat: late <= early * (1 + PART) + ROOM[quantity] };
  });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}
