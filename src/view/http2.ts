import type { Side } from "../vocabulary.ts";
import { FLAGS, FRAMES, type FrameHead, FrameReader, nameOf, withoutPadding } from "./frames.ts";
import { HpackReader } from "./hpack.ts";
import { type Field, fieldOf, HEAD_LIMIT, type Listener, type Protocol, Unreadable } from "./messages.ts";

/** What a client of HTTP/2 begins with (RFC 9113, section 3.4). */
export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

interface Options {
  readonly listener: Listener;
  number(): number;
  /** The exchange that a request of HTTP/1.1 began before it became HTTP/2 (Upgrade: h2c): stream 1. */
  readonly upgraded?: number | undefined;
  /** Makes a reader for a WebSocket in a stream (RFC 8441). */
  openWebSocket(exchange: number, extensions: string | undefined): Protocol;
}

interface Stream {
  readonly exchange: number;
  readonly method: string;
  readonly isWebSocket: boolean;
  /** Whether the head of this side's message has come. */
  readonly heads: Record<Side, boolean>;
  readonly ended: Record<Side, boolean>;
  webSocket: Protocol | undefined;
}

/** Where a field block belongs. */
interface Block {
  readonly stream: number;
  readonly isPromise: boolean;
  readonly endsStream: boolean;
  parts: Buffer[];
  size: number;
  frames: number;
}

/** The bytes of one side, and what its fields are compressed with. */
interface Direction {
  readonly frames: FrameReader;
  readonly hpack: HpackReader;
  /** The sizes of the table in each SETTINGS that the other side has not acknowledged yet. */
  readonly settings: number[][];
  block: Block | undefined;
}

/** The most streams that are open, SETTINGS that are not acknowledged, and frames of one field block. */
const STREAMS = 1000;
const SETTINGS = 100;
const BLOCK_FRAMES = 256;
const HEADER_TABLE_SIZE = 1;

/** Reads HTTP/2 from both sides (RFC 9113). */
export class Http2 implements Protocol {
  readonly #options: Options;
  readonly #sides: Record<Side, Direction>;
  readonly #streams = new Map<number, Stream>();
  readonly #closing = new Set<Promise<void>>();
  #preface = 0;
  #last = 0;
  #isClosed = false;

  constructor(options: Options) {
    this.#options = options;
    this.#sides = { client: this.#direction("client"), server: this.#direction("server") };
    if (options.upgraded !== undefined) {
      this.#streams.set(1, newStream(options.upgraded, "", { heads: true, ended: true }));
      this.#last = 1;
    }
  }

