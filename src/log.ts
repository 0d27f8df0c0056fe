import { write, writeSync } from "node:fs";
import pino from "pino";

/** Takes whole lines, each with its line end. */
type Output = (line: string) => void;

/** Bytes that wait for a reader that is slow or hangs. */
const LIMIT = 1024 * 1024;
/** ms until a full pipe is tried again. */
const AGAIN = 20;
/** A write that takes longer, in ms, hangs. */
const HANGS = 1_000;

/**
 * Writes lines to a descriptor. The caller never waits: what a slow reader leaves no room for is left out, and a line says how much. At
 * the end of the process the rest is written, unless the reader hangs.
 */
export class DescriptorWriter {
  readonly #fd: number;
  #waiting: string[] = [];
  /** Characters in `#waiting`. */
  #size = 0;
  #dropped = 0;
  /** What is being written, or tried again. */
  #rest = Buffer.alloc(0);
  #state: "idle" | "due" | "writing" = "idle";
  #since = 0;

  constructor(fd: number) {
    this.#fd = fd;
    process.on("exit", () => this.#finish());
  }

  /** Lines that were left out. */
  get dropped(): number {
    return this.#dropped;
  }

  take(line: string): void {
    if (this.#size + line.length > LIMIT) {
      this.#dropped += 1;
      return;
    }
    this.#waiting.push(line);
    this.#size += line.length;
    if (this.#state !== "idle") return;
    this.#state = "due";
    // Many lines are one write, and a process that ends in this turn writes them in `#finish`.
    setImmediate(() => this.#writeNext());
  }

  #writeNext(): void {
    if (this.#rest.length === 0) {
      this.#rest = Buffer.from(this.#waiting.join(""));
      this.#waiting = [];
      this.#size = 0;
    }
    if (this.#rest.length === 0) {
      this.#state = "idle";
      return;
    }
    this.#state = "writing";
    this.#since = performance.now();
    write(this.#fd, this.#rest, (error, written) => {
      this.#state = "due";
      if (error?.code === "EAGAIN") {
        setTimeout(() => this.#writeNext(), AGAIN).unref();
        return;
      }
      // After any other error nobody reads it any more.
      this.#rest = error ? Buffer.alloc(0) : this.#rest.subarray(written);
      this.#writeNext();
    });
  }

  #finish(): void {
    const isWriting = this.#state === "writing";
    if (isWriting && performance.now() - this.#since > HANGS) return;
    const rest = isWriting ? [] : [this.#rest];
    try {
      for (let left = Buffer.concat([...rest, Buffer.from(this.#waiting.join(""))]); left.length > 0; )
        left = left.subarray(writeSync(this.#fd, left));
    } catch {
      // Nobody reads it any more.
    }
  }
}

/** Standard error. */
export const stderr = new DescriptorWriter(2);
/** Standard output, for lines that come as long as the node runs. */
export const stdout = new DescriptorWriter(1);
let output: Output = (line) => stderr.take(line);

/** From now on lines go there. */
export function sendLogTo(take: Output): void {
  output = take;
}

/**
 * The node's log: lines of JSON. A worker writes them to its standard error, which the supervisor reads; the supervisor hands all lines
 * to the targets of the configuration. The supervisor sets the level, and hands it to the workers in the environment. Never log a key,
 * or what a session carries.
 */
export const log = pino(
  {
    name: "clearline",
    level: process.env["CLEARLINE_LOG_LEVEL"] ?? "info",
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (level) => ({ level }) },
  },
  { write: (line: string) => output(line) },
);
