import type { Side } from "../vocabulary.ts";
import { Chunks } from "./chunks.ts";
import {
  createRequestHeadReader,
  type RequestHead,
  type RequestHeadReader,
  type RequestLimits,
} from "./request-head.ts";
import { readResponseHead } from "./response-head.ts";

/** What a session's requests have in common. A request for anything else is another session's. */
export interface RequestAim {
  readonly host: string | undefined;
  /** Of a proxy: the port that its target names. Undefined: the listener says where requests go. */
  readonly port?: number | undefined;
}

/** What becomes of one side's next bytes. */
export type Step =
  /** They are not enough to know. */
  | { readonly kind: "more" }
  /** So many pass, also those that have not come yet. `passed` is to be called once they have. */
  | { readonly kind: "pass"; readonly length: number }
  /** The first `drop` bytes are replaced by others; then as "pass", of `length` bytes with the new ones. */
  | { readonly kind: "replace"; readonly drop: number; readonly by: Buffer; readonly length: number }
  /** They wait until the other side has said more. */
  | { readonly kind: "wait" }
  /** Both sides have left HTTP: all that they say from now on passes. */
  | { readonly kind: "through" }
  /** Every request has been answered, and the next one is not for this server, or is none. */
  | { readonly kind: "leave" }
  | { readonly kind: "malformed"; readonly message: string };

const MORE = { kind: "more" } as const;
const WAIT = { kind: "wait" } as const;
const THROUGH = { kind: "through" } as const;
const LEAVE = { kind: "leave" } as const;

/** Requests that a client may pipeline before the first of them is answered. */
const MOST_WAITING = 128;

/** A request whose response has not been seen to its end. */
interface Asked {
  readonly toHead: boolean;
  readonly upgrade: boolean;
}

/**
 * Follows HTTP/1.x between a client and a server (RFC 9112), message by message: where each ends, and whether the client's next request is
 * for the same host. It looks at heads only. Requests are read strictly, because a server must not see other requests than the
 * ones that were judged. Responses are read as leniently as clients do.
 */
export class Exchange {
  readonly #aim: RequestAim;
  readonly #limits: RequestLimits;
  /** Heads are rewritten for the origin server: the client speaks to a proxy. */
  readonly #rewrites: boolean;
  readonly #asked: Asked[] = [];
  readonly #sides: Readonly<Record<Side, Reader>>;
  #isThrough = false;
  /** A message has been refused, or the client goes on to another host. */
  #isLeaving = false;

  constructor(aim: RequestAim, options: { readonly limits: RequestLimits; readonly rewrites: boolean }) {
    this.#aim = aim;
    this.#limits = options.limits;
    this.#rewrites = options.rewrites;
    this.#sides = { client: new Reader(this.#openReader()), server: new Reader(this.#openReader()) };
  }

  /** The client has begun a request and not ended its head. */
  get isHeadOpen(): boolean {
    return this.#sides.client.known > 0;
  }

  /** The client's last bytes, of which more were needed. Answers whether they are half a head, which is another session's. */
  breakOff(bytes: Buffer): boolean {
    // An empty line may follow the last request.
    if (this.isHeadOpen && bytes.toString("latin1").trim() !== "") this.#isLeaving = true;
    return this.#isLeaving;
  }

  /** The side's next step may replace the bytes that it begins with. */
  mayReplace(side: Side): boolean {
    return this.#rewrites && side === "client" && this.#sides.client.chunks === undefined;
  }

  /** What becomes of these bytes of a side, which begin behind all that have passed. */
  next(side: Side, bytes: Buffer): Step {
    if (this.#isThrough) return THROUGH;
    const reader = this.#sides[side];
    const step = this.#step(side, reader, bytes);
    if (step.kind === "pass" || step.kind === "replace") reader.known = 0;
    return step;
  }

  #step(side: Side, reader: Reader, bytes: Buffer): Step {
    if (bytes.length === 0) return MORE;
    if (reader.chunks) return this.#readChunk(side, reader, reader.chunks, bytes);
    return side === "client" ? this.#readRequest(reader, bytes) : this.#readResponse(reader, bytes);
  }

