import type { Preview } from "../control/api.ts";
import type { Policy } from "../policy/evaluate.ts";
import {
  type Decided,
  differingFacts,
  judgePast,
  MISSING_FACTS,
  type MissingFact,
  type PastVerdict,
} from "../policy/past.ts";
import type { Session } from "../sessions/record.ts";
import type { Outcome } from "../vocabulary.ts";
import { pastFlow, pastHost } from "./past-flow.ts";

type Change = Preview["changes"][number];
type Outcomes = Change["outcomes"];
type Mutable<Shape> = { -readonly [Key in keyof Shape]: Shape[Key] };

const EXAMPLES = 3;
const CHANGES_SHOWN = 100;
/** Sessions beyond this many different changes still count in the sums. */
const CHANGES_MAX = 1_000;

const GROUPS: Readonly<Record<Outcome, keyof Outcomes>> = {
  decrypted: "good",
  bypassed: "good",
  plaintext: "good",
  dropped: "dropped",
  clientRefusedCertificate: "failed",
  clientFailed: "failed",
  serverFailed: "failed",
  serverUnreachable: "failed",
  toolFailed: "failed",
  nodeFailed: "failed",
  live: "live",
};

/** Judges past sessions by the running policy and by a changed one, and counts where they differ. */
export class PreviewReporter {
  readonly #since: number;
  readonly #running: Policy;
  readonly #changed: Policy;
  readonly #differing: ReadonlySet<MissingFact>;
  #sessions = 0;
  #changedSessions = 0;
  #earlier = 0;
  readonly #covered = noOutcomes();
  readonly #before = noVerdicts();
  readonly #after = noVerdicts();
  readonly #changes = new Map<string, Mutable<Change>>();
  readonly #notJudged = new Map<MissingFact, number>();
  readonly #unsure = new Map<MissingFact, number>();

  /** `since` in ms since the epoch. */
  constructor(since: number, running: Policy, changed: Policy) {
    this.#since = since;
    this.#running = running;
    this.#changed = changed;
    this.#differing = differingFacts(running.source, changed.source);
  }

  add(session: Session): void {
    if (session.start < this.#since) return;
    this.#sessions += 1;
    const flow = pastFlow(session);
    const now = judgePast(this.#running, flow, this.#running.source);
    const then = judgePast(this.#changed, flow, this.#running.source);
    const recorded = session.monitored ?? session;
    if (now.kind === "verdict" && !isAsRecorded(now.verdict, recorded)) this.#earlier += 1;
    const missing = this.#missing(now, then);
    if (missing) {
      add(this.#notJudged, missing);
      return;
    }
    this.#before[recorded.verdict ?? "none"] += 1;
    if (then.kind !== "verdict" || isSame(now, then)) {
      this.#after[recorded.verdict ?? "none"] += 1;
      return;
    }
    const { verdict, unless } = then;
    const after = { verdict: verdict?.action ?? null, rule: verdict?.rule ?? null };
    this.#after[after.verdict ?? "none"] += 1;
    const before = { verdict: recorded.verdict, rule: recorded.rule };
    if (before.verdict === after.verdict && before.rule === after.rule) return;
    this.#changedSessions += 1;
    if (unless) add(this.#unsure, unless);
    if (after.verdict === "bypass" && before.verdict !== "bypass") this.#covered[GROUPS[session.outcome]] += 1;
    const phase = verdict?.phase ?? null;
    const reason = verdict?.reason ?? "Nothing decides";
    this.#count(session, before, { ...after, phase, reason }, unless !== undefined);
  }

  /** What the two verdicts cannot be told apart without. Undefined: they can be compared. */
  #missing(now: PastVerdict, then: PastVerdict): MissingFact | undefined {
    if (then.kind === "unknown") return now.kind === "unknown" ? undefined : then.missing;
    if (!isSame(now, then) || !then.unless) return undefined;
    const before = now.kind === "unknown" ? undefined : now.unless;
    return before !== then.unless || this.#differing.has(then.unless) ? then.unless : undefined;
  }

  #count(session: Session, before: Change["before"], after: Change["after"], unsure: boolean): void {
    const key = JSON.stringify([before, after.verdict, after.rule]);
    let row = this.#changes.get(key);
    if (!row) {
      if (this.#changes.size >= CHANGES_MAX) return;
      row = { before, after, sessions: 0, outcomes: noOutcomes(), unsure: 0, examples: [] };
      this.#changes.set(key, row);
    }
    const { id, start } = session;
    row.after = after;
    row.sessions += 1;
    (row.outcomes as Mutable<Outcomes>)[GROUPS[session.outcome]] += 1;
    if (unsure) row.unsure += 1;
    row.examples = [...row.examples, { id, host: pastHost(session), start }].slice(-EXAMPLES);
  }

  answer(): Omit<Preview, "notes"> {
    return {
      since: this.#since,
      sessions: this.#sessions,
      changed: this.#changedSessions,
      earlier: this.#earlier,
      covered: this.#covered,
      before: this.#before,
      after: this.#after,
      changes: [...this.#changes.values()].sort((a, b) => b.sessions - a.sessions).slice(0, CHANGES_SHOWN),
      notJudged: told(this.#notJudged),
      unsure: told(this.#unsure),
    };
  }
}

function isSame(now: PastVerdict, then: PastVerdict): boolean {
  if (now.kind !== "verdict" || then.kind !== "verdict") return now.kind === then.kind;
  return now.verdict?.action === then.verdict?.action && now.verdict?.rule === then.verdict?.rule;
}

/** A session that ended before it was decided has no verdict, whatever it would have been. */
function isAsRecorded(verdict: Decided | null, { verdict: action, rule }: Pick<Session, "verdict" | "rule">): boolean {
  return action === null || (verdict?.action === action && verdict.rule === rule);
}

function noOutcomes(): Mutable<Outcomes> {
  return { failed: 0, good: 0, dropped: 0, live: 0 };
}

function noVerdicts(): Mutable<Preview["before"]> {
  return { decrypt: 0, bypass: 0, drop: 0, none: 0 };
}

function add(counts: Map<MissingFact, number>, fact: MissingFact): void {
  counts.set(fact, (counts.get(fact) ?? 0) + 1);
}

function told(counts: ReadonlyMap<MissingFact, number>): Preview["notJudged"] {
  return [...counts].map(([fact, sessions]) => ({ fact, why: MISSING_FACTS[fact], sessions }));
}
