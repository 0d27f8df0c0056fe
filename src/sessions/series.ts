import { z } from "zod";
import { OUTCOMES, type Side } from "../vocabulary.ts";
import { type Frozen, type Session, time } from "./record.ts";
import { handshakeTime } from "./timeline.ts";

/** What the node did in each 10 s of the last 24 hours: rows of numbers in a ring. */

/** ms of one step, and how many steps the ring has. */
export const STEP = 10_000;
export const STEPS = 8_640;

/** How several steps are put together: counts are added, of others the greatest counts. */
type Kind = "sum" | "max";

const ENDED = OUTCOMES.filter((outcome) => outcome !== "live");

/** The columns, in the order of the ring's rows. A change needs another `LAYOUT`. */
const COLUMNS = {
  live: ["max", "live sessions at the step's end; of several steps the most"],
  opened: ["sum", "sessions that began"],
  ended: ["sum", "sessions that ended; verdicts, outcomes, handshakes and resumption are of these"],
  ...{ decrypt: ["sum", "those with the verdict decrypt"], bypass: ["sum", "those with the verdict bypass"] },
  ...{ drop: ["sum", "those with the verdict drop"], undecided: ["sum", "those without a verdict"] },
  ...(Object.fromEntries(ENDED.map((outcome) => [outcome, ["sum", `those with the outcome ${outcome}`]])) as Record<
    Exclude<(typeof OUTCOMES)[number], "live">,
    ["sum", string]
  >),
  clientReceived: ["sum", "bytes from clients"],
  clientSent: ["sum", "bytes to clients"],
  serverReceived: ["sum", "bytes from servers"],
  serverSent: ["sum", "bytes to servers"],
  clientHandshakes: ["sum", "handshakes with clients"],
  clientHandshakeMs: ["sum", "ms that they took, together"],
  clientHandshakeMaxMs: ["max", "ms of the longest of them"],
  clientResumed: ["sum", "those of them that resumed an earlier session"],
  serverHandshakes: ["sum", "handshakes with servers"],
  serverHandshakeMs: ["sum", "ms that they took, together"],
  serverHandshakeMaxMs: ["max", "ms of the longest of them"],
  serverResumed: ["sum", "those of them that resumed an earlier session"],
  toolsUp: ["max", "inline tools that were up"],
  toolsDown: ["max", "inline tools that had failed"],
  feedsRunning: ["max", "feeds that ran"],
  feedsStopped: ["max", "feeds that had stopped"],
  feedBytes: ["sum", "bytes of plaintext that feeds took"],
  feedDropped: ["sum", "packets that feeds left out"],
} as const satisfies Readonly<Record<string, readonly [kind: Kind, what: string]>>;

export type SeriesName = keyof typeof COLUMNS;
export const SERIES_NAMES = Object.keys(COLUMNS) as [SeriesName, ...SeriesName[]];
export const WIDTH = SERIES_NAMES.length;
const PLACES = Object.fromEntries(SERIES_NAMES.map((name, place) => [name, place])) as Record<SeriesName, number>;

export const seriesAnswer = z.object({
  since: time.describe("the beginning of the first step, in ms since the epoch"),
  until: time.describe("the end of the last step, in ms since the epoch"),
  step: z.int().positive().describe("ms of each step"),
  series: z
    .record(z.string(), z.array(z.number().nullable()).readonly())
    .readonly()
    .describe(
      `numbers by name, one for each step in the order of time; null: the node did not run then. ${Object.entries(
        COLUMNS,
      )
        .map(([name, [, what]]) => `${name}: ${what}`)
        .join("; ")}`,
    ),
});
export type SeriesAnswer = Frozen<z.output<typeof seriesAnswer>>;

/** One step while it fills, or as it was. */
export class Row {
  readonly values: Float64Array;

  constructor(values = new Float64Array(WIDTH)) {
    this.values = values;
  }

  set(name: SeriesName, value: number): void {
    this.values[PLACES[name]] = value;
  }

  add(name: SeriesName, value: number): void {
    this.values[PLACES[name]]! += value;
  }

  /** A session has ended. */
  end(session: Session): void {
    this.add("ended", 1);
    this.add(session.verdict ?? "undecided", 1);
    if (session.outcome !== "live") this.add(session.outcome, 1);
    for (const side of ["client", "server"] as const) {
      const ms = handshakeTime(session, side);
      if (ms !== undefined) this.#handshake(side, ms, session[`${side}Leg`].resumed === true);
    }
  }

  #handshake(side: Side, ms: number, resumed: boolean): void {
    this.add(`${side}Handshakes`, 1);
    this.add(`${side}HandshakeMs`, ms);
    const longest = PLACES[`${side}HandshakeMaxMs`];
    this.values[longest] = Math.max(this.values[longest]!, ms);
    if (resumed) this.add(`${side}Resumed`, 1);
  }
}

/** The steps of the ring, by their numbers: ms since the epoch, divided by STEP. */
export class Ring {
  readonly #values = new Float64Array(STEPS * WIDTH);
  /** Of each place, the step that it holds; 0: none. */
  readonly #steps = new Float64Array(STEPS);

  keep(step: number, values: Float64Array): void {
    const place = step % STEPS;
    this.#steps[place] = step;
    this.#values.set(values, place * WIDTH);
  }

  find(step: number): Float64Array | undefined {
    const place = step % STEPS;
    return this.#steps[place] === step ? this.#values.subarray(place * WIDTH, (place + 1) * WIDTH) : undefined;
  }
}

/** What of the ring to show. Times in ms since the epoch; `step` in ms, a multiple of STEP. */
export interface SeriesQuery {
  readonly since: number;
  readonly until: number;
  readonly step: number;
  readonly names: readonly SeriesName[];
}

export function readSeries(ring: Ring, { since, until, step, names }: SeriesQuery): SeriesAnswer {
  const first = Math.floor(since / step);
  const last = Math.max(Math.ceil(until / step), first + 1);
  const each = step / STEP;
  const series = Object.fromEntries(names.map((name) => [name, [] as (number | null)[]]));
  for (let at = first; at < last; at += 1) {
    const rows = Array.from({ length: each }, (_, index) => ring.find(at * each + index)).filter(
      (row) => row !== undefined,
    );
    for (const name of names) series[name]!.push(rows.length === 0 ? null : together(rows, name));
  }
  return { since: first * step, until: last * step, step, series };
}

function together(rows: readonly Float64Array[], name: SeriesName): number {
  const values = rows.map((row) => row[PLACES[name]]!);
  return COLUMNS[name][0] === "sum" ? values.reduce((sum, value) => sum + value, 0) : Math.max(...values);
}
