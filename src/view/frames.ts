import { HEAD_LIMIT, Unreadable } from "./messages.ts";

/** The frames of HTTP/2 (RFC 9113, section 4.1) from one side. Only small payloads are collected; DATA passes in pieces. */

export const FRAMES = { DATA: 0, HEADERS: 1, RST_STREAM: 3, SETTINGS: 4, PUSH_PROMISE: 5, CONTINUATION: 9 } as const;
export const FLAGS = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 0x20 } as const;

export interface FrameHead {
  readonly length: number;
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
}

export interface FrameListener {
  /** A frame whose payload is collected: those of `COLLECTED`. */
  onFrame(head: FrameHead, payload: Buffer): void;
  /** A piece of a DATA frame, without its padding. Lent. */
  onData(head: FrameHead, bytes: Buffer): void;
  onDataEnd(head: FrameHead): void;
  /** A frame of another kind has begun; its payload is skipped. */
  onOther(head: FrameHead): void;
}

const HEAD = 9;
/** The longest payload that is collected, by frame type. */
const COLLECTED: Readonly<Record<number, number>> = {
  [FRAMES.HEADERS]: HEAD_LIMIT,
  [FRAMES.PUSH_PROMISE]: HEAD_LIMIT,
  [FRAMES.CONTINUATION]: HEAD_LIMIT,
  [FRAMES.SETTINGS]: 6 * 1024,
  [FRAMES.RST_STREAM]: 4,
};

export class FrameReader {
  readonly #listener: FrameListener;
  /** What is collected: a head, or a payload. */
  #parts: Buffer[] = [];
  #have = 0;
  #head: FrameHead | undefined;
  /** Payload that is still to come. */
  #left = 0;
  /** Of a DATA frame; undefined: its first byte is still to come. */
  #padding: number | undefined;

  constructor(listener: FrameListener) {
    this.#listener = listener;
  }

  /** The bytes that are collected. */
  get held(): number {
    return this.#have;
  }

  /** Throws Unreadable, and what the listener throws. */
  push(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      at += this.#head === undefined ? this.#takeHead(bytes.subarray(at)) : this.#takePayload(bytes.subarray(at));
    }
  }

  #takeHead(bytes: Buffer): number {
    const taken = Math.min(HEAD - this.#have, bytes.length);
    this.#collect(bytes.subarray(0, taken));
    if (this.#have < HEAD) return taken;
    const head = this.#take();
    const [length, type, flags, stream] = [
      head.readUIntBE(0, 3),
      head.readUInt8(3),
      head.readUInt8(4),
      head.readUInt32BE(5) & 0x7fff_ffff,
    ];
    this.#begin({ length, type, flags, stream });
    return taken;
  }

  #begin(head: FrameHead): void {
    const { length, type, flags } = head;
    const limit = COLLECTED[type];
    if (limit !== undefined && length > limit) throw new Unreadable(`a frame of type ${type} has ${length} bytes`);
    this.#head = head;
    this.#left = length;
    if (type === FRAMES.DATA) this.#padding = flags & FLAGS.PADDED ? undefined : 0;
    else if (limit === undefined) this.#listener.onOther(head);
    if (length === 0) this.#finish();
  }

  #takePayload(bytes: Buffer): number {
    const { type } = this.#head!;
    const taken = Math.min(this.#left, bytes.length);
    const piece = bytes.subarray(0, taken);
    if (type === FRAMES.DATA) this.#takeData(piece);
    else if (COLLECTED[type] !== undefined) this.#collect(piece);
    this.#left -= taken;
    if (this.#left === 0) this.#finish();
    return taken;
  }

  #takeData(piece: Buffer): void {
    const head = this.#head!;
    let bytes = piece;
    let left = this.#left;
    if (this.#padding === undefined) {
      this.#padding = bytes.readUInt8(0);
      if (this.#padding >= head.length) throw new Unreadable("a DATA frame has more padding than payload");
      bytes = bytes.subarray(1);
      left -= 1;
    }
    const data = bytes.subarray(0, Math.max(0, left - this.#padding));
    if (data.length > 0) this.#listener.onData(head, data);
  }

  #finish(): void {
    const head = this.#head!;
    this.#head = undefined;
    if (head.type === FRAMES.DATA) this.#listener.onDataEnd(head);
    else if (COLLECTED[head.type] !== undefined) this.#listener.onFrame(head, this.#take());
  }

  #collect(bytes: Buffer): void {
    // Copied: the bytes are the caller's.
    this.#parts.push(Buffer.from(bytes));
    this.#have += bytes.length;
    // Each byte by itself would cost a Buffer.
    if (this.#parts.length > 64) this.#parts = [Buffer.concat(this.#parts)];
  }

  #take(): Buffer {
    const whole = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#have = 0;
    return whole;
  }
}

/** The payload of HEADERS or PUSH_PROMISE without its padding and its priority. */
export function withoutPadding({ type, flags }: FrameHead, payload: Buffer): Buffer {
  const padded = (flags & FLAGS.PADDED) !== 0;
  const padding = padded ? (payload[0] ?? 0) : 0;
  const start = (padded ? 1 : 0) + (type === FRAMES.HEADERS && flags & FLAGS.PRIORITY ? 5 : 0);
  if (start + padding > payload.length) throw new Unreadable("a frame has more padding than payload");
  return payload.subarray(start, payload.length - padding);
}

/** RFC 9113, section 7. */
const CODES = [
  ...["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED"],
  ...["FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM"],
  ...["INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"],
];

/** The name of an error code. */
export function nameOf(code: number): string {
  return CODES[code] ?? `code ${code}`;
}
