import type { Writable } from "node:stream";
import * as library from "ws";
import type { Side } from "../vocabulary.ts";
import { type Listener, type Protocol, Unreadable, type WebSocketFrame } from "./messages.ts";

/** WebSocket (RFC 6455), with messages that are compressed (RFC 7692), read by the receiver of the library ws. */

/** What the library exports beyond its types. */
interface Parts {
  readonly Receiver: new (options: {
    isServer: boolean;
    extensions: Readonly<Record<string, unknown>>;
    maxPayload: number;
    maxFragments: number;
    maxBufferedChunks: number;
    skipUTF8Validation: boolean;
  }) => Writable;
  readonly PerMessageDeflate: new (options: { isServer: boolean; maxPayload: number }) => Deflate;
  readonly extension: { parse(header: string): Readonly<Record<string, Record<string, unknown>[] | undefined>> };
}

interface Deflate {
  accept(offers: readonly Record<string, unknown>[]): unknown;
  cleanup(): void;
}

const { Receiver, PerMessageDeflate, extension } = library as unknown as Parts;

const DEFLATE = "permessage-deflate";
/** The largest message that is read, whether it was compressed or not. */
const MESSAGE = 1024 * 1024;
/** The most bytes that wait while a message is decompressed. */
const WAITING = 2 * 1024 * 1024;
const FRAGMENTS = 16 * 1024;
/** The memory of a decompressor of each side, about. */
const DECOMPRESSING = 100 * 1024;

interface Options {
  readonly listener: Listener;
  readonly exchange: number;
  /** The value of Sec-WebSocket-Extensions in the response. */
  readonly extensions: string | undefined;
  /** Called for what is wrong after `push` has returned: messages are decompressed meanwhile. */
  onUnreadable(why: Unreadable): void;
}

interface End {
  readonly receiver: Writable;
  readonly deflate: Deflate | undefined;
}

export class WebSocketReader implements Protocol {
  readonly #options: Options;
  readonly #ends: Record<Side, End>;
  #failure: Unreadable | undefined;
  #isClosed = false;
  /** Pieces that are being read. */
  #pending = 0;
  #rest: PromiseWithResolvers<void> | undefined;
  /** Bytes that came since the last message. */
  readonly #unread: Record<Side, number> = { client: 0, server: 0 };

  constructor(options: Options) {
    this.#options = options;
    this.#ends = { client: this.#open("client"), server: this.#open("server") };
  }

  push(from: Side, bytes: Buffer): void {
    const { receiver } = this.#ends[from];
    if (this.#isClosed || receiver.writableEnded || receiver.destroyed) return;
    if (receiver.writableLength + bytes.length > WAITING)
      throw new Unreadable("a WebSocket is faster than it can be decompressed");
    this.#unread[from] += bytes.length;
    // Unmasking changes the bytes, which are lent.
    this.#pending += 1;
    receiver.write(Buffer.from(bytes), () => this.#written());
    if (this.#failure) throw this.#failure;
  }

  end(from: Side): void {
    const { receiver } = this.#ends[from];
    if (!receiver.writableEnded) receiver.end();
  }

  settled(): Promise<void> | undefined {
    if (this.#pending === 0) return undefined;
    this.#rest ??= Promise.withResolvers<void>();
    return this.#rest.promise;
  }

  #written(): void {
    this.#pending -= 1;
    if (this.#pending > 0) return;
    this.#rest?.resolve();
    this.#rest = undefined;
  }

  get weight(): number {
    const decompressing = this.#ends.client.deflate ? DECOMPRESSING : 0;
    return this.#unread.client + this.#unread.server + decompressing;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await Promise.all(Object.values(this.#ends).map(({ receiver }) => settled(receiver)));
    for (const { receiver, deflate } of Object.values(this.#ends)) {
      receiver.destroy();
      deflate?.cleanup();
    }
  }

  #open(from: Side): End {
    // The receiver of a server reads what clients send.
    const isServer = from === "client";
    const deflate = deflateOf(this.#options.extensions, isServer);
    const receiver = new Receiver({
      ...{ isServer, maxPayload: MESSAGE, maxFragments: FRAGMENTS, maxBufferedChunks: FRAGMENTS },
      extensions: deflate ? { [DEFLATE]: deflate } : {},
      skipUTF8Validation: true,
    });
    const tell = (frame: WebSocketFrame) => {
      this.#unread[from] = 0;
      this.#options.listener.onFrame(this.#options.exchange, from, frame);
    };
    receiver.on("message", (bytes: Buffer, binary: boolean) => tell({ kind: binary ? "binary" : "text", bytes }));
    receiver.on("ping", (bytes: Buffer) => tell({ kind: "ping", bytes }));
    receiver.on("pong", (bytes: Buffer) => tell({ kind: "pong", bytes }));
    receiver.on("conclude", (code: number, bytes: Buffer) => tell({ kind: "close", bytes, code }));
    receiver.on("error", (error: Error) => this.#fail(new Unreadable(`not a WebSocket: ${error.message}`)));
    return { receiver, deflate };
  }

  #fail(why: Unreadable): void {
    this.#failure = why;
    this.#options.onUnreadable(why);
  }
}

function deflateOf(header: string | undefined, isServer: boolean): Deflate | undefined {
  try {
    const agreed = header === undefined ? undefined : extension.parse(header)[DEFLATE];
    if (!agreed) return undefined;
    const deflate = new PerMessageDeflate({ isServer, maxPayload: MESSAGE });
    deflate.accept(agreed);
    return deflate;
  } catch (error) {
    throw new Unreadable(`a WebSocket's extensions: ${(error as Error).message}`);
  }
}

/** Resolves when what was written has been read. */
function settled(receiver: Writable): Promise<void> {
  if (receiver.destroyed || receiver.writableFinished) return Promise.resolve();
  return new Promise((resolve) => {
    receiver.once("close", resolve);
    receiver.once("finish", resolve);
    if (!receiver.writableEnded) receiver.end();
  });
}
