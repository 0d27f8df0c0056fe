import type { FeedSession } from "../feeds/feed.ts";
import type { Side } from "../vocabulary.ts";
import { Gathered } from "./gathered.ts";
import { fieldOf, type RequestHead, type ResponseHead, type WebSocketFrame } from "./messages.ts";
import type { ReaderListener } from "./reader.ts";

/** One request with its response, as the view lists it: plain data of a bounded size, without heads and bodies. */
export interface Transaction {
  readonly session: string;
  /** From 1 in each session. */
  readonly number: number;
  readonly client: string;
  readonly server: string;
  readonly method: string;
  readonly url: string;
  /** Of the request: "HTTP/1.1", "HTTP/2". */
  readonly version: string;
  /** Null: no response has come. */
  readonly status: number | null;
  readonly requestType: string | null;
  readonly responseType: string | null;
  readonly responseEncoding: string | null;
  /** Bytes of the bodies as they were sent. */
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** ms since the epoch. */
  readonly started: number;
  readonly requestEnded: number | null;
  readonly responseStarted: number | null;
  readonly ended: number | null;
  readonly state: "open" | "complete" | "aborted";
  /** Why it was not completed. */
  readonly problem: string | null;
  /** Messages of a WebSocket from either side; null: it is none. */
  readonly messages: { readonly client: number; readonly server: number } | null;
}

/** What else is known of a transaction while it is read. */
export interface Detail {
  readonly request: RequestHead;
  readonly response: ResponseHead | undefined;
  readonly bodies: Readonly<Record<Side, Body>>;
  readonly frames: readonly TimedFrame[];
}

/** The beginning of a body, as it was sent. */
export interface Body {
  readonly bytes: Buffer;
  /** Whether there was more. */
  readonly isCut: boolean;
}

export interface TimedFrame extends WebSocketFrame {
  readonly from: Side;
  readonly time: number;
}

/** What a collector keeps of each transaction until it is over. */
export interface Keeping {
  /** Whether heads are kept. */
  readonly heads: boolean;
  /** The most bytes of each body, and of the messages of a WebSocket together; 0: none. */
  readonly body: number;
  /** The most bytes of all that is kept at one time. Beyond it, bodies are cut. */
  readonly total: number;
}

/** Bounds what all collectors have open together. */
export interface OpenBudget {
  open: number;
}

const MOST_OPEN = 50_000;
/** The longest texts of a transaction. A head may be longer. */
const LONGEST = { method: 32, url: 2048, type: 256 } as const;

type Changing = { -readonly [Key in keyof Transaction]: Transaction[Key] };

interface Open {
  readonly transaction: Changing;
  readonly ended: Record<Side, boolean>;
  request: RequestHead;
  response: ResponseHead | undefined;
  readonly bodies: Record<Side, Gathered>;
  /** Bytes of `frames`. */
  framed: number;
  readonly isCut: Record<Side, boolean>;
  readonly frames: TimedFrame[];
}

/** Makes transactions of what a reader tells. */
export class Collector implements ReaderListener {
  /** The time of what is being read, in ms since the epoch. */
  now = 0;
  readonly #session: FeedSession;
  readonly #keeping: Keeping;
  readonly #budget: OpenBudget;
  readonly #onDone: (transaction: Transaction, detail: Detail) => void;
  readonly #open = new Map<number, Open>();
  #held = 0;
  /** Why the session is read no further. */
  stopped: string | undefined;

  constructor(
    session: FeedSession,
    keeping: Keeping,
    budget: OpenBudget,
    onDone: (transaction: Transaction, detail: Detail) => void,
  ) {
    this.#session = session;
    this.#keeping = keeping;
    this.#budget = budget;
    this.#onDone = onDone;
  }

