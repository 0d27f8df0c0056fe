import type { Loop, Task } from "../engine/loop.ts";
import type { OverloadReport } from "../messages.ts";
import { LOADS, type Load, OVERLOAD_LEVELS, type OverloadLevel } from "../vocabulary.ts";
import { Gauge } from "./overload-gauge.ts";
import { Rate } from "./rate.ts";

/** Whether this worker is overloaded: it measures, and asks the gauges. An idle worker measures nothing. */

/** The thresholds of this worker, in the units of what is measured; those that are off are absent. */
export type Thresholds = Readonly<Partial<Record<Load, number>>>;

/** What others measure. Parts are of 1. */
export interface Measured {
  /** Of the places for sessions, and of the files that may be open. */
  sessions(): number;
  descriptors(): number;
  /** CPU time of this process in ms. */
  cpu(): number;
}

/** ms between two looks, and how long they go on after the last new session. */
const TICK = 25;
const LINGER = 2_000;
/** So many looks in a row must see a delay: one long pause of the process, such as by its debugger, is no overload. */
const LASTING = 4;
/** ms over which CPU time is measured. */
const CPU = 500;
const NOW = Promise.resolve();

export class Overload {
  /** The node became overloaded, or is no longer. */
  onChange: () => void = () => {};
  readonly #loop: Loop;
  readonly #thresholds: () => Thresholds;
  readonly #measured: Measured;
  readonly #clock: () => number;
  readonly #gauges = LOADS.map((load) => new Gauge(load));
  readonly #rate = new Rate();
  readonly #counts = { bypassed: 0, dropped: 0 };
  #level: OverloadLevel = "none";
  /** At the level half: the new sessions since the last one that was decrypted. */
  #spared = 0;
  #timer: NodeJS.Timeout | undefined;
  #lastArrival = 0;
  /** The part of the memory that the whole node uses: the supervisor knows it. */
  #memory = 0;
  #cpu = { value: 0, at: 0, used: 0 };
  #reason: { readonly load: Load; readonly threshold: number; readonly text: string } | undefined;
  /** ms that a task waited for its turn, at the last looks. */
  #delays: number[] = [];
  #lastDelay = 0;
  #askedAt: number | undefined;
  readonly #probe: Task = {
    queued: false,
    run: () => {
      this.#lastDelay = this.#clock() - (this.#askedAt ?? this.#clock());
      this.#askedAt = undefined;
      return false;
    },
    fail: () => {},
  };

  constructor(
    loop: Loop,
    thresholds: () => Thresholds,
    measured: Measured,
    clock: () => number = () => performance.now(),
  ) {
    this.#loop = loop;
    this.#thresholds = thresholds;
    this.#measured = measured;
    this.#clock = clock;
  }

  /** A new session has come. */
  arrive(): void {
    this.#lastArrival = this.#clock();
    this.#rate.add(this.#lastArrival);
    if (this.#timer) return;
    this.#cpu = { value: 0, at: this.#lastArrival, used: this.#measured.cpu() };
    this.#timer = setInterval(() => this.#tick(), TICK).unref();
  }

  /**
   * Why a new session should not be decrypted; undefined: it may be. `waited`: it was judged before, and has waited since; half of
   * the new sessions then does not mean it.
   */
  judge(waited: boolean): string | undefined {
    this.look();
    if (this.#level === "none" || (waited && this.#level === "half")) return undefined;
    const worst = this.#gauges.filter(({ level }) => level === this.#level);
    const gauge = worst.reduce((one, other) => (other.every > one.every ? other : one));
    if (this.#level === "half") {
      this.#spared = (this.#spared + 1) % gauge.every;
      if (this.#spared === 0) return undefined;
    }
    return this.#reasonFor(gauge.load, this.#thresholds()[gauge.load] ?? 0);
  }

  /** The same sentence for all sessions: their records share it. */
  #reasonFor(load: Load, threshold: number): string {
    if (this.#reason?.load !== load || this.#reason.threshold !== threshold) {
      const text = `The node is overloaded: it met overload.${load} (${written(load, threshold)})`;
      this.#reason = { load, threshold, text };
    }
    return this.#reason.text;
  }

  /** Resolves when the worker turns to a session whose handshakes could begin: those that have begun go first. */
  begin(): Promise<void> {
    // It is about to be judged again.
    if (this.#level === "all") return NOW;
    return new Promise((resolve) => {
      const run = () => {
        resolve();
        return false;
      };
      this.#loop.defer({ queued: false, run, fail: run });
    });
  }

  count(action: "bypass" | "drop"): void {
    this.#counts[action === "bypass" ? "bypassed" : "dropped"] += 1;
  }

  set memory(part: number) {
    this.#memory = part;
  }

  /** Measures, and decides how many of the new sessions are not decrypted. */
  look(): void {
    const thresholds = this.#thresholds();
    const now = this.#clock();
    const moment = { now, rate: this.#rate.at(now) };
    const levels = this.#gauges.map((gauge) =>
      gauge.look(this.#valueOf(gauge.load, moment.rate), thresholds[gauge.load] ?? Number.POSITIVE_INFINITY, moment),
    );
    const before = this.#level;
    this.#level = OVERLOAD_LEVELS.findLast((level) => levels.includes(level)) ?? "none";
    if (this.#level === "all") this.#loop.hurry();
    if ((before === "none") !== (this.#level === "none")) this.onChange();
  }

  report(): OverloadReport {
    this.look();
    const thresholds = this.#thresholds();
    const rate = this.#rate.at(this.#clock());
    const measures = this.#gauges.flatMap(({ load, level }) => {
      const threshold = thresholds[load];
      return threshold === undefined ? [] : [{ load, value: this.#valueOf(load, rate), threshold, level }];
    });
    return { level: this.#level, measures, ...this.#counts };
  }

  get #delay(): number {
    // A trial is over at the first look that sees a delay: each session that it keeps waiting was one too many.
    if (this.#level !== "none") return this.#delays.at(-1) ?? 0;
    return lastingDelay(this.#delays);
  }

  #valueOf(load: Load, rate: number): number {
    if (load === "eventLoopDelay") return this.#delay;
    if (load === "cpu") return this.#cpu.value;
    if (load === "memory") return this.#memory;
    return load === "newSessions" ? rate : this.#measured[load]();
  }

  #tick(): void {
    const now = this.#clock();
    const ofTasks = this.#askedAt === undefined ? this.#lastDelay : now - this.#askedAt;
    const { deferredSince = Number.POSITIVE_INFINITY } = this.#loop;
    this.#delays.push(Math.max(ofTasks, performance.now() - deferredSince));
    if (this.#delays.length > LASTING) this.#delays.shift();
    if (this.#askedAt === undefined) {
      this.#askedAt = now;
      this.#loop.enqueue(this.#probe);
    }
    const { at, used } = this.#cpu;
    if (now - at >= CPU) {
      const cpu = this.#measured.cpu();
      this.#cpu = { value: (cpu - used) / (now - at), at: now, used: cpu };
    }
    this.look();
    if (this.#level === "none" && now - this.#lastArrival > LINGER) this.#rest();
  }

  #rest(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#delays = [];
    this.#lastDelay = 0;
    this.#cpu.value = 0;
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

/**
 * The delay that all of the last looks have seen, in ms. One that falls from the first to the last of them counts half: the worker keeps
 * up again after a pause, such as a collection of garbage.
 */
export function lastingDelay(delays: readonly number[]): number {
  if (delays.length < LASTING) return 0;
  const isFalling = delays.at(-1)! < delays[0]!;
  return Math.min(...delays) / (isFalling ? 2 : 1);
}

function written(load: Load, threshold: number): string {
  if (load === "eventLoopDelay") return `${threshold} ms`;
  return load === "newSessions" ? `${threshold} a second in this worker` : `${Math.round(threshold * 100)}%`;
}
