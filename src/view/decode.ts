import type { Transform } from "node:stream";
import zlib from "node:zlib";
import { fieldOf, type RequestHead, type ResponseHead } from "./messages.ts";

/** Bodies without their content codings (RFC 9110, section 8.4.1), bounded in size and in how far they expand. */

/** A body may expand this often before it is taken for an attack, once it has this many bytes. */
const RATIO = 200;
const RATIO_FROM = 256 * 1024;
/** The most codings that are undone, one after the other. */
const CODINGS = 3;

const DECODERS: Readonly<Record<string, () => Transform>> = {
  gzip: () => zlib.createGunzip({ finishFlush: zlib.constants.Z_SYNC_FLUSH }),
  "x-gzip": () => zlib.createGunzip({ finishFlush: zlib.constants.Z_SYNC_FLUSH }),
  // "deflate" is zlib's format, but some servers send what it contains: Node's own reader takes both.
  deflate: () => zlib.createUnzip({ finishFlush: zlib.constants.Z_SYNC_FLUSH }),
  br: () => zlib.createBrotliDecompress({ finishFlush: zlib.constants.BROTLI_OPERATION_FLUSH }),
  zstd: () => zlib.createZstdDecompress({ finishFlush: zlib.constants.ZSTD_e_flush }),
};

export interface Decoded {
  readonly bytes: Buffer;
  /** Why this is not the whole body; null: it is. */
  readonly problem: string | null;
}

/** Undoes the codings of one body piece by piece. */
export class BodyDecoder {
  readonly #limit: number;
  readonly #first: Transform | undefined;
  readonly #last: Transform | undefined;
  readonly #chain: readonly Transform[];
  #output: Buffer[] = [];
  #taken = 0;
  #given = 0;
  #problem: string | null = null;
  #isOver = false;

  /** `limit`: the most bytes of its output. */
  constructor(head: RequestHead | ResponseHead, limit: number) {
    this.#limit = limit;
    const names = (fieldOf(head, "content-encoding") ?? "")
      .toLowerCase()
      .split(",")
      .map((name) => name.trim());
    const coded = names.filter((name) => name !== "" && name !== "identity").reverse();
    const unknown = coded.find((name) => DECODERS[name] === undefined);
    if (unknown !== undefined) this.#problem = `the coding ${unknown.slice(0, 40)} is not known: shown as it was sent`;
    else if (coded.length > CODINGS) this.#problem = `it has ${coded.length} codings: shown as it was sent`;
    this.#chain = this.#problem === null ? coded.map((name) => DECODERS[name]!()) : [];
    this.#first = this.#chain[0];
    this.#last = this.#chain.at(-1);
    this.#connect();
  }

  /** Why what was decoded so far is not the whole body. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Returns what these bytes give. */
  async push(bytes: Buffer): Promise<Buffer> {
    if (this.#isOver) return Buffer.alloc(0);
    this.#taken += bytes.length;
    if (this.#first) await this.#write(bytes);
    else this.#take(Buffer.from(bytes));
    return this.#give();
  }

  /** Returns the rest. */
  async end(): Promise<Buffer> {
    if (!this.#isOver && this.#first && this.#last && this.#taken > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#last.once("end", resolve).once("close", resolve);
      this.#first.end();
      await promise;
    }
    this.close();
    return this.#give();
  }

  close(): void {
    this.#isOver = true;
    for (const part of this.#chain) part.destroy();
  }

  #connect(): void {
    for (const [index, part] of this.#chain.entries()) {
      const next = this.#chain[index + 1];
      let expanded = 0;
      part.on("error", () => this.#stop("the rest is not in the coding that the head names"));
      // Of each coding: the last one may give little of much that comes from those before it.
      part.on("data", (bytes: Buffer) => {
        expanded += bytes.length;
        if (expanded > RATIO_FROM && expanded > RATIO * this.#taken)
          this.#stop(`it expands more than ${RATIO} times: decompressed no further`);
      });
      if (next) part.pipe(next);
      else part.on("data", (bytes: Buffer) => this.#take(bytes));
    }
  }

  /** Resolves when the first decoder has taken the bytes, or has failed. */
  #write(bytes: Buffer): Promise<void> {
    const first = this.#first!;
    return new Promise((resolve) => {
      first.once("close", resolve);
      first.write(bytes, () => {
        first.off("close", resolve);
        // What it gives is told in the same turn; a second decoder needs another one.
        if (this.#chain.length === 1) resolve();
        else setImmediate(resolve);
      });
    });
  }

  #take(bytes: Buffer): void {
    if (this.#isOver) return;
    const room = this.#limit - this.#given;
    const kept = bytes.subarray(0, room);
    this.#given += kept.length;
    this.#output.push(kept);
    if (bytes.length > room) this.#stop(`only the first ${this.#limit} bytes are shown`);
  }

  #stop(why: string): void {
    this.#problem ??= why;
    this.close();
  }

  #give(): Buffer {
    const given = Buffer.concat(this.#output);
    this.#output = [];
    return given;
  }
}

/** Decodes a whole body. `isCut`: its end was not kept. */
export async function decodeBody(
  head: RequestHead | ResponseHead,
  { bytes, isCut }: { readonly bytes: Buffer; readonly isCut: boolean },
  limit: number,
): Promise<Decoded> {
  const decoder = new BodyDecoder(head, limit);
  const parts: Buffer[] = [];
  // In pieces, so that a body that expands too far is noticed early.
  for (let at = 0; at < bytes.length; at += STEP) parts.push(await decoder.push(bytes.subarray(at, at + STEP)));
  parts.push(await decoder.end());
  const problem = decoder.problem ?? (isCut ? "only its beginning was kept" : null);
  return { bytes: Buffer.concat(parts), problem };
}

const STEP = 16 * 1024;

/** Media types that are text although they are not text/…. */
const TEXTUAL = /^text\/|[/+](?:json|xml|yaml|javascript|ecmascript|graphql|x-www-form-urlencoded|sql|x-ndjson)\b/;

/** Makes text of bodies and pieces of them; undefined for a type that is not text. */
export function textDecoder(head: RequestHead | ResponseHead): TextDecoder | undefined {
  const type = fieldOf(head, "content-type")?.toLowerCase();
  if (type === undefined || !TEXTUAL.test(type)) return undefined;
  const charset = /charset="?([\w-]+)/.exec(type)?.[1] ?? "utf-8";
  try {
    return new TextDecoder(charset);
  } catch {
    return new TextDecoder();
  }
}
