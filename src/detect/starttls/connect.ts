import { PeerError } from "../../errors.ts";
import { Accumulator } from "../../wire/accumulator.ts";
import { createRequestHeadReader, type RequestHead } from "../request-head.ts";
import { type BodyReader, createBodyReader } from "./body.ts";
import { blankDialogue, broken, type Dialogue, MORE, NO, type Progress } from "./dialogue.ts";

/** Of the head of an answer, in bytes. */
const MAX_HEAD = 65_536;

/**
 * A client that asks a proxy on its way for a tunnel: CONNECT (RFC 9110, section 9.3.6), at once or after other requests.
 * Requests are followed to their ends; of what the server says only the answer to CONNECT is read, which is what comes next
 * when every answer before it was complete. A client that sends CONNECT before that is not followed any further.
 */
export function openConnect(): Dialogue {
  let head = createRequestHeadReader();
  let headBytes = 0;
  let body: BodyReader | undefined;
  let asked: { readonly head: RequestHead; readonly answer: Accumulator } | undefined;
  /** The client takes the server for a proxy. */
  let proxied = false;
  let unanswered = false;
  const dialogue = blankDialogue("CONNECT", feed);
  return dialogue;

  function feed(side: "client" | "server", bytes: Buffer): Progress {
    try {
      return side === "client" ? listen(bytes) : hear(bytes);
    } catch (error) {
      if (proxied || !(error instanceof PeerError)) throw error;
      return NO;
    }
  }

  function listen(bytes: Buffer): Progress {
    for (let at = 0; at < bytes.length; ) {
      if (asked?.head.method === "CONNECT") throw broken("client", "The client sent more behind its CONNECT");
      at = body ? body.read(bytes, at) : readHead(bytes, at);
      if (!body?.done) continue;
      body = undefined;
      unanswered = true;
    }
    return MORE;
  }

  function readHead(bytes: Buffer, from: number): number {
    // RFC 9112, section 2.2: an empty line before a request is passed over.
    if (headBytes === 0 && dialogue.certain && (bytes[from] === CR || bytes[from] === LF)) return from + 1;
    const reading = head.push(bytes.subarray(from));
    headBytes += bytes.length - from;
    if (reading.kind === "more") return bytes.length;
    if (reading.kind !== "head") throw broken("client", `The client's request is malformed: ${reading.message}`);
    const end = bytes.length - (headBytes - reading.headBytes);
    head = createRequestHeadReader();
    headBytes = 0;
    dialogue.certain = true;
    proxied ||= reading.form === "absolute" || reading.form === "authority";
    if (reading.method === "CONNECT" && unanswered) {
      throw broken("client", "The client sent CONNECT before its last request was answered");
    }
    if (reading.method === "CONNECT" || reading.upgrade) asked = { head: reading, answer: new Accumulator() };
    if (reading.method !== "CONNECT") body = createBodyReader(reading.body);
    return end;
  }

  function hear(bytes: Buffer): Progress {
    if (bytes.length === 0) return MORE;
    if (!dialogue.certain) return NO;
    unanswered = false;
    const before = asked?.answer.length ?? 0;
    asked?.answer.append(bytes);
    while (asked) {
      const text = asked.answer.bytes.toString("latin1", 0, MAX_HEAD);
      const end = text.indexOf("\r\n\r\n") + 4;
      const bare = /(?<!\r)\n/.exec(end < 4 ? text : text.slice(0, end));
      const [, status] = /^HTTP\/1\.[01] (\d{3})(?: |\r)/.exec(text) ?? [];
      if (bare || (status === undefined && (end >= 4 || !couldBegin(text)))) {
        throw broken("server", "The server's answer is malformed");
      }
      if (end < 4 && text.length >= MAX_HEAD) throw broken("server", "The head of the server's answer is too large");
      if (end < 4 || status === undefined) return MORE;
      const progress = conclude(asked.head, status, end - before);
      if (progress) return progress;
      if (!asked) return MORE;
      // An interim answer: the next one is the answer.
      const rest = Buffer.from(asked.answer.bytes.subarray(end));
      return rest.length > 0 ? again(asked.head, rest, bytes.length - rest.length) : again(asked.head, rest, 0);
    }
    return MORE;
  }

  /** Begins anew with the rest of what was just given, whose places are counted from its own beginning. */
  function again(request: RequestHead, rest: Buffer, skipped: number): Progress {
    asked = { head: request, answer: new Accumulator() };
    const progress = hear(rest);
    return progress.kind === "upgrade" ? { ...progress, at: progress.at + skipped } : progress;
  }

  /** Undefined: go on. */
  function conclude(request: RequestHead, status: string, at: number): Progress | undefined {
    const connect = request.method === "CONNECT";
    if (status === "101" && !connect) return NO;
    if (status.startsWith("1")) return undefined;
    dialogue.answers += 1;
    asked = undefined;
    if (!connect) return undefined;
    const { target } = request;
    if (!status.startsWith("2") || !target) {
      dialogue.refused = true;
      return undefined;
    }
    // Each request stands for itself: the last is all that another connection must be told.
    const script = [{ after: 0, bytes: request.forwarded }];
    return { kind: "upgrade", at, agreement: { protocol: dialogue.protocol, next: "anything", target, script } };
  }
}

const [LF, CR] = [0x0a, 0x0d];
const STATUS_LINE = "HTTP/1.x xxx ";

/** Whether these bytes may become a status line. */
function couldBegin(text: string): boolean {
  const begun = text.slice(0, STATUS_LINE.length);
  return /^(?:H(?:T(?:T(?:P(?:\/(?:1(?:\.(?:[01](?: (?:\d{1,3})?)?)?)?)?)?)?)?)?)?$/.test(begun);
}
