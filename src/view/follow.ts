import { STATUS_CODES } from "node:http";
import type { Side } from "../vocabulary.ts";
import { BodyDecoder, textDecoder } from "./decode.ts";
import { fieldOf, type RequestHead, type ResponseHead, type WebSocketFrame } from "./messages.ts";
import { type ReaderListener, SessionReader } from "./reader.ts";
import { readEvent } from "./replay.ts";
import type { SessionLog } from "./session-log.ts";

/** A part of a session as text: of a request ("client"), of a response ("server"), or a note of the view. */
export interface Part {
  /** The transaction's number in its session; 0: it is about the session. */
  readonly exchange: number;
  readonly from: Side | "view";
  readonly kind: "head" | "body" | "message" | "note";
  /** A head has one field a line; a body comes in pieces. */
  readonly text: string;
}

/** What a follower's reader has told and has not been turned into text yet. */
type Told =
  | { readonly kind: "head"; readonly exchange: number; readonly from: Side; readonly head: RequestHead | ResponseHead }
  | { readonly kind: "body"; readonly exchange: number; readonly from: Side; readonly bytes: Buffer }
  | { readonly kind: "end"; readonly exchange: number; readonly from: Side }
  | { readonly kind: "frame"; readonly exchange: number; readonly from: Side; readonly frame: WebSocketFrame }
  | { readonly kind: "note"; readonly exchange: number; readonly text: string };

export interface FollowOptions {
  /** The most bytes of one body. */
  readonly body: number;
  /** Nobody follows any more. */
  readonly signal: AbortSignal;
}

/** What is read no further, however long the session goes on. */
const ENDED: ReadonlySet<SessionReader["reading"]> = new Set(["stopped", "other"]);

/** The most bytes that a follower's reader may have told before they are turned into text. */
const AHEAD = 1024 * 1024;

/**
 * Tells a session as text, from its beginning and then as it goes on, until it ends. It reads what is held: a caller that takes
 * its time delays nobody.
 */
export async function* follow(log: SessionLog, options: FollowOptions): AsyncGenerator<Part> {
  const told = new Tellings();
  const reader = new SessionReader(told);
  const writer = new PartWriter(options);
  const wake = () => told.wake();
  const unwatch = log.watch(wake);
  options.signal.addEventListener("abort", wake);
  try {
    for (let next = 0; !options.signal.aborted; ) {
      // The events are gone where the memory was needed.
      while (next < log.events.length && told.size < AHEAD) await readEvent(reader, log.events[next++]!);
      for (const one of told.take()) yield* writer.write(one);
      if (next < log.events.length) continue;
      if (options.signal.aborted || log.isOver || log.missing !== undefined || ENDED.has(reader.reading)) break;
      await told.woken();
    }
    await reader.close();
    for (const one of told.take()) yield* writer.write(one);
    yield* ending(log, reader);
  } finally {
    unwatch();
    await reader.close();
    writer.close();
  }
}

function* ending({ missing, isOver }: SessionLog, { reading }: SessionReader): Generator<Part> {
  const note = (text: string): Part => ({ exchange: 0, from: "view", kind: "note", text });
  if (reading === "other" || reading === "detecting") yield note("this session is not HTTP");
  if (missing !== undefined) yield note(`the rest cannot be shown: ${missing}`);
  else if (isOver && reading !== "stopped") yield note("the session has ended");
}

/** Collects what the reader tells. */
class Tellings implements ReaderListener {
  size = 0;
  #told: Told[] = [];
  #wake: (() => void) | undefined;

  take(): Told[] {
    const told = this.#told;
    this.#told = [];
    this.size = 0;
    return told;
  }

  wake(): void {
    this.#wake?.();
  }

