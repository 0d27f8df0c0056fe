import { Accumulator } from "../wire/accumulator.ts";
import { asksUpgrade, bodyOf, readFields, rewriteForOrigin } from "./request-fields.ts";
import { type RequestLine, readRequestLine, type Target, type TargetForm } from "./request-line.ts";
import { type RefusedRequest, refuse } from "./request-refusal.ts";

/** The head of an HTTP/1.x request (RFC 9112), the first thing that a client sends to a proxy. */
export interface RequestHead {
  readonly kind: "head";
  readonly method: string;
  readonly form: TargetForm;
  /** The server that authority-form and absolute-form name; undefined for the other forms, which name none. */
  readonly target: Target | undefined;
  readonly version: "1.0" | "1.1";
  /** The length of the head with its empty line, in bytes. */
  readonly headBytes: number;
  /** Absolute-form: the head rewritten for the origin server. Other forms: the head as the client sent it. */
  readonly forwarded: Buffer;
  /** Whether the client asks for an Upgrade. Otherwise an absolute-form head is sent on with "Connection: close". */
  readonly upgrade: boolean;
  /** The length of the body in bytes; "chunked": the body carries its own lengths. */
  readonly body: number | "chunked";
}

export type RequestHeadSighting =
  | { readonly kind: "more" }
  | RequestHead
  | RefusedRequest
  /** The client spoke TLS to the plain proxy port, so it would not understand an HTTP answer. */
  | { readonly kind: "tls"; readonly message: string };

/** The longest head and the longest request line, in bytes. */
const MAX_HEAD = 16_384;
const MAX_LINE = 8_192;

const [TAB, LF, CR, SPACE, DELETE] = [0x09, 0x0a, 0x0d, 0x20, 0x7f];

/**
 * Reads a request's head, in pieces of any size. An answer other than "more" is final: later pushes repeat it, and bytes
 * after the head are not read. Never throws.
 */
export class RequestHeadReader {
  readonly #head = new Accumulator();
  #line: RequestLine | undefined;
  #lineEnd = 0;
  #final: RequestHeadSighting | undefined;

  push(bytes: Uint8Array): RequestHeadSighting {
    if (this.#final) return this.#final;
    const from = this.#head.length;
    this.#head.append(bytes.subarray(0, MAX_HEAD - from));
    const head = this.#head.bytes;
    // Byte by byte: the answer must not depend on how the bytes were cut.
    for (let at = from; at < head.length && !this.#final; at++) this.#final = this.#readByte(head, at);
    return this.#final ?? { kind: "more" };
  }

  #readByte(head: Buffer, at: number): RequestHeadSighting | undefined {
    const byte = head[at]!;
    if (at === 0 && (byte === 0x16 || byte >= 0x80)) {
      return { kind: "tls", message: "The client spoke TLS to the plain proxy port" };
    }
    // RFC 9112, section 2.2: recipients disagree on a bare CR or LF.
    if ((head[at - 1] === CR) !== (byte === LF)) return refuse(400, "A line does not end with CR LF");
    const tooLarge =
      at + 1 >= MAX_HEAD ? refuse(431, `The request's head is longer than ${MAX_HEAD} bytes`) : undefined;
    if (byte === LF) return (this.#line ? this.#endFieldLine(head, at) : this.#endRequestLine(head, at)) ?? tooLarge;
    if (!this.#isAllowed(byte)) return refuse(400, "The request has a byte that is not allowed in its place");
    if (!this.#line && at + 1 >= MAX_LINE) return refuse(414, `The request line is longer than ${MAX_LINE} bytes`);
    return tooLarge;
  }

  /** RFC 9110, section 5.5: tabs and bytes beyond ASCII are allowed in a field, not in the request line. */
  #isAllowed(byte: number): boolean {
    if (byte === CR) return true;
    return this.#line ? byte === TAB || (byte >= SPACE && byte !== DELETE) : byte >= SPACE && byte < DELETE;
  }

  #endRequestLine(head: Buffer, at: number): RefusedRequest | undefined {
    const line = readRequestLine(head.toString("latin1", 0, at - 1));
    if (line.kind === "bad") return line;
    this.#line = line;
    this.#lineEnd = at + 1;
    return undefined;
  }

  #endFieldLine(head: Buffer, at: number): RequestHead | RefusedRequest | undefined {
    if (head[at - 2] !== LF) return undefined;
    const { method, version, form, target } = this.#line!;
    const lines = head
      .toString("latin1", this.#lineEnd, at - 1)
      .split("\r\n")
      .slice(0, -1);
    const fields = readFields(lines, version);
    if ("status" in fields) return fields;
    const upgrade = asksUpgrade(fields, version);
    const headBytes = at + 1;
    const forwarded =
      form === "absolute" ? rewriteForOrigin(this.#line!, fields, upgrade) : Buffer.from(head.subarray(0, headBytes));
    return { kind: "head", method, form, target, version, headBytes, forwarded, upgrade, body: bodyOf(fields) };
  }
}

export function createRequestHeadReader(): RequestHeadReader {
  return new RequestHeadReader();
}
