import { Accumulator } from "../wire/accumulator.ts";
import {
  asksForPage,
  asksUpgrade,
  bodyOf,
  hostFieldOf,
  isBrowser,
  mentionsUpgrade,
  readFields,
  rewriteForOrigin,
} from "./request-fields.ts";
import { type ReadUris, type RequestLine, readRequestLine, type Target, type TargetForm } from "./request-line.ts";
import { type RefusedRequest, refuse } from "./request-refusal.ts";

/** The head of an HTTP/1.x request (RFC 9112). */
export interface RequestHead {
  readonly kind: "head";
  readonly method: string;
  readonly form: TargetForm;
  /** The server that authority-form and absolute-form name; undefined for the other forms, which name none. */
  readonly target: Target | undefined;
  /** The host that the request is for, as hosts are compared: that of the target, else of the Host field. Undefined: it names none. */
  readonly host: string | undefined;
  /** The target and the Host field name different hosts. RFC 9112, section 3.2.2, lets the target count, but not all servers do. */
  readonly isAmbiguous: boolean;
  readonly version: "1.0" | "1.1";
  /** The length of the head with its empty line, in bytes. */
  readonly headBytes: number;
  /** Absolute-form: the head rewritten for the origin server. Other forms: the head as the client sent it. */
  readonly forwarded: Buffer;
  /** Whether the client asks for an Upgrade that is sent on with a rewritten head. */
  readonly upgrade: boolean;
  /** Whether it asks for any. */
  readonly mentionsUpgrade: boolean;
  /** The length of the body in bytes; "chunked": the body carries its own lengths. */
  readonly body: number | "chunked";
  /** The path and query of the target: "/index.html?a=b". */
  readonly path: string;
  /** Somebody waits for a page: a browser that goes to this address, not a script or a program. */
  readonly wantsPage: boolean;
  /** The client calls itself a browser. */
  readonly isBrowser: boolean;
}

export type RequestHeadSighting =
  | { readonly kind: "more" }
  | RequestHead
  | RefusedRequest
  /** The client spoke TLS to the plain proxy port, so it would not understand an HTTP answer. */
  | { readonly kind: "tls"; readonly message: string };

/** In bytes. */
export interface RequestLimits {
  /** The longest head. */
  readonly requestHead: number;
  /** The longest request target. */
  readonly requestTarget: number;
}

export const REQUEST_LIMITS: RequestLimits = { requestHead: 65_536, requestTarget: 32_768 };

/** Room for the method and the version beside the target, in bytes. */
const AROUND_TARGET = 64;

const [LF, CR] = [0x0a, 0x0d];
/** RFC 9110, section 5.5: tabs are allowed in a field, not in the request line. Bytes beyond ASCII are sent raw in targets too. */
const NOT_IN_LINE = /[^\x20-\x7e\x80-\xff]/;
const NOT_IN_FIELD = /[^\t\x20-\x7e\x80-\xff]/;

/**
 * Reads a request's head, in pieces of any size. An answer other than "more" is final: later pushes repeat it, and bytes
 * after the head are not read. How the bytes were cut changes nothing. Never throws.
 */
export class RequestHeadReader {
  readonly #limits: RequestLimits;
  readonly #uris: ReadUris;
  readonly #head = new Accumulator();
  readonly #fields: string[] = [];
  #line: RequestLine | undefined;
  /** Where the line that is being read begins, and how far it has been checked. */
  #lineStart = 0;
  #checked = 0;
  #final: RequestHeadSighting | undefined;

  constructor(limits: RequestLimits, uris: ReadUris) {
    this.#limits = limits;
    this.#uris = uris;
  }