  push(from: Side, bytes: Buffer): void {
    if (this.#isClosed) return;
    const rest = from === "client" ? this.#skipPreface(bytes) : bytes;
    this.#sides[from].frames.push(rest);
  }

  end(_from: Side): void {}

  get weight(): number {
    const webSockets = [...this.#streams.values()].reduce((sum, { webSocket }) => sum + (webSocket?.weight ?? 0), 0);
    const sides = Object.values(this.#sides).reduce(
      (sum, { frames, hpack, block }) => sum + frames.held + hpack.weight + (block?.size ?? 0),
      0,
    );
    return sides + 500 * this.#streams.size + webSockets;
  }

  settled(): Promise<unknown> | undefined {
    const waiting = [...this.#streams.values()].flatMap(({ webSocket }) => webSocket?.settled() ?? []);
    return waiting.length === 0 ? undefined : Promise.all(waiting);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const { hpack } of Object.values(this.#sides)) hpack.close();
    await Promise.all([...this.#closing, ...[...this.#streams.values()].map(({ webSocket }) => webSocket?.close())]);
  }

  #skipPreface(bytes: Buffer): Buffer {
    const taken = Math.min(PREFACE.length - this.#preface, bytes.length);
    if (!bytes.subarray(0, taken).equals(PREFACE.subarray(this.#preface, this.#preface + taken)))
      throw new Unreadable("the client's preface is not HTTP/2's");
    this.#preface += taken;
    return bytes.subarray(taken);
  }

  #direction(from: Side): Direction {
    const frames = new FrameReader({
      onFrame: (head, payload) => this.#onFrame(from, head, payload),
      onData: (head, bytes) => this.#onData(from, head, bytes),
      onDataEnd: (head) => this.#onDataEnd(from, head),
      onOther: () => this.#checkBlock(from),
    });
    return { frames, hpack: new HpackReader(), settings: [], block: undefined };
  }

  /** Nothing comes between the frames of a field block (section 6.10). */
  #checkBlock(from: Side): void {
    if (this.#sides[from].block) throw new Unreadable("another frame is inside of a field block");
  }

  #onFrame(from: Side, head: FrameHead, payload: Buffer): void {
    if (head.type !== FRAMES.CONTINUATION) this.#checkBlock(from);
    switch (head.type) {
      case FRAMES.HEADERS:
        this.#beginBlock(from, head, withoutPadding(head, payload), false);
        break;
      case FRAMES.PUSH_PROMISE:
        this.#beginBlock(from, head, withoutPadding(head, payload), true);
        break;
      case FRAMES.CONTINUATION:
        this.#continueBlock(from, head, payload);
        break;
      case FRAMES.SETTINGS:
        this.#onSettings(from, head, payload);
        break;
      case FRAMES.RST_STREAM:
        this.#onReset(from, head, payload);
        break;
    }
  }

  #beginBlock(from: Side, head: FrameHead, payload: Buffer, isPromise: boolean): void {
    if (isPromise && payload.length < 4) throw new Unreadable("a PUSH_PROMISE names no stream");
    const stream = isPromise ? payload.readUInt32BE(0) & 0x7fff_ffff : head.stream;
    if (stream === 0) throw new Unreadable("a field block belongs to no stream");
    const endsStream = !isPromise && (head.flags & FLAGS.END_STREAM) !== 0;
    const block = isPromise ? payload.subarray(4) : payload;
    const opened = { stream, isPromise, endsStream, parts: [block], size: block.length, frames: 1 };
    this.#sides[from].block = opened;
    if (head.flags & FLAGS.END_HEADERS) this.#endBlock(from, opened);
  }

  #continueBlock(from: Side, head: FrameHead, payload: Buffer): void {
    const { block } = this.#sides[from];
    if (!block) throw new Unreadable("a CONTINUATION continues no field block");
    block.parts.push(payload);
    block.size += payload.length;
    block.frames += 1;
    if (block.size > HEAD_LIMIT || block.frames > BLOCK_FRAMES)
      throw new Unreadable(`a field block has more than ${HEAD_LIMIT} bytes or ${BLOCK_FRAMES} frames`);
    if (head.flags & FLAGS.END_HEADERS) this.#endBlock(from, block);
  }

  #endBlock(from: Side, block: Block): void {
    this.#sides[from].block = undefined;
    // Every block is read, also those of streams that are gone: they all change the table.
    const fields = this.#sides[from].hpack.read(Buffer.concat(block.parts));
    if (from === "client" || block.isPromise) this.#onRequestFields(from, block, fields);
    else this.#onResponseFields(block, fields);
  }

  #onRequestFields(from: Side, { stream: id, isPromise, endsStream, size }: Block, fields: readonly Field[]): void {
    const known = this.#streams.get(id);
    if (!known && (isPromise || id > this.#last)) this.#openStream(id, isPromise, fields, size);
    const stream = this.#streams.get(id);
    if (stream && (isPromise || endsStream)) this.#endSide(id, stream, isPromise ? "client" : from);
  }

  #openStream(id: number, isPromise: boolean, fields: readonly Field[], size: number): void {
    if (this.#streams.size >= STREAMS) throw new Unreadable(`more than ${STREAMS} streams are open`);
    if (!isPromise) this.#last = id;
    const pseudo = (name: string) => fields.find(([one]) => one === name)?.[1];
    const method = pseudo(":method");
    if (method === undefined) throw new Unreadable("a request has no :method");
    const isWebSocket = method === "CONNECT" && pseudo(":protocol") === "websocket";
    const exchange = this.#options.number();
    this.#streams.set(id, { ...newStream(exchange, method, { heads: true, ended: false }), isWebSocket });
    this.#options.listener.onRequest(exchange, {
      method,
      target: pseudo(":path") ?? "",
      authority: pseudo(":authority") ?? fieldOf({ fields }, "host"),
      scheme: pseudo(":scheme"),
      version: "HTTP/2",
      fields: fields.filter(([name]) => !name.startsWith(":")),
      size,
    });
  }

  #onResponseFields({ stream: id, endsStream, size }: Block, fields: readonly Field[]): void {
    const stream = this.#streams.get(id);
    if (!stream) return;
    if (!stream.heads.server) {
      const status = Number(fields.find(([name]) => name === ":status")?.[1]);
      if (!(status >= 100 && status <= 999)) throw new Unreadable("a response has no :status");
      // An informational response; the final one follows.
      if (status < 200 && !endsStream) return;
      stream.heads.server = true;
      const rest = fields.filter(([name]) => !name.startsWith(":"));
      const head = { status, reason: "", version: "HTTP/2", fields: rest, size };
      this.#options.listener.onResponse(stream.exchange, head);
      if (stream.isWebSocket && status < 300) {
        const extensions = fieldOf(head, "sec-websocket-extensions");
        stream.webSocket = this.#options.openWebSocket(stream.exchange, extensions);
      }
    }
    if (endsStream) this.#endSide(id, stream, "server");
  }

  #onData(from: Side, { stream: id }: FrameHead, bytes: Buffer): void {
    this.#checkBlock(from);
    const stream = this.#streams.get(id);
    if (stream?.webSocket) stream.webSocket.push(from, bytes);
    else if (stream) this.#options.listener.onBody(stream.exchange, from, bytes);
  }

  #onDataEnd(from: Side, { stream: id, flags }: FrameHead): void {
    this.#checkBlock(from);
    if (id === 0) throw new Unreadable("a DATA frame belongs to no stream");
    const stream = this.#streams.get(id);
    if (stream && flags & FLAGS.END_STREAM) this.#endSide(id, stream, from);
  }

