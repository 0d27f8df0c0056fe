import { LIMIT_NAMES, type LimitName } from "../vocabulary.ts";
import { type Counts, KEYS } from "./counts.ts";

/** ms between two lines in the log: a full node turns many connections away. */
const BETWEEN = 60_000;

/** Logs connections that were turned away, at most once a minute, with the limits that were met. */
export interface ShortageLog {
  /** A worker has reported. */
  look(): void;
}

type Warn = (about: Readonly<Record<string, unknown>>, message: string) => void;

/** `now` is a clock in ms. */
export function createShortageLog(
  counts: Counts,
  warn: Warn,
  now: () => number = () => performance.now(),
): ShortageLog {
  const logged = new Map<LimitName, { refused: number; evicted: number }>();
  let next = Number.NEGATIVE_INFINITY;

  function grown(limit: LimitName) {
    const before = logged.get(limit) ?? { refused: 0, evicted: 0 };
    const [refused, evicted] = (["refused", "evicted"] as const).map((what) =>
      counts.total(KEYS.turnedAway(limit, what)),
    );
    logged.set(limit, { refused: refused!, evicted: evicted! });
    return { limit, refused: refused! - before.refused, evicted: evicted! - before.evicted };
  }

  return {
    look() {
      if (now() < next) return;
      const met = LIMIT_NAMES.map(grown).filter(({ refused, evicted }) => refused + evicted > 0);
      if (met.length === 0) return;
      next = now() + BETWEEN;
      warn(
        { limits: met },
        "The node is full: connections were refused, or sessions ended for others, since the last such line",
      );
    },
  };
}