  push(bytes: Uint8Array): RequestHeadSighting {
    if (this.#final) return this.#final;
    this.#head.append(bytes.subarray(0, this.#limits.requestHead - this.#head.length));
    this.#final = this.#read(this.#head.bytes);
    return this.#final ?? { kind: "more" };
  }

  #read(head: Buffer): RequestHeadSighting | undefined {
    const [first] = head;
    if (first !== undefined && (first === 0x16 || first >= 0x80)) {
      return { kind: "tls", message: "The client spoke TLS to the plain proxy port" };
    }
    for (;;) {
      const end = head.indexOf(LF, this.#checked);
      const problem = this.#check(head, end);
      if (problem) return problem;
      if (end < 0) return this.#tooLong(head.length);
      const start = this.#lineStart;
      this.#lineStart = this.#checked = end + 1;
      const sighting = this.#endLine(head.toString("latin1", start, end - 1), head);
      if (sighting) return sighting;
    }
  }

  /** Checks what has come of the line, up to its LF. `end`: where that is, -1: it has not come. */
  #check(head: Buffer, end: number): RefusedRequest | undefined {
    const to = end < 0 ? head.length : end;
    const text = head.toString("latin1", this.#checked, to);
    const found = text.search(this.#line ? NOT_IN_FIELD : NOT_IN_LINE);
    const at = found < 0 ? to : this.#checked + found;
    // The limit of the request line comes first if it is reached first.
    if (!this.#line && at - this.#lineStart >= this.#limits.requestTarget + AROUND_TARGET) return this.#longTarget();
    // A CR that is the last byte so far may be followed by its LF.
    const isEnd = at === to - 1 && head[at] === CR;
    if (found >= 0 && !isEnd) {
      return head[at] === CR ? bareLineEnd() : refuse(400, "The request has a byte that is not allowed in its place");
    }
    // RFC 9112, section 2.2: recipients disagree on a bare CR or LF.
    if (end >= 0 && !isEnd) return bareLineEnd();
    this.#checked = at;
    return undefined;
  }

  #tooLong(length: number): RefusedRequest | undefined {
    const { requestHead } = this.#limits;
    return length >= requestHead ? refuse(431, `The request's head is longer than ${requestHead} bytes`) : undefined;
  }

  #longTarget(): RefusedRequest {
    return refuse(414, `The request's target is longer than ${this.#limits.requestTarget} bytes`);
  }

  #endLine(text: string, head: Buffer): RequestHead | RefusedRequest | undefined {
    if (this.#line) {
      if (text === "") return this.#endHead(head);
      this.#fields.push(text);
      return undefined;
    }
    // RFC 9112, section 2.2: an empty line before a request is ignored.
    if (text === "") return undefined;
    const line = readRequestLine(text, this.#uris);
    if (line.kind === "bad") return line;
    if (line.targetBytes > this.#limits.requestTarget) return this.#longTarget();
    this.#line = line;
    return undefined;
  }

  #endHead(head: Buffer): RequestHead | RefusedRequest {
    const line = this.#line!;
    const { method, version, form, target } = line;
    const fields = readFields(this.#fields, version);
    if ("status" in fields) return fields;
    const named = hostFieldOf(fields);
    // The field counts where the target names no host.
    if (!target && typeof named === "object") return named;
    const upgrade = asksUpgrade(fields, version);
    const headBytes = this.#lineStart;
    const forwarded =
      form === "absolute" ? rewriteForOrigin(line, fields, upgrade) : Buffer.from(head.subarray(0, headBytes));
    const host = target?.host ?? (typeof named === "string" ? named : undefined);
    const body = bodyOf(fields);
    const isAmbiguous = target !== undefined && named !== undefined && named !== host;
    const asks = { upgrade, mentionsUpgrade: mentionsUpgrade(fields) };
    const page = { path: line.originTarget, wantsPage: asksForPage(method, fields), isBrowser: isBrowser(fields) };
    return {
      kind: "head",
      method,
      form,
      target,
      host,
      isAmbiguous,
      version,
      headBytes,
      forwarded,
      ...asks,
      body,
      ...page,
    };
  }
}

function bareLineEnd(): RefusedRequest {
  return refuse(400, "A line does not end with CR LF");
}

export function createRequestHeadReader(
  limits: RequestLimits = REQUEST_LIMITS,
  uris: ReadUris = "http",
): RequestHeadReader {
  return new RequestHeadReader(limits, uris);
}
