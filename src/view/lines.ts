import type { Logger } from "pino";
import { RotatingFiles } from "../feeds/rotating-files.ts";
import { decodeBody, textDecoder } from "./decode.ts";
import { fieldOf, type RequestHead, type ResponseHead } from "./messages.ts";
import type { Body, Detail, Transaction } from "./transaction.ts";

/** Writes one line of JSON for each transaction that is over, to files that rotate. */

export interface LinesOptions {
  readonly name: string;
  readonly directory: string;
  readonly rotate: number;
  readonly rotateAfter: number | undefined;
  readonly keep: number;
  /** Whether bodies and messages are written. */
  readonly bodies: boolean;
  /** The most bytes of one body. */
  readonly body: number;
  readonly log: Logger;
}

/** The longest line. The writer takes no larger records. */
const LONGEST = 480 * 1024;
/** The most transactions whose bodies wait to be decoded. */
const WAITING = 64;

export class TransactionLines {
  readonly #options: LinesOptions;
  readonly #files: RotatingFiles;
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;

  private constructor(options: LinesOptions) {
    this.#options = options;
    this.#files = new RotatingFiles({
      ...options,
      ...{ worker: 0, workers: 1, extension: "jsonl", preamble: Buffer.alloc(0) },
    });
  }

  /** Never rejects: where the folder cannot be written, the lines are left out until it can. */
  static async open(options: LinesOptions): Promise<TransactionLines> {
    const lines = new TransactionLines(options);
    await lines.#files.start();
    return lines;
  }

  take(transaction: Transaction, detail: Detail): void {
    const line = lineOf(transaction);
    if (!this.#options.bodies || this.#waiting >= WAITING) {
      this.#write(line);
      return;
    }
    // In order, one after the other: a decoder needs memory.
    this.#waiting += 1;
    this.#last = this.#last.then(async () => {
      this.#write(line, await bodiesOf(detail, this.#options.body));
      this.#waiting -= 1;
    });
  }

  async close(): Promise<void> {
    await this.#last;
    await this.#files.close();
  }

  #write(line: object, bodies: object = {}): void {
    const whole = Buffer.from(JSON.stringify({ ...line, ...bodies }));
    const text = whole.length <= LONGEST ? whole : Buffer.from(JSON.stringify({ ...line, bodiesTooLong: true }));
    // The writer takes multiples of four bytes. Spaces behind a value are JSON.
    const length = (text.length + 1 + 3) & ~3;
    this.#files.turn(length);
    const at = this.#files.room(length);
    if (at < 0) return;
    const { bytes } = this.#files.block;
    bytes.fill(" ", at, at + length - 1);
    text.copy(bytes, at);
    bytes.write("\n", at + length - 1);
  }
}

function lineOf(transaction: Transaction): object {
  const time = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
  const { started, requestEnded, responseStarted, ended, ...rest } = transaction;
  return {
    time: time(started),
    ...rest,
    ...{ requestEnded: time(requestEnded), responseStarted: time(responseStarted), ended: time(ended) },
  };
}

async function bodiesOf({ request, response, bodies, frames }: Detail, limit: number): Promise<object> {
  return {
    ...(bodies.client.bytes.length > 0 && { requestBody: await bodyOf(request, bodies.client, limit) }),
    ...(response && bodies.server.bytes.length > 0 && { responseBody: await bodyOf(response, bodies.server, limit) }),
    ...(frames.length > 0 && {
      frames: frames.map(({ from, kind, bytes, time }) => ({
        time: new Date(time).toISOString(),
        from,
        ...(kind === "text" ? { text: bytes.toString() } : { base64: bytes.toString("base64") }),
      })),
    }),
  };
}

async function bodyOf(head: RequestHead | ResponseHead, body: Body, limit: number): Promise<object> {
  const { bytes, problem } = await decodeBody(head, body, limit);
  const text = textDecoder(head);
  return {
    type: fieldOf(head, "content-type") ?? null,
    ...(text ? { text: text.decode(bytes) } : { base64: bytes.toString("base64") }),
    ...(problem !== null && { problem }),
  };
}
