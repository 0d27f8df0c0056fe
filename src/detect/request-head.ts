import { Accumulator } from "../wire/accumulator.ts";
import { asksUpgrade, bodyOf, readFields, rewriteForOrigin } from "./request-fields.ts";
import { type RequestLine, readRequestLine, type Target, type TargetForm } from "./request-line.ts";
import { type RefusedRequest, refuse } from "./request-refusal.ts";

/** What a client of the explicit proxy says first: the head of one HTTP/1.x request (RFC 9112). */
export interface RequestHead {
  readonly kind: "head";
  readonly method: string;
  readonly form: TargetForm;
  /** Where authority-form and absolute-form point; undefined for the other forms, which name no server. */
  readonly target: Target | undefined;
  readonly version: "1.0" | "1.1";
  /** How many of the pushed bytes are the head, its empty line included. */
  readonly headBytes: number;
  /** Absolute-form: the head as it must be sent to the origin server. Other forms: the head as it came. */
  readonly forwarded: Buffer;
  /** The client asked for an Upgrade. Without one, an absolute-form head goes out with "Connection: close". */
  readonly upgrade: boolean;
  /** How many bytes of body follow the head; "chunked": the body says it itself. */
  readonly body: number | "chunked";
}

export type RequestHeadSighting =
  | { readonly kind: "more" }
  | RequestHead
  | RefusedRequest
  /** TLS was spoken to the plain proxy port: an HTTP answer would mean nothing to the client. */
  | { readonly kind: "tls"; readonly message: string };

/** The largest head, and in it the largest request line, in bytes. */
const MAX_HEAD = 16_384;
const MAX_LINE = 8_192;

const [TAB, LF, CR, SPACE, DELETE] = [0x09, 0x0a, 0x0d, 0x20, 0x7f];

/**
 * Reads a request's head from bytes as they come, in pieces of any size. An answer other than "more" is final: later
 * pushes repeat it, and bytes behind the head are not looked at. Nothing is thrown, whatever the bytes.
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
    // Byte by byte and in order: so the answer hangs on what stands first, not on how the bytes were cut.
    for (let at = from; at < head.length && !this.#final; at++) this.#final = this.#see(head, at);
    return this.#final ?? { kind: "more" };
  }

  #see(head: Buffer, at: number): RequestHeadSighting | undefined {
    const byte = head[at]!;
    if (at === 0 && (byte === 0x16 || byte >= 0x80)) {
      return { kind: "tls", message: "The client spoke TLS to the plain proxy port" };
    }
    // RFC 9112, section 2.2: a bare CR or LF is read differently by different recipients.
    if ((head[at - 1] === CR) !== (byte === LF)) return refuse(400, "A line does not end with CR LF");
    const tooLarge = at + 1 >= MAX_HEAD ? refuse(431, "The request's header fields are too large") : undefined;
    if (byte === LF) return (this.#line ? this.#endFieldLine(head, at) : this.#endRequestLine(head, at)) ?? tooLarge;
    if (!this.#isAllowed(byte)) return refuse(400, "The request has a byte that is not allowed there");
    if (!this.#line && at + 1 >= MAX_LINE) return refuse(414, "The request line is too long");
    return tooLarge;
  }

  /** RFC 9110, section 5.5: a field may have tabs and bytes beyond ASCII, the request line may not. */
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