  /** The transactions that are not over. */
  open(): readonly Transaction[] {
    return [...this.#open.values()].map(({ transaction }) => ({ ...transaction }));
  }

  get openCount(): number {
    return this.#open.size;
  }

  /** The session is over, or is read no further. */
  close(why: string): void {
    for (const number of [...this.#open.keys()]) this.onAbort(number, why);
  }

  onStop(why: string): void {
    this.stopped = why;
    this.close(why);
  }

  onRequest(exchange: number, head: RequestHead): void {
    const { id, client, server } = this.#session;
    this.#open.set(exchange, {
      transaction: {
        session: id,
        number: exchange,
        client: textOf(client),
        server: textOf(server),
        method: head.method.slice(0, LONGEST.method),
        url: urlOf(head, this.#session).slice(0, LONGEST.url),
        version: head.version,
        status: null,
        requestType: typeOf(head),
        responseType: null,
        responseEncoding: null,
        ...{ requestBytes: 0, responseBytes: 0 },
        ...{ started: this.now, requestEnded: null, responseStarted: null, ended: null },
        ...{ state: "open", problem: null, messages: null },
      },
      request: this.#keeping.heads ? head : { ...head, fields: [], target: "", authority: undefined },
      response: undefined,
      ended: { client: false, server: false },
      bodies: { client: new Gathered(), server: new Gathered() },
      framed: 0,
      isCut: { client: false, server: false },
      frames: [],
    });
    this.#budget.open += 1;
    if (this.#budget.open > MOST_OPEN) this.onAbort(exchange, "left behind: too many transactions are open");
  }

  onResponse(exchange: number, head: ResponseHead): void {
    const open = this.#open.get(exchange);
    if (!open) return;
    const { transaction } = open;
    transaction.status = head.status;
    transaction.responseStarted = this.now;
    transaction.responseType = typeOf(head);
    transaction.responseEncoding = fieldOf(head, "content-encoding")?.slice(0, LONGEST.type) ?? null;
    if (this.#keeping.heads) open.response = head;
  }

  onBody(exchange: number, from: Side, bytes: Buffer): void {
    const open = this.#open.get(exchange);
    if (!open) return;
    open.transaction[from === "client" ? "requestBytes" : "responseBytes"] += bytes.length;
    const room = Math.min(this.#keeping.body - open.bodies[from].length, this.#keeping.total - this.#held);
    const kept = bytes.subarray(0, Math.max(0, room));
    if (kept.length < bytes.length) open.isCut[from] = true;
    if (kept.length === 0) return;
    open.bodies[from].add(kept);
    this.#held += kept.length;
  }

  onFrame(exchange: number, from: Side, frame: WebSocketFrame): void {
    const open = this.#open.get(exchange);
    if (!open) return;
    if (frame.kind === "close") this.onComplete(exchange, from);
    if (frame.kind !== "text" && frame.kind !== "binary") return;
    const { transaction } = open;
    const { client, server } = transaction.messages ?? { client: 0, server: 0 };
    transaction.messages = { client: client + Number(from === "client"), server: server + Number(from === "server") };
    transaction[from === "client" ? "requestBytes" : "responseBytes"] += frame.bytes.length;
    const size = frame.bytes.length + 200;
    if (open.framed + size > this.#keeping.body || this.#held + size > this.#keeping.total) return;
    open.frames.push({ ...frame, from, time: this.now });
    open.framed += size;
    this.#held += size;
  }

  onComplete(exchange: number, from: Side): void {
    const open = this.#open.get(exchange);
    if (!open || open.ended[from]) return;
    open.ended[from] = true;
    if (from === "client") open.transaction.requestEnded = this.now;
    if (open.ended.client && open.ended.server) this.#finish(exchange, open, "complete", null);
  }

  onAbort(exchange: number, why: string): void {
    const open = this.#open.get(exchange);
    if (open) this.#finish(exchange, open, "aborted", why);
  }

  #finish(exchange: number, open: Open, state: "complete" | "aborted", problem: string | null): void {
    this.#open.delete(exchange);
    this.#budget.open -= 1;
    const { transaction, request, response, isCut, frames } = open;
    this.#held -= open.bodies.client.length + open.bodies.server.length + open.framed;
    transaction.state = state;
    transaction.problem = problem;
    transaction.ended = this.now;
    const body = (side: Side): Body => ({ bytes: open.bodies[side].bytes, isCut: isCut[side] });
    const bodies = { client: body("client"), server: body("server") };
    this.#onDone({ ...transaction }, { request, response, bodies, frames });
  }
}

/** "192.0.2.1:443", "[2001:db8::1]:443". */
export function textOf({ address, port }: FeedSession["client"]): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The URL of a request, as far as the head and the session say it. */
export function urlOf({ method, target, authority, scheme }: RequestHead, session: FeedSession): string {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(target)) return target;
  if (method === "CONNECT" && target !== "" && !target.startsWith("/")) return target;
  const host = authority ?? session.host ?? textOf(session.server);
  const path = target.startsWith("/") ? target : `/${target === "*" ? "*" : target}`;
  return `${scheme ?? (session.flow === "decrypted" ? "https" : "http")}://${host}${path}`;
}

/** The media type without its parameters. */
function typeOf(head: RequestHead | ResponseHead): string | null {
  return fieldOf(head, "content-type")?.replace(/;.*/s, "").trim().slice(0, LONGEST.type) ?? null;
}
