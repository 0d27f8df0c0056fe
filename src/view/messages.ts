import type { Side } from "../vocabulary.ts";

/** What the readers of HTTP/1.x, HTTP/2 and WebSocket find in a session, whichever of them reads it. */

/** A field as it was sent; in HTTP/2 the names are in lower case. */
export type Field = readonly [name: string, value: string];

export interface RequestHead {
  readonly method: string;
  /** As it was sent: a path, an absolute URL, an authority. */
  readonly target: string;
  /** From the Host field or :authority. */
  readonly authority: string | undefined;
  /** From :scheme; HTTP/1.x does not say it. */
  readonly scheme: string | undefined;
  /** "HTTP/1.1". */
  readonly version: string;
  readonly fields: readonly Field[];
  /** The bytes of the head as it was sent, compressed in HTTP/2. */
  readonly size: number;
}

export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly version: string;
  readonly fields: readonly Field[];
  readonly size: number;
}

/** A reader tells what it finds, as soon as it finds it. `exchange` numbers the exchanges of a session from 1. */
export interface Listener {
  onRequest(exchange: number, head: RequestHead): void;
  onResponse(exchange: number, head: ResponseHead): void;
  /** Bytes of a body, without its framing. They are lent: a listener that keeps them copies them. */
  onBody(exchange: number, from: Side, bytes: Buffer): void;
  /** The message of this side is whole. */
  onComplete(exchange: number, from: Side): void;
  /** The exchange will not be completed. */
  onAbort(exchange: number, why: string): void;
  /** One message of a WebSocket; `binary`: not text. */
  onFrame(exchange: number, from: Side, frame: WebSocketFrame): void;
}

export interface WebSocketFrame {
  readonly kind: "text" | "binary" | "ping" | "pong" | "close";
  readonly bytes: Buffer;
  /** Of a close frame. */
  readonly code?: number;
}

/** The bytes of a session are not what its protocol allows, or more than the reader holds. The rest of the session is not read. */
export class Unreadable extends Error {
  /** The session has not begun as HTTP at all. */
  readonly isForeign: boolean;

  constructor(message: string, isForeign = false) {
    super(message);
    this.isForeign = isForeign;
  }
}

/** Reads one protocol from the bytes of both sides, in the order in which they passed. Throws Unreadable. */
export interface Protocol {
  push(from: Side, bytes: Buffer): void;
  /** This side has half-closed. `isCut`: what it said may not be whole. */
  end(from: Side, isCut: boolean): void;
  /** About how many bytes it holds. */
  readonly weight: number;
  /** Resolves once everything that was pushed has been told; undefined: it has. */
  settled(): Promise<unknown> | undefined;
  /** Frees what is not the garbage collector's. Resolves once everything that was pushed has been told. */
  close(): Promise<void>;
}

/** The largest head that is read, and the most fields in it. */
export const HEAD_LIMIT = 64 * 1024;
export const FIELD_LIMIT = 1000;

/** The values of a field, joined as RFC 9110, section 5.3, allows; undefined: the head does not have it. */
export function fieldOf({ fields }: { readonly fields: readonly Field[] }, name: string): string | undefined {
  const values = fields.flatMap(([one, value]) => (one.toLowerCase() === name ? [value] : []));
  return values.length === 0 ? undefined : values.join(", ");
}
