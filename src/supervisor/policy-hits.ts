import type { PolicyOrder } from "../control/api.ts";
import { order } from "../policy/explain.ts";
import type { Decision } from "../policy/hits.ts";
import type { SessionChange } from "../sessions/table.ts";
import type { NodeState } from "./state.ts";

/** Counts what entry of the policy decided the sessions that changed. Called before the table takes the changes over. */
export function noteHits(
  { hits, sessions }: Pick<NodeState, "hits" | "sessions">,
  changes: readonly SessionChange[],
  now: number,
): void {
  for (const change of changes) {
    if (change.rule === undefined) continue;
    const before = sessions.find(change.id);
    // The table does not know the session either: its worker is gone.
    if (!before && change.start === undefined) continue;
    hits.note(decisionOf(before ? { ...before, ...change } : change), before && decisionOf(before), now);
  }
}

/** In monitor mode, what would have decided. */
function decisionOf(session: Omit<SessionChange, "id">): Decision {
  const { rule = null, phase = null, verdict = null } = session.monitored ?? session;
  return { rule, phase, verdict, faults: session.certificate?.faults.map(({ fault }) => fault) ?? [] };
}

export function listPolicy({ active, hits, startedAt }: NodeState, now: number): PolicyOrder {
  const entries = order(active.policy);
  const counted = hits.of(entries, now);
  return { order: entries.map((entry, index) => ({ ...entry, hits: counted[index]! })), hitsSince: startedAt };
}
