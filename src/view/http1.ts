import type { Side } from "../vocabulary.ts";
import { type Head, HttpParser } from "./llhttp.ts";
import { fieldOf, type Listener, type Protocol, Unreadable } from "./messages.ts";

/** What follows HTTP/1.x on a connection: the protocol that an Upgrade field named, or a tunnel after CONNECT. */
export interface Switch {
  readonly exchange: number;
  /** As the Upgrade field of the response has it, in lower case; "connect" for a tunnel. */
  readonly protocol: string;
  /** The value of Sec-WebSocket-Extensions in the response. */
  readonly extensions: string | undefined;
  /** What has been pushed already and belongs to the new protocol. */
  readonly client: Buffer;
  readonly server: Buffer;
}

interface Options {
  readonly listener: Listener;
  /** The number of the next exchange. */
  number(): number;
  onSwitch(found: Switch): void;
}

interface Waiting {
  readonly exchange: number;
  readonly method: string;
}

/** The most requests that wait for their responses. */
const PIPELINED = 256;
/** The most bytes that wait until the server has answered whether it switches the protocol. */
const HELD = 64 * 1024;

/** Reads HTTP/1.x. Responses belong to requests by their order (RFC 9112, section 9.3.2). */
export class Http1 implements Protocol {
  readonly #options: Options;
  readonly #requests: HttpParser;
  readonly #responses: HttpParser;
  readonly #waiting: Waiting[] = [];
  #sending = 0;
  /** Bytes behind a request that asks for another protocol; undefined: HTTP goes on. */
  #held: Buffer[] | undefined;
  #heldBytes = 0;
  #isInformational = false;
  #switched: Omit<Switch, "client" | "server"> | undefined;
  #isOver = false;

  constructor(options: Options) {
    this.#options = options;
    const { listener } = options;
    this.#requests = new HttpParser("request", {
      onHead: (head) => this.#onRequest(head),
      onBody: (bytes) => listener.onBody(this.#sending, "client", bytes),
      onComplete: () => listener.onComplete(this.#sending, "client"),
    });
    this.#responses = new HttpParser("response", {
      onHead: (head) => this.#onResponse(head),
      onBody: (bytes) => this.#waiting[0] && listener.onBody(this.#waiting[0].exchange, "server", bytes),
      onComplete: () => this.#onResponseComplete(),
    });
  }

  push(from: Side, bytes: Buffer): void {
    if (this.#isOver) return;
    if (from === "client") this.#pushClient(bytes);
    else this.#pushServer(bytes);
  }

  end(from: Side, isCut: boolean): void {
    if (this.#isOver) return;
    const parser = from === "client" ? this.#requests : this.#responses;
    // A request that waits for a protocol of its own has nothing to finish.
    if (from === "client" && this.#held) return;
    if (!parser.isInside) return;
    const message = from === "client" ? "request" : "response";
    if (isCut) throw new Unreadable(`the connection broke off, so the ${message} may not be whole`);
    if (!parser.finish()) throw new Unreadable(`the connection ended in the middle of the ${message}`);
  }

  get weight(): number {
    return this.#heldBytes + this.#requests.weight + this.#responses.weight + 200 * this.#waiting.length;
  }

  settled(): undefined {}

  close(): Promise<void> {
    this.#isOver = true;
    return Promise.resolve();
  }

  #pushClient(bytes: Buffer): void {
    if (this.#held) {
      this.#hold(bytes);
      return;
    }
    const rest = this.#requests.push(bytes);
    if (rest === undefined) return;
    this.#held = [];
    this.#heldBytes = 0;
    this.#hold(rest);
    // The server has answered before the request was whole.
    if (!this.#waiting.some(({ exchange }) => exchange === this.#sending)) this.#goOn();
  }

  #hold(bytes: Buffer): void {
    this.#heldBytes += bytes.length;
    if (this.#heldBytes > HELD) throw new Unreadable("the client went on before the protocol was agreed on");
    this.#held?.push(Buffer.from(bytes));
  }

  #goOn(): void {
    const held = Buffer.concat(this.#held ?? []);
    this.#held = undefined;
    this.#heldBytes = 0;
    this.#requests.resume();
    this.#pushClient(held);
  }

  #pushServer(bytes: Buffer): void {
    const rest = this.#responses.push(bytes);
    if (rest === undefined) {
      const isAnswered = !this.#waiting.some(({ exchange }) => exchange === this.#sending);
      if (this.#held && isAnswered) this.#goOn();
      return;
    }
    const switched = this.#switched;
    if (!switched) throw new Unreadable("the server switched to a protocol that was not asked for");
    this.#isOver = true;
    this.#options.onSwitch({ ...switched, client: Buffer.concat(this.#held ?? []), server: rest });
  }

  #onRequest({ method, text, version, fields, size }: Head): "body" {
    if (this.#waiting.length >= PIPELINED) throw new Unreadable(`more than ${PIPELINED} requests wait for responses`);
    const exchange = this.#options.number();
    this.#sending = exchange;
    this.#waiting.push({ exchange, method });
    const authority = fieldOf({ fields }, "host");
    this.#options.listener.onRequest(exchange, {
      ...{ method, target: text, authority, scheme: undefined, version, fields, size },
    });
    return "body";
  }

  #onResponse({ status, text, version, fields, size }: Head): "body" | "skip" | "switch" {
    const [request] = this.#waiting;
    if (!request) throw new Unreadable("a response to no request");
    const { exchange, method } = request;
    this.#isInformational = status < 200 && status !== 101;
    if (this.#isInformational) return "body";
    this.#options.listener.onResponse(exchange, { status, reason: text, version, fields, size });
    const isTunnel = method === "CONNECT" && status < 300;
    if (status === 101 || isTunnel) {
      const protocol = isTunnel ? "connect" : (fieldOf({ fields }, "upgrade")?.toLowerCase() ?? "");
      this.#switched = { exchange, protocol, extensions: fieldOf({ fields }, "sec-websocket-extensions") };
      return "switch";
    }
    return method === "HEAD" ? "skip" : "body";
  }

  #onResponseComplete(): void {
    if (this.#isInformational) return;
    const request = this.#waiting.shift();
    // An exchange that has become another protocol ends with it.
    if (request && !this.#switched) this.#options.listener.onComplete(request.exchange, "server");
  }
}