  #endSide(id: number, stream: Stream, from: Side): void {
    if (stream.ended[from]) return;
    stream.ended[from] = true;
    if (stream.webSocket) stream.webSocket.end(from, false);
    else this.#options.listener.onComplete(stream.exchange, from);
    if (stream.ended.client && stream.ended.server) this.#forget(id, stream);
  }

  #forget(id: number, stream: Stream): void {
    this.#streams.delete(id);
    const { exchange, webSocket } = stream;
    if (!webSocket) return;
    // Its last messages may still be decompressed.
    const closing = webSocket.close().then(() => {
      this.#closing.delete(closing);
      for (const side of ["client", "server"] as const) this.#options.listener.onComplete(exchange, side);
    });
    this.#closing.add(closing);
  }

  #onReset(from: Side, { stream: id }: FrameHead, payload: Buffer): void {
    const stream = this.#streams.get(id);
    if (payload.length !== 4) throw new Unreadable("an RST_STREAM has no code");
    if (!stream) return;
    // A server that needs no more of the request says so after its whole response (section 8.1).
    if (stream.ended.server) this.#endSide(id, stream, "client");
    else {
      this.#options.listener.onAbort(stream.exchange, `reset by the ${from}: ${nameOf(payload.readUInt32BE(0))}`);
      this.#forget(id, stream);
    }
  }

  #onSettings(from: Side, { flags }: FrameHead, payload: Buffer): void {
    const other = from === "client" ? "server" : "client";
    if (flags & FLAGS.ACK) {
      // This side compresses with the table of the size that the other side has asked for.
      for (const size of this.#sides[other].settings.shift() ?? []) this.#sides[from].hpack.resize(size);
      return;
    }
    if (payload.length % 6 !== 0) throw new Unreadable("a SETTINGS frame has half a setting");
    const { settings } = this.#sides[from];
    if (settings.length >= SETTINGS) throw new Unreadable(`${SETTINGS} SETTINGS are not acknowledged`);
    const sizes: number[] = [];
    for (let at = 0; at < payload.length; at += 6)
      if (payload.readUInt16BE(at) === HEADER_TABLE_SIZE) sizes.push(payload.readUInt32BE(at + 2));
    // Only the smallest and the last one count (RFC 7541, section 4.2).
    settings.push(sizes.length > 1 ? [Math.min(...sizes), sizes.at(-1)!] : sizes);
  }
}

function newStream(exchange: number, method: string, client: { heads: boolean; ended: boolean }): Stream {
  return {
    exchange,
    method,
    isWebSocket: false,
    heads: { client: client.heads, server: false },
    ended: { client: client.ended, server: false },
    webSocket: undefined,
  };
}
