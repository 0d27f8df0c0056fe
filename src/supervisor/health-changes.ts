import type { HealthChange } from "../control/api.ts";

/** When each tool and feed failed and worked again, since the node started. */
export interface HealthChanges {
  note(kind: Kind, name: string, change: Omit<HealthChange, "at">): void;
  /** The newest first. */
  of(kind: Kind, name: string): readonly HealthChange[];
}

type Kind = "tool" | "feed";

/** For each tool and feed: the oldest leave first. */
const KEPT = 20;

export function createHealthChanges(now: () => number = Date.now): HealthChanges {
  const all = new Map<string, readonly HealthChange[]>();
  const of = (kind: Kind, name: string) => all.get(`${kind} ${name}`) ?? [];
  return {
    note(kind, name, change) {
      all.set(`${kind} ${name}`, [{ at: now(), ...change }, ...of(kind, name)].slice(0, KEPT));
    },
    of,
  };
}
