/** Connections at a tool's return address that belong to no session: counted, and told of. */
export interface Strangers {
  readonly count: number;
  /** `from`: its address. `why`: what is wrong with it, in the node's words; what it said is nobody's business. */
  add(from: string, why: string): void;
}

/** ms between two lines: whoever reaches the address may come as often as he likes. */
const BETWEEN = 60_000;

/** `warn` writes a line to the node's log, `now` is a clock in ms. */
export function createStrangers(
  tool: string,
  warn: (about: Readonly<Record<string, unknown>>, message: string) => void,
  now: () => number = () => performance.now(),
): Strangers {
  let count = 0;
  let told = { at: Number.NEGATIVE_INFINITY, count: 0 };
  return {
    get count() {
      return count;
    },
    add(from, why) {
      count += 1;
      if (now() - told.at < BETWEEN) return;
      const unsaid = count - told.count - 1;
      warn({ tool, from, why, ...(unsaid > 0 && { unsaid }) }, "A connection to a tool's return address was reset");
      told = { at: now(), count };
    },
  };
}