  /** Resolves at the next news. */
  woken(): Promise<void> {
    if (this.#told.length > 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #add(one: Told, size = 0): void {
    this.#told.push(one);
    this.size += 100 + size;
    this.wake();
  }

  onRequest(exchange: number, head: RequestHead): void {
    this.#add({ kind: "head", exchange, from: "client", head }, head.size);
  }

  onResponse(exchange: number, head: ResponseHead): void {
    this.#add({ kind: "head", exchange, from: "server", head }, head.size);
  }

  onBody(exchange: number, from: Side, bytes: Buffer): void {
    this.#add({ kind: "body", exchange, from, bytes: Buffer.from(bytes) }, bytes.length);
  }

  onComplete(exchange: number, from: Side): void {
    this.#add({ kind: "end", exchange, from });
  }

  onAbort(exchange: number, why: string): void {
    this.#add({ kind: "note", exchange, text: why });
  }

  onFrame(exchange: number, from: Side, frame: WebSocketFrame): void {
    this.#add({ kind: "frame", exchange, from, frame }, frame.bytes.length);
  }

  onStop(why: string): void {
    this.#add({ kind: "note", exchange: 0, text: `the rest is not read: ${why}` });
  }
}

interface OpenBody {
  readonly decoder: BodyDecoder;
  /** Undefined: it is not text. */
  readonly text: TextDecoder | undefined;
  readonly type: string;
  bytes: number;
}

/** Turns what was told into text. */
class PartWriter {
  readonly #options: FollowOptions;
  readonly #bodies = new Map<string, OpenBody>();

  constructor(options: FollowOptions) {
    this.#options = options;
  }

  async *write(told: Told): AsyncGenerator<Part> {
    const { exchange } = told;
    switch (told.kind) {
      case "head":
        this.#open(exchange, told.from, told.head);
        yield { exchange, from: told.from, kind: "head", text: headText(told.head) };
        break;
      case "body":
        yield* this.#body(exchange, told.from, told.bytes);
        break;
      case "end":
        yield* this.#end(exchange, told.from);
        break;
      case "frame":
        yield { exchange, from: told.from, kind: "message", text: frameText(told.frame) };
        break;
      case "note":
        this.#abort(exchange);
        yield { exchange, from: "view", kind: "note", text: told.text };
        break;
    }
  }

  close(): void {
    for (const { decoder } of this.#bodies.values()) decoder.close();
    this.#bodies.clear();
  }

  /** The bodies of this exchange have no end that would free their decoders. */
  #abort(exchange: number): void {
    for (const from of ["client", "server"] as const) {
      this.#bodies.get(`${exchange} ${from}`)?.decoder.close();
      this.#bodies.delete(`${exchange} ${from}`);
    }
  }

  #open(exchange: number, from: Side, head: RequestHead | ResponseHead): void {
    const decoder = new BodyDecoder(head, this.#options.body);
    const type = fieldOf(head, "content-type") ?? "no content type";
    this.#bodies.set(`${exchange} ${from}`, { decoder, text: textDecoder(head), type, bytes: 0 });
  }

  async *#body(exchange: number, from: Side, bytes: Buffer): AsyncGenerator<Part> {
    const body = this.#bodies.get(`${exchange} ${from}`);
    if (!body) return;
    body.bytes += bytes.length;
    if (!body.text) return;
    const decoded = await body.decoder.push(bytes);
    const text = body.text.decode(decoded, { stream: true });
    if (text !== "") yield { exchange, from, kind: "body", text };
  }

  async *#end(exchange: number, from: Side): AsyncGenerator<Part> {
    const body = this.#bodies.get(`${exchange} ${from}`);
    if (!body) return;
    this.#bodies.delete(`${exchange} ${from}`);
    const rest = await body.decoder.end();
    const text = body.text?.decode(rest) ?? "";
    if (text !== "") yield { exchange, from, kind: "body", text };
    const note = (words: string): Part => ({ exchange, from: "view", kind: "note", text: words });
    if (body.bytes > 0 && !body.text) yield note(`${body.bytes} bytes of ${body.type}, not shown`);
    else if (body.bytes > 0 && body.decoder.problem !== null) yield note(body.decoder.problem);
  }
}

function headText(head: RequestHead | ResponseHead): string {
  const first =
    "status" in head
      ? `${head.version} ${head.status} ${head.reason || (STATUS_CODES[head.status] ?? "")}`.trimEnd()
      : `${head.method} ${head.target || (head.authority ?? "")} ${head.version}`;
  const isHttp2 = !("status" in head) && head.version === "HTTP/2" && head.authority !== undefined;
  const authority = isHttp2 ? [`host: ${head.authority}`] : [];
  return [first, ...authority, ...head.fields.map(([name, value]) => `${name}: ${value}`)].join("\n");
}

/** The most bytes of a message that are shown. */
const MESSAGE = 64 * 1024;

function frameText({ kind, bytes, code }: WebSocketFrame): string {
  if (kind === "text") return bytes.subarray(0, MESSAGE).toString();
  if (kind === "close") return `(close ${code ?? ""}${bytes.length > 0 ? `: ${bytes.toString()}` : ""})`;
  return `(${kind}, ${bytes.length} bytes)`;
}
