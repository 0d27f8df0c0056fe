import { FIELD_LIMIT, type Field, HEAD_LIMIT, Unreadable } from "./messages.ts";
import { addressOf, callback, errorName, llhttp, memory, methodName } from "./native.ts";

/** Messages of HTTP/1.x from one side of a connection, read by llhttp, the parser of Node. */

/** The first line of a message and its fields. */
export interface Head {
  /** "" in a response. */
  readonly method: string;
  /** The target of a request, or the reason phrase of a response. */
  readonly text: string;
  /** 0 in a request. */
  readonly status: number;
  readonly version: string;
  readonly fields: readonly Field[];
  readonly size: number;
}

/** What a parser tells. */
export interface ParserListener {
  /** "skip": no body follows, whatever the head says. "switch": what follows is another protocol. */
  onHead(head: Head): "body" | "skip" | "switch";
  onBody(bytes: Buffer): void;
  onComplete(): void;
}

/** llhttp_type_t. */
export const KINDS = { request: 1, response: 2 } as const;

/** llhttp_errno. */
const [OK, INVALID_METHOD, PAUSED_UPGRADE, USER] = [0, 6, 22, 24];
/** More than llhttp_t has, which is 96 bytes in llhttp 9. */
const PARSER_SIZE = 512;
/** What on_headers_complete answers. */
const ANSWERS = { body: 0, skip: 1, switch: 2 } as const;

/** The callbacks of llhttp_settings_t of llhttp 9, by their number in it. */
const SLOTS = { begin: 0, url: 2, status: 3, field: 6, value: 7, headersComplete: 10, body: 11, complete: 12 } as const;
const SETTINGS_SIZE = 512;

/** The parser whose call into llhttp is under way, and the bytes that it reads. Every call is synchronous. */
let acting: HttpParser | undefined;

const settings = createSettings();

function createSettings(): Buffer {
  const made = memory(SETTINGS_SIZE);
  llhttp.settings_init!(made);
  const slot = (name: keyof typeof SLOTS, body: (parser: HttpParser, at: number, length: number) => number) => {
    const guarded = (_: number, at: number, length: number): number => {
      try {
        return acting ? body(acting, at, length) : 0;
      } catch (error) {
        // It must not cross C: `push` throws it.
        if (acting) acting.failure = error;
        return -1;
      }
    };
    made.writeBigUInt64LE(BigInt(callback(name, guarded)), SLOTS[name] * 8);
  };
  slot("begin", (parser) => parser.begin());
  slot("url", (parser, at, length) => parser.addText(at, length));
  slot("status", (parser, at, length) => parser.addText(at, length));
  slot("field", (parser, at, length) => parser.addName(at, length));
  slot("value", (parser, at, length) => parser.addValue(at, length));
  slot("headersComplete", (parser) => parser.endHead());
  slot("body", (parser, at, length) => parser.addBody(at, length));
  slot("complete", (parser) => parser.complete());
  return made;
}

export class HttpParser {
  /** What a callback threw. */
  failure: unknown;
  readonly #state = memory(PARSER_SIZE);
  readonly #kind: keyof typeof KINDS;
  readonly #listener: ParserListener;
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #text = "";
  #fields: [string, string][] = [];
  /** Whether the last piece belonged to a value: then a name begins another field. */
  #inValue = true;
  #size = 0;
  #inBody = false;

  constructor(kind: keyof typeof KINDS, listener: ParserListener) {
    this.#kind = kind;
    this.#listener = listener;
    llhttp.init!(this.#state, KINDS[kind], settings);
  }

  /** Returns the bytes behind a message after which another protocol may begin; undefined: there is none. Throws Unreadable. */
  push(bytes: Buffer): Buffer | undefined {
    if (bytes.length === 0) return undefined;
    this.#bytes = bytes;
    this.#at = addressOf(bytes);
    const code = this.#act(() => llhttp.execute!(this.#state, bytes, bytes.length));
    const rest = code === PAUSED_UPGRADE ? bytes.subarray(llhttp.error_pos!(this.#state) - this.#at) : undefined;
    // The bytes are the caller's.
    this.#bytes = Buffer.alloc(0);
    return rest;
  }

  /** The connection has ended: some bodies end with it. false: the message is cut. */
  finish(): boolean {
    return this.#run(() => llhttp.finish!(this.#state)) === OK;
  }

  /** The other protocol was not agreed on: HTTP goes on. */
  resume(): void {
    llhttp.resume_after_upgrade!(this.#state);
  }

  /** Whether a message has begun and is not complete. */
  get isInside(): boolean {
    return this.#size > 0 || this.#inBody;
  }

  /** About how many bytes it holds. */
  get weight(): number {
    return 2048 + (this.#inBody ? 0 : this.#size);
  }

  #run(call: () => number): number {
    acting = this;
    const code = call();
    acting = undefined;
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
    return code;
  }

  #act(call: () => number): number {
    const code = this.#run(call);
    if (code === USER) throw new Unreadable("the head of a message is larger than the view reads");
    if (code !== OK && code !== PAUSED_UPGRADE)
      throw new Unreadable(`not a ${this.#kind} of HTTP/1 (${errorName(code)})`, code === INVALID_METHOD);
    return code;
  }

  #piece(at: number, length: number): string {
    this.#size += length;
    if (this.#size > HEAD_LIMIT) throw new Unreadable(`a head is larger than ${HEAD_LIMIT} bytes`);
    const from = at - this.#at;
    return this.#bytes.toString("latin1", from, from + length);
  }

  begin(): number {
    this.#text = "";
    this.#fields = [];
    this.#inValue = true;
    this.#size = 1;
    this.#inBody = false;
    return 0;
  }

  addText(at: number, length: number): number {
    this.#text += this.#piece(at, length);
    return 0;
  }

  addName(at: number, length: number): number {
    const piece = this.#piece(at, length);
    if (this.#inValue) {
      if (this.#fields.length >= FIELD_LIMIT) throw new Unreadable(`a head has more than ${FIELD_LIMIT} fields`);
      this.#fields.push([piece, ""]);
      // The colon, the space and the line's end.
      this.#size += 4;
    } else this.#fields.at(-1)![0] += piece;
    this.#inValue = false;
    return 0;
  }

  addValue(at: number, length: number): number {
    this.#fields.at(-1)![1] += this.#piece(at, length);
    this.#inValue = true;
    return 0;
  }

  endHead(): number {
    const state = this.#state;
    const isRequest = this.#kind === "request";
    const answer = this.#listener.onHead({
      method: isRequest ? methodName(llhttp.method!(state)) : "",
      text: this.#text,
      status: isRequest ? 0 : llhttp.status!(state),
      version: `HTTP/${llhttp.major!(state)}.${llhttp.minor!(state)}`,
      fields: this.#fields,
      size: this.#size,
    });
    this.#inBody = true;
    // Trailers come as fields, too. They have the same bound, and are not shown.
    this.#fields = [];
    this.#inValue = true;
    return ANSWERS[answer];
  }

  addBody(at: number, length: number): number {
    const from = at - this.#at;
    this.#listener.onBody(this.#bytes.subarray(from, from + length));
    return 0;
  }

  complete(): number {
    this.#size = 0;
    this.#inBody = false;
    this.#listener.onComplete();
    return 0;
  }
}
