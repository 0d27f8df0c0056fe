import { uptime } from "node:os";
import type { FeedInfo } from "../control/api.ts";
import { LIMIT_NAMES, type LimitName } from "../vocabulary.ts";
import { type Counts, KEYS } from "./counts.ts";
import type { HealthChanges } from "./health-changes.ts";
import type { Webhooks } from "./webhooks.ts";

/** What the node's health has to remember from one look to the next. */

/** Remembers when each limit turned connections away last. */
export interface LimitWatch {
  /** A worker has reported. */
  look(): void;
  /** The limits that did so within the last minute. */
  met(): LimitName[];
}

const LATELY = 60_000;

/** Tells when a feed stops and when it runs again. */
export interface FeedWatch {
  look(feeds: readonly Pick<FeedInfo, "name" | "state" | "reason">[]): void;
}

export function createFeedWatch(tell: Webhooks["tell"], changes: HealthChanges): FeedWatch {
  const stopped = new Set<string>();
  return {
    look(feeds) {
      for (const { name, state, reason = "" } of feeds) {
        if (state === "stopped" && !stopped.has(name)) {
          stopped.add(name);
          changes.note("feed", name, { works: false, reason });
          tell("feed.down", `The feed ${name} has stopped: ${reason}`, { feed: name, reason });
        }
        if (state === "running" && stopped.delete(name)) {
          changes.note("feed", name, { works: true, reason: null });
          tell("feed.up", `The feed ${name} runs again`, { feed: name });
        }
      }
    },
  };
}

export function createLimitWatch(counts: Counts, now: () => number = () => performance.now()): LimitWatch {
  const totals = new Map<LimitName, number>();
  const last = new Map<LimitName, number>();
  return {
    look() {
      for (const limit of LIMIT_NAMES) {
        const total = counts.total(KEYS.turnedAway(limit, "refused")) + counts.total(KEYS.turnedAway(limit, "evicted"));
        if (total > (totals.get(limit) ?? 0)) last.set(limit, now());
        totals.set(limit, total);
      }
    },
    met: () => LIMIT_NAMES.filter((limit) => now() - (last.get(limit) ?? Number.NEGATIVE_INFINITY) < LATELY),
  };
}

/** Notices when the wall clock is set. */
export interface ClockWatch {
  /** ms by which it was moved within the last hour; a step of a second or less is not noticed. */
  moved(): number;
  /** ms by which it was set back since this was asked last; less than a minute is nothing. */
  setBack(): number;
}

const FORGET_MOVE = 3_600_000;
const STEP_BACK = 60_000;

/** Against the time since boot, which no one sets, and which goes on while the machine sleeps. */
export function createClockWatch(difference: () => number = () => Date.now() - uptime() * 1000): ClockWatch {
  let base = difference();
  let since: number | undefined;
  let last = base;
  return {
    setBack() {
      const now = difference();
      const back = last - now;
      last = now;
      return back < STEP_BACK ? 0 : back;
    },
    moved() {
      const moved = difference() - base;
      if (Math.abs(moved) <= 1000) {
        since = undefined;
        return 0;
      }
      since ??= performance.now();
      if (performance.now() - since < FORGET_MOVE) return moved;
      base += moved;
      since = undefined;
      return 0;
    },
  };
}
