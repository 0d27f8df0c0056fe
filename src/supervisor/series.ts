import { setTimeout } from "node:timers/promises";
import { Ring, Row, STEP, STEPS } from "../sessions/series.ts";
import type { Applied } from "../sessions/table.ts";
import { openSeriesFile, type SeriesFile } from "./series-file.ts";

/** What is sampled at the end of each step. Sessions, bytes and packets are totals since the node started. */
export interface Sample {
  readonly live: number;
  /** All sessions that ever began. */
  readonly opened: number;
  readonly bytes: Readonly<Record<"clientReceived" | "clientSent" | "serverReceived" | "serverSent", number>>;
  readonly toolsUp: number;
  readonly toolsDown: number;
  readonly feedsRunning: number;
  readonly feedsStopped: number;
  readonly feedBytes: number;
  readonly feedDropped: number;
}

export interface SeriesOptions {
  readonly file: string;
  readonly log: { warn(message: string): void };
  sample(): Sample;
}

/** ms between two looks at the clock. */
const LOOK = 1_000;

/** ms that the last step may take to be written. */
const CLOSING = 5_000;

/** Counts what the node does, step by step, in memory and on disk. When the disk fails or hangs, it goes on in memory. */
export class Series {
  readonly ring = new Ring();
  readonly #options: SeriesOptions;
  readonly #timer: NodeJS.Timeout;
  #file: SeriesFile | undefined;
  #step = stepNow();
  #row: Row;
  /** Steps that are not on disk yet; no more than the ring has. */
  readonly #unwritten = new Set<number>();
  #writing: Promise<void> | undefined;
  /** The totals at the end of the last step; undefined: the first one is under way. */
  #before: Sample | undefined;

  constructor(options: SeriesOptions) {
    this.#options = options;
    try {
      this.#file = openSeriesFile(options.file, this.ring, this.#step);
    } catch (error) {
      this.#fail("read", error);
    }
    this.#row = this.#begin();
    this.#timer = setInterval(() => this.#look(), LOOK);
    this.#timer.unref();
  }

  note({ closed }: Applied): void {
    for (const session of closed) this.#row.end(session);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#finish();
    await Promise.race([this.#writing, setTimeout(CLOSING, undefined, { ref: false })]);
    if (this.#writing === undefined) this.#file?.close();
    this.#file = undefined;
  }

  #look(): void {
    const now = stepNow();
    if (now === this.#step) return;
    this.#finish();
    this.#step = now;
    this.#row = this.#begin();
  }

  /** A step that a restart cut in two goes on. */
  #begin(): Row {
    const known = this.ring.find(this.#step);
    return new Row(known && Float64Array.from(known));
  }

  #finish(): void {
    const sample = this.#options.sample();
    const { bytes, opened, feedBytes, feedDropped, ...gauges } = sample;
    const before = this.#before;
    for (const name of ["live", "toolsUp", "toolsDown", "feedsRunning", "feedsStopped"] as const)
      this.#row.set(name, gauges[name]);
    for (const name of ["clientReceived", "clientSent", "serverReceived", "serverSent"] as const)
      this.#row.add(name, Math.max(bytes[name] - (before?.bytes[name] ?? 0), 0));
    this.#row.add("opened", opened - (before?.opened ?? 0));
    this.#row.add("feedBytes", Math.max(feedBytes - (before?.feedBytes ?? 0), 0));
    this.#row.add("feedDropped", Math.max(feedDropped - (before?.feedDropped ?? 0), 0));
    this.#before = sample;
    this.ring.keep(this.#step, this.#row.values);
    this.#unwritten.add(this.#step);
    if (this.#unwritten.size > STEPS) this.#unwritten.delete(this.#unwritten.values().next().value!);
    this.#writing ??= this.#write();
  }

  /** One step at a time. Those that come while the disk hangs wait in the ring. */
  async #write(): Promise<void> {
    try {
      for (const step of this.#unwritten) {
        const values = this.ring.find(step);
        if (values) await this.#file?.write(step, values);
        this.#unwritten.delete(step);
      }
    } catch (error) {
      this.#fail("write", error);
    }
    this.#writing = undefined;
  }

  #fail(what: "read" | "write", error: unknown): void {
    this.#file?.close();
    this.#file = undefined;
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.log.warn(
      `Cannot ${what} ${this.#options.file}: ${reason}. The series of this run are kept in memory alone`,
    );
  }
}

function stepNow(): number {
  return Math.floor(Date.now() / STEP);
}
