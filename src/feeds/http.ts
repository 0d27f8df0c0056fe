import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Logger } from "pino";
import type { Side } from "../vocabulary.ts";
import type { Feed, FeedFilter, FeedFlow, FeedSession } from "./feed.ts";
import { createFilter } from "./filter.ts";
import { CUTS, DATA, ENDS, HEAD, MESSAGES, PAYLOAD, RESETS, viewSocket, writeHead } from "./http-link.ts";
import { createRecovery } from "./recovery.ts";

export interface HttpOptions extends FeedFilter {
  readonly name: string;
  readonly dataDir: string;
  readonly worker: number;
  readonly log: Logger;
  /** ms between two attempts to reach the feed's process. */
  readonly retry?: number | undefined;
}

/** The most bytes that wait for the process. A session that has more to say then is left behind. */
const LIMIT = 32 * 1024 * 1024;
/** What is collected goes out after this time at most, in ms. */
const QUIET = 15;
const PIECE = 256 * 1024 + HEAD;

/**
 * Sends the plaintext to the process that reads it as HTTP. Sessions never wait for that process: when it cannot follow, a session is
 * left behind, which is counted, and the process is told.
 */
export async function createHttpFeed(options: HttpOptions): Promise<Feed> {
  const { name, worker, retry } = options;
  const counts = { sessions: 0, packets: 0, bytes: 0, dropped: 0 };
  const place = viewSocket(options.dataDir, name);
  let link: ViewLink | undefined;
  let isClosed = false;
  // The process begins again soon after its end, which the supervisor logs.
  const log = worker === 0 ? options.log : undefined;
  const open = async () => {
    const socket = connect(place);
    await once(socket, "connect");
    const opened = new ViewLink(socket, counts);
    link = opened;
    socket
      .on("error", () => {})
      .on("close", () => {
        if (link === opened) link = undefined;
        if (!isClosed) recovery.fail(new Error("the process that reads HTTP has ended; it is started again"));
      });
  };
  const recovery = createRecovery({ name, place, log, retry, open });
  await recovery.start();
  return {
    name,
    get place() {
      return link ? "the HTTP view" : undefined;
    },
    wants: createFilter(options),
    open(session, now) {
      counts.sessions += 1;
      if (link) return link.open(session, now);
      counts.dropped += 1;
      return LEFT_BEHIND;
    },
    pressure: () => undefined,
    counters: () => ({
      ...{ name, kind: "http", ...counts },
      state: recovery.stopped === undefined ? "running" : "stopped",
      reason: recovery.stopped,
    }),
    async close() {
      isClosed = true;
      await recovery.close();
      link?.close();
    },
  };
}

const LEFT_BEHIND: FeedFlow = { data() {}, end() {}, reset() {}, close() {} };

/** The way to the feed's process. */
class ViewLink {
  readonly #socket: Socket;
  readonly #counts: { packets: number; bytes: number; dropped: number };
  #block = Buffer.allocUnsafeSlow(PIECE);
  #used = 0;
  #timer: NodeJS.Timeout | undefined;
  #sessions = 0;

  constructor(socket: Socket, counts: { packets: number; bytes: number; dropped: number }) {
    this.#socket = socket;
    this.#counts = counts;
  }

  open(session: FeedSession, now: number): FeedFlow {
    if (!this.#hasRoom(HEAD)) return LEFT_BEHIND;
    this.#sessions = (this.#sessions + 1) % 2 ** 32;
    const number = this.#sessions;
    let isOver = false;
    this.#send(MESSAGES.open, number, now, Buffer.from(JSON.stringify(session)));
    const end = (kind: number) => {
      if (!isOver) this.#send(kind, number, Date.now(), NOTHING);
    };
    return {
      data: (from, bytes) => {
        if (isOver) return;
        isOver = !this.#data(number, from, bytes);
        if (isOver) this.#send(MESSAGES.lost, number, Date.now(), NOTHING);
      },
      end: (from, isCut) => end((isCut ? CUTS : ENDS)[from]),
      reset: (from) => end(RESETS[from]),
      close: () => {
        end(MESSAGES.close);
        isOver = true;
      },
    };
  }

  close(): void {
    this.#flush();
    this.#socket.end();
  }

  /** Answers false where too much waits already: the session is left behind. */
  #data(session: number, from: Side, bytes: Uint8Array): boolean {
    if (!this.#hasRoom(bytes.length)) return false;
    const now = Date.now();
    for (let at = 0; at < bytes.length; at += PAYLOAD)
      this.#send(DATA[from], session, now, bytes.subarray(at, at + PAYLOAD));
    return true;
  }

  #hasRoom(bytes: number): boolean {
    const hasRoom = this.#socket.writableLength + this.#used + bytes <= LIMIT && !this.#socket.destroyed;
    if (!hasRoom) this.#counts.dropped += 1;
    return hasRoom;
  }

  #send(kind: number, session: number, time: number, payload: Uint8Array): void {
    if (this.#used + HEAD + payload.length > PIECE) this.#flush();
    const at = this.#used;
    writeHead(this.#block, at, { kind, session, time, length: payload.length });
    this.#block.set(payload, at + HEAD);
    this.#used += HEAD + payload.length;
    this.#counts.packets += 1;
    this.#counts.bytes += payload.length;
    this.#timer ??= setTimeout(() => this.#flush(), QUIET).unref();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#used === 0 || this.#socket.destroyed) {
      this.#used = 0;
      return;
    }
    this.#socket.write(this.#block.subarray(0, this.#used));
    this.#used = 0;
    // The socket takes most pieces at once. New memory costs more than the bytes in it, so it is only for the others.
    if (this.#socket.writableLength > 0) this.#block = Buffer.allocUnsafeSlow(PIECE);
  }
}

const NOTHING = Buffer.alloc(0);
