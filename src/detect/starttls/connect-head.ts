import { Accumulator } from "../../wire/accumulator.ts";
import {
  createRequestHeadReader,
  REQUEST_LIMITS,
  type RequestHead,
  type RequestHeadSighting,
} from "../request-head.ts";
import { readRequestLine } from "../request-line.ts";
import { refuse } from "../request-refusal.ts";

/** What stands in front of a request and is ignored: empty lines (RFC 9112, section 2.2), and spaces as proxies ignore them. */
const IN_FRONT = /^[\r\n\t ]*/;
const MAX_IN_FRONT = 1_024;
const METHOD = "connect";
/** As proxies read it: in any case, with any blanks between the parts, with or without CR at the line's end. */
const LINE = /^[\r\n\t ]*connect[\t ]+([^\s]+)[\t ]+http\/1\.([01])[\t ]*\r?$/i;
/** A line that is empty ends the head, whether or not its sender writes CR. */
const END = /\n\r?\n/;

/** Whether a client's first bytes are a CONNECT as proxies read it; "more": they may be the beginning of one. */
export function beginsConnect(bytes: Buffer): boolean | "more" {
  const text = bytes.toString("latin1", 0, MAX_IN_FRONT + METHOD.length + 1);
  const [front] = IN_FRONT.exec(text)!;
  if (front.length > MAX_IN_FRONT) return false;
  const word = text.slice(front.length, front.length + METHOD.length).toLowerCase();
  const next = text[front.length + METHOD.length];
  if (!METHOD.startsWith(word)) return false;
  return next === undefined ? "more" : next === " " || next === "\t";
}

/**
 * Reads the head of a request to a proxy, in pieces of any size. A CONNECT is read as leniently as proxies read it, because one that
 * this reader refuses would be a tunnel all the same; what follows it is nobody's before the proxy has answered. All other requests
 * are read strictly.
 */
export class ProxyHeadReader {
  readonly #strict = createRequestHeadReader();
  readonly #head = new Accumulator();
  #isConnect: boolean | "more" = "more";

  push(bytes: Uint8Array): RequestHeadSighting {
    if (this.#isConnect === false) return this.#strict.push(bytes);
    const before = this.#head.length;
    this.#head.append(bytes.subarray(0, REQUEST_LIMITS.requestHead - before));
    if (this.#isConnect === "more") this.#isConnect = beginsConnect(this.#head.bytes);
    if (this.#isConnect === false) return this.#strict.push(this.#head.bytes);
    return this.#readConnect(Math.max(0, before - 2));
  }

  #readConnect(from: number): RequestHeadSighting {
    const head = this.#head.bytes;
    const text = head.toString("latin1");
    const begin = IN_FRONT.exec(text)![0].length;
    const found = text.slice(Math.max(from, begin)).search(END);
    if (found < 0) {
      if (head.length < REQUEST_LIMITS.requestHead) return { kind: "more" };
      return refuse(431, `The request's head is longer than ${REQUEST_LIMITS.requestHead} bytes`);
    }
    const last = Math.max(from, begin) + found;
    const headBytes = head.indexOf("\n", last + 1) + 1;
    return connectOf(head.subarray(0, headBytes));
  }
}

function connectOf(head: Buffer): RequestHead | ReturnType<typeof refuse> {
  const text = head.toString("latin1");
  const begin = IN_FRONT.exec(text)![0].length;
  const [, authority, minor] = LINE.exec(text.slice(begin, text.indexOf("\n", begin))) ?? [];
  const line = readRequestLine(`CONNECT ${authority} HTTP/1.${minor}`, "http");
  if (line.kind === "bad") return line;
  return {
    ...{ kind: "head", method: "CONNECT", form: "authority", target: line.target, host: line.target?.host },
    ...{ isAmbiguous: false, version: line.version, headBytes: head.length, forwarded: Buffer.from(head) },
    ...{ upgrade: false, mentionsUpgrade: false, body: 0, path: line.originTarget, wantsPage: true, isBrowser: false },
  };
}