  /** What the last step let pass has passed. */
  passed(side: Side): void {
    const reader = this.#sides[side];
    if (!reader.isComplete) return;
    reader.isComplete = false;
    if (side === "server") this.#asked.shift();
  }

  #readChunk(side: Side, reader: Reader, chunks: Chunks, bytes: Buffer): Step {
    const chunk = chunks.next(bytes);
    if (chunk.kind === "more") return MORE;
    if (chunk.kind === "malformed") {
      return side === "client"
        ? { kind: "malformed", message: `The client's request is malformed: ${chunk.message}` }
        : { kind: "pass", length: Number.POSITIVE_INFINITY };
    }
    if (chunk.isLast) reader.endMessage();
    return { kind: "pass", length: chunk.length };
  }

  #readRequest(reader: Reader, bytes: Buffer): Step {
    if (this.#isLeaving) return this.#leave();
    // What follows a wish to upgrade may not be HTTP.
    if (this.#asked.at(-1)?.upgrade || this.#asked.length >= MOST_WAITING) return WAIT;
    const reading = reader.request.push(bytes.subarray(reader.known));
    reader.known = bytes.length;
    if (reading.kind === "more") return MORE;
    reader.request = this.#openReader();
    if (reading.kind !== "head" || !this.#isOurs(reading)) {
      this.#isLeaving = true;
      return this.#leave();
    }
    const { method, headBytes: drop, forwarded: by, upgrade, mentionsUpgrade, body } = reading;
    this.#asked.push({ toHead: method === "HEAD", upgrade: this.#rewrites ? upgrade : mentionsUpgrade });
    reader.beginMessage(body);
    const sent = this.#rewrites ? by.length : drop;
    const length = sent + (body === "chunked" ? 0 : body);
    return this.#rewrites ? { kind: "replace", drop, by, length } : { kind: "pass", length };
  }

  #openReader(): RequestHeadReader {
    return createRequestHeadReader(this.#limits, this.#rewrites ? "http" : "any");
  }

  #leave(): Step {
    return this.#asked.length === 0 ? LEAVE : WAIT;
  }

  #isOurs({ method, host, isAmbiguous, form, target }: RequestHead): boolean {
    if (method === "CONNECT" || host !== this.#aim.host) return false;
    // A proxy's target counts alone: the head is rewritten.
    return this.#rewrites ? form === "absolute" && target?.port === this.#aim.port : !isAmbiguous;
  }

  #readResponse(reader: Reader, bytes: Buffer): Step {
    const [asked] = this.#asked;
    const head = asked ? readResponseHead(bytes, asked.toHead) : ({ kind: "unknown" } as const);
    if (head.kind === "more") return MORE;
    // Nobody asked, or nobody can tell where it ends: the server closes behind it.
    if (head.kind === "unknown") return { kind: "pass", length: Number.POSITIVE_INFINITY };
    const { status, headBytes, body } = head;
    if (status === 101 && asked!.upgrade) {
      this.#isThrough = true;
      return THROUGH;
    }
    // RFC 9110, section 15.2: another response follows an interim one.
    if (status < 200 && status !== 101) return { kind: "pass", length: headBytes };
    if (body === "until close" || status === 101) return { kind: "pass", length: Number.POSITIVE_INFINITY };
    reader.beginMessage(body);
    return { kind: "pass", length: headBytes + (body === "chunked" ? 0 : body) };
  }
}

/** Where one side's reading is. */
class Reader {
  request: RequestHeadReader;
  /** Bytes of the head that have been looked at and not passed. */
  known = 0;
  /** The chunked body that is passing. */
  chunks: Chunks | undefined;
  /** What passes next is the end of a message. */
  isComplete = false;

  constructor(request: RequestHeadReader) {
    this.request = request;
  }

  beginMessage(body: number | "chunked"): void {
    this.chunks = body === "chunked" ? new Chunks() : undefined;
    this.isComplete = body !== "chunked";
  }

  endMessage(): void {
    this.chunks = undefined;
    this.isComplete = true;
  }
}
