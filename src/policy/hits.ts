import type { Action, Phase } from "../vocabulary.ts";
import { bypassOfRule } from "./bypass.ts";
import type { OrderedStep } from "./explain.ts";

/** How a session was decided. */
export interface Decision {
  readonly rule: string | null;
  readonly phase: Phase | null;
  readonly verdict: Action | null;
  /** What is wrong with the server's certificate. */
  readonly faults: readonly string[];
}

export interface Hits {
  readonly hour: number;
  readonly day: number;
}

/** ms of one slot, and the slots of an hour and of a day. */
const SLOT = 300_000;
const HOUR = 12;
const DAY = 288;
/** What is counted apart. Each takes about 1.2 kB. */
const MOST = 4_096;
const NONE: Hits = { hour: 0, day: 0 };

/** The sessions that each entry of the policy decided in the last hour and day. Times in ms since the epoch. */
export class HitCounts {
  readonly #rings = new Map<string, Ring>();

  /** A session was decided. `before`: the verdict that this one replaces, which the session no longer counts for. */
  note(decision: Decision, before: Decision | undefined, now: number): void {
    const slot = Math.floor(now / SLOT);
    if (before) for (const key of keysOf(before)) this.#rings.get(key)?.add(slot, -1);
    for (const key of keysOf(decision)) this.#ring(key).add(slot, 1);
  }

  /** The hits of each entry, in its order. */
  of(order: readonly OrderedStep[], now: number): readonly Hits[] {
    const named = Map.groupBy(order, (entry) => JSON.stringify([nameOf(entry), entry.action]));
    const owners = new Map<OrderedStep, Hits>();
    const slot = Math.floor(now / SLOT);
    for (const [key, ring] of this.#rings) {
      const [name, verdict, phase] = JSON.parse(key) as [string, Action, Phase];
      const owner = ownerIn(named.get(JSON.stringify([name, verdict])) ?? [], phase);
      if (!owner) continue;
      const { hour, day } = owners.get(owner) ?? NONE;
      owners.set(owner, { hour: hour + ring.sum(slot, HOUR), day: day + ring.sum(slot, DAY) });
    }
    return order.map((entry) => owners.get(entry) ?? NONE);
  }

  #ring(key: string): Ring {
    const known = this.#rings.get(key);
    if (known) return known;
    if (this.#rings.size >= MOST) {
      const [oldest] = [...this.#rings].reduce((first, one) => (one[1].last < first[1].last ? one : first));
      this.#rings.delete(oldest);
    }
    const ring = new Ring();
    this.#rings.set(key, ring);
    return ring;
  }
}

/** Counts of the last day, slot by slot. */
class Ring {
  readonly #counts = new Int32Array(DAY);
  /** The latest slot. */
  last = Number.NEGATIVE_INFINITY;

  add(slot: number, count: number): void {
    if (slot - this.last >= DAY) this.#counts.fill(0);
    // A clock that was set back counts in the latest slot.
    else for (let passed = this.last + 1; passed <= slot; passed += 1) this.#counts[passed % DAY] = 0;
    this.last = Math.max(this.last, slot);
    this.#counts[this.last % DAY]! += count;
  }

  /** Of the last `slots` slots. */
  sum(slot: number, slots: number): number {
    let sum = 0;
    for (let at = Math.max(slot - slots + 1, this.last - DAY + 1); at <= this.last; at += 1)
      sum += this.#counts[at % DAY]!;
    // A verdict that was replaced may have been counted before these slots.
    return Math.max(sum, 0);
  }
}

/** Each fault has an entry of its own. */
function keysOf({ rule, phase, verdict, faults }: Decision): string[] {
  if (rule === null || phase === null || verdict === null) return [];
  if (rule === "certificate fault") return faults.map((fault) => keyOf(`${rule}: ${fault}`, phase, verdict));
  return [keyOf(bypassOfRule(rule) === undefined ? rule : "bypass", phase, verdict)];
}

function keyOf(name: string, phase: Phase, verdict: Action): string {
  return JSON.stringify([name, verdict, phase]);
}

/** The entry that decided. Where no host was named before, the sni phase's entries decide in the certificate phase. */
function ownerIn(entries: readonly OrderedStep[], phase: Phase): OrderedStep | undefined {
  return entries.find((entry) => entry.phase === phase) ?? entries.findLast((entry) => entry.phase !== "network");
}

function nameOf({ group, name }: OrderedStep): string {
  return group.startsWith("certificate faults: ") ? `${name}: ${group.slice("certificate faults: ".length)}` : name;
}
