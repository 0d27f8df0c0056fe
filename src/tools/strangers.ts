/** Counts and logs the connections at a tool's return address that belong to no session. */
export interface Strangers {
  readonly count: number;
  /** `from`: its address. `why`: the reason, without any of its bytes, which may be private. */
  add(from: string, why: string): void;
}

/** ms between two lines in the log, because anybody who reaches the address can make strangers. */
const BETWEEN = 60_000;

/** `warn` writes to the node's log. `now` is a clock in ms. */
export function createStrangers(
  tool: string,
  warn: (about: Readonly<Record<string, unknown>>, message: string) => void,
  now: () => number = () => performance.now(),
): Strangers {
  let count = 0;
  let logged = { at: Number.NEGATIVE_INFINITY, count: 0 };
  return {
    get count() {
      return count;
    },
    add(from, why) {
      count += 1;
      if (now() - logged.at < BETWEEN) return;
      const notLogged = count - logged.count - 1;
      warn(
        { tool, from, why, ...(notLogged > 0 && { notLogged }) },
        "A connection to a tool's return address was reset",
      );
      logged = { at: now(), count };
    },
  };
}
