import type { LogLine } from "../../control/api.ts";
import type { Line } from "./line.ts";

/** Lines that are kept, and the longest one in characters: 8 MB at most. */
const MOST = 1_000;
const LONGEST = 8_192;

/** The last lines of the log of all processes, for the API. */
export class RecentLines {
  readonly #lines: { readonly number: number; readonly json: string }[] = [];
  #last = 0;

  /** The number of the last line; 0: there was none. */
  get last(): number {
    return this.#last;
  }

  take({ json, level }: Line): void {
    this.#last += 1;
    const { length } = json;
    this.#lines.push({ number: this.#last, json: length <= LONGEST ? json : placeholder(level, length) });
    if (this.#lines.length > MOST) this.#lines.shift();
  }

  /** The lines after this number, the oldest first. */
  since(number: number): readonly LogLine[] {
    // The numbers are consecutive.
    const missing = Math.max(this.#lines.length - (this.#last - number), 0);
    return this.#lines.slice(missing).map(({ number, json }) => read(number, json));
  }
}

/** Sessions' lines are short; a bug's trace may be longer than anybody reads here. */
function placeholder(level: string, length: number): string {
  const msg = `A line of ${length} characters is too long to be shown here; the log has it`;
  return JSON.stringify({ level, time: new Date().toISOString(), msg });
}

/** A worker that was taken over may write anything. */
function read(number: number, json: string): LogLine {
  const { level, time, pid, msg, hostname: _, name: __, ...fields } = parse(json);
  return {
    number,
    time: (typeof time === "string" && Date.parse(time)) || null,
    level: level as LogLine["level"],
    pid: typeof pid === "number" ? pid : null,
    message: typeof msg === "string" ? msg : (JSON.stringify(msg) ?? ""),
    fields: fields as LogLine["fields"],
  };
}

function parse(json: string): Record<string, unknown> {
  try {
    return JSON.parse(json);
  } catch {
    return { level: /^\{"level":"(\w+)"/.exec(json)?.[1], msg: json };
  }
}
