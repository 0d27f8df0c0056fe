import { PeerError } from "../../errors.ts";
import type { Side } from "../../vocabulary.ts";
import { Accumulator } from "../../wire/accumulator.ts";
import type { RequestHead } from "../request-head.ts";
import { type BodyReader, createBodyReader } from "./body.ts";
import { ProxyHeadReader } from "./connect-head.ts";
import { broken, type Dialogue, DialogueReader, MORE, NO, type Progress } from "./dialogue.ts";

/** The longest head of an answer, in bytes. */
const MAX_HEAD = 65_536;
const [LF, CR] = [0x0a, 0x0d];

/**
 * A client that asks a proxy on its way for a tunnel: CONNECT (RFC 9110, section 9.3.6), as its first request or later.
 * Requests are read to their ends. Of the server's answers only the one to CONNECT is read: it is the next answer if every
 * earlier request was answered. A CONNECT before that is an error.
 */
export function openConnect(): Dialogue {
  return new ConnectDialogue();
}

class ConnectDialogue extends DialogueReader {
  readonly protocol = "CONNECT";
  #head = new ProxyHeadReader();
  #headBytes = 0;
  #body: BodyReader | undefined;
  /** The CONNECT or Upgrade request whose answer is being read. */
  #asked: { readonly request: RequestHead; answer: Accumulator } | undefined;
  /** The client speaks to the server as to a proxy. */
  #proxied = false;
  /** The last request is complete, and nothing came from the server since. */
  #unanswered = false;
  /** A request was something else than CONNECT. */
  #beyond = false;

  override get awaiting(): boolean {
    return this.#asked?.request.method === "CONNECT";
  }

  override get inBody(): boolean {
    return this.#body !== undefined && !this.#body.done;
  }

  override get beyond(): boolean {
    return this.#beyond;
  }

  /** HTTP without a proxy never becomes a tunnel: there a malformed message is no concern of this dialogue. */
  override feed(side: Side, bytes: Buffer): Progress {
    try {
      return super.feed(side, bytes);
    } catch (error) {
      if (this.#proxied || !(error instanceof PeerError)) throw error;
      return NO;
    }
  }

  protected override onClient(bytes: Buffer): Progress {
    for (let at = 0; at < bytes.length; ) {
      if (this.#asked?.request.method === "CONNECT") throw broken("client", "The client sent more after its CONNECT");
      at = this.#body ? this.#body.read(bytes, at) : this.#readHead(bytes, at);
      if (!this.#body?.done) continue;
      this.#body = undefined;
      this.#unanswered = true;
    }
    return MORE;
  }

  /** Answers where the head ends, or the bytes do. */
  #readHead(bytes: Buffer, from: number): number {
    // RFC 9112, section 2.2: ignore an empty line before a request.
    if (this.#headBytes === 0 && this.certain && (bytes[from] === CR || bytes[from] === LF)) return from + 1;
    const reading = this.#head.push(bytes.subarray(from));
    this.#headBytes += bytes.length - from;
    if (reading.kind === "more") return bytes.length;
    if (reading.kind !== "head") throw broken("client", `The client's request is malformed: ${reading.message}`);
    const end = bytes.length - (this.#headBytes - reading.headBytes);
    this.#head = new ProxyHeadReader();
    this.#headBytes = 0;
    this.#onRequest(reading);
    return end;
  }

  #onRequest(request: RequestHead): void {
    const connects = request.method === "CONNECT";
    this.certain = true;
    this.#beyond ||= !connects;
    this.#proxied ||= request.form === "absolute" || request.form === "authority";
    if (connects && this.#unanswered) {
      throw broken("client", "The client sent CONNECT before its last request was answered");
    }
    if (connects || request.upgrade) this.#asked = { request, answer: new Accumulator() };
    if (!connects) this.#body = createBodyReader(request.body);
  }

  protected override onServer(bytes: Buffer): Progress {
    if (!this.certain) return NO;
    this.#unanswered = false;
    if (!this.#asked) return MORE;
    const { request, answer } = this.#asked;
    const before = answer.length;
    answer.append(bytes);
    for (let start = 0; ; ) {
      const rest = answer.bytes.subarray(start);
      const head = readAnswerHead(rest);
      if (head === "more") {
        if (start > 0) this.#asked.answer = copyOf(rest);
        return MORE;
      }
      start += head.length;
      // RFC 9110, section 15.2: another answer follows an interim one, but not a 101 to an Upgrade.
      const leavesHttp = head.status === "101" && request.method !== "CONNECT";
      if (head.status.startsWith("1") && !leavesHttp) continue;
      return this.#onAnswer(request, head.status, start - before);
    }
  }

  #onAnswer(request: RequestHead, status: string, at: number): Progress {
    if (status === "101") return NO;
    this.answers += 1;
    this.#asked = undefined;
    if (request.method !== "CONNECT") return MORE;
    const { target } = request;
    if (!status.startsWith("2") || !target) {
      this.refused = true;
      return MORE;
    }
    // Requests are independent of each other: a second connection needs only the last one.
    const script = [{ after: 0, bytes: request.forwarded }];
    return { kind: "upgrade", at, agreement: { protocol: this.protocol, next: "anything", target, script } };
  }
}

function copyOf(bytes: Buffer): Accumulator {
  const copy = new Accumulator();
  copy.append(bytes);
  return copy;
}

/**
 * The status and the length of an answer's head: RFC 9112, section 4. Lines may end with a bare LF: clients take that, and a tunnel is
 * watched whatever its first bytes are. Throws PeerError.
 */
function readAnswerHead(bytes: Buffer): { readonly status: string; readonly length: number } | "more" {
  const text = bytes.toString("latin1", 0, MAX_HEAD);
  const [end] = /\n\r?\n/.exec(text) ?? [];
  const [, status] = /^HTTP\/1\.[01] +(\d{3})(?=[ \r\n])/.exec(text) ?? [];
  if (status === undefined && (end !== undefined || !canBeginStatusLine(text))) {
    throw broken("server", "The server's answer is malformed: it is not an HTTP/1.x answer");
  }
  if (end !== undefined && status !== undefined) return { status, length: text.indexOf(end) + end.length };
  if (text.length >= MAX_HEAD) {
    throw broken("server", `The server's answer is malformed: its head is longer than ${MAX_HEAD} bytes`);
  }
  return "more";
}

/** Whether these bytes may become a status line. */
function canBeginStatusLine(text: string): boolean {
  const [line = ""] = text.split("\n", 1);
  return line.length < 9
    ? "HTTP/1.0 ".startsWith(line) || "HTTP/1.1 ".startsWith(line)
    : /^HTTP\/1\.[01] +\d{0,3}$/.test(line);
}
