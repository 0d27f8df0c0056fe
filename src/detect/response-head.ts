/** The head of an HTTP/1.x response (RFC 9112), as far as it says where the response ends. */
export interface ResponseHead {
  readonly kind: "head";
  readonly status: number;
  /** The length of the head with its empty line, in bytes. */
  readonly headBytes: number;
  /** The length of the body in bytes. "chunked": the body carries its own lengths. "until close": the connection's end is its end. */
  readonly body: number | "chunked" | "until close";
}

export type ResponseHeadSighting =
  | { readonly kind: "more" }
  | ResponseHead
  /** No response whose end can be told: it lasts until the connection's end. */
  | { readonly kind: "unknown" };

/** The longest head, in bytes. */
const LONGEST = 65_536;
const BEGINNING = "HTTP/1.";

/**
 * Reads a response's head. `bytes` are all bytes of the response so far. As lenient as clients are: the bytes pass as they are, to
 * the client that asked, and only their end matters. `toHead`: the request was HEAD.
 */
export function readResponseHead(bytes: Buffer, toHead: boolean): ResponseHeadSighting {
  const begun = bytes.toString("latin1", 0, BEGINNING.length);
  if (begun !== BEGINNING.slice(0, begun.length)) return { kind: "unknown" };
  const headBytes = endOfHead(bytes);
  if (headBytes === undefined) return { kind: bytes.length < LONGEST ? "more" : "unknown" };
  const [line = "", ...lines] = bytes.toString("latin1", 0, headBytes).split(/\r?\n/);
  const [, digits] = /^HTTP\/1\.\d[ \t]+(\d{3})(?:[ \t]|$)/.exec(line) ?? [];
  if (digits === undefined) return { kind: "unknown" };
  const status = Number(digits);
  return { kind: "head", status, headBytes, body: bodyOf(status, lines, toHead) };
}

/** Behind the first empty line. */
function endOfHead(bytes: Buffer): number | undefined {
  const ends = ["\n\r\n", "\n\n"].map((end) => {
    const at = bytes.indexOf(end, 0, "latin1");
    return at < 0 ? Number.POSITIVE_INFINITY : at + end.length;
  });
  const end = Math.min(...ends);
  return end <= LONGEST ? end : undefined;
}

/** RFC 9112, section 6.3. */
function bodyOf(status: number, lines: readonly string[], toHead: boolean): ResponseHead["body"] {
  if (toHead || status < 200 || status === 204 || status === 304) return 0;
  const codings = valuesOf(lines, "transfer-encoding").filter((coding) => coding !== "identity");
  if (codings.length > 0) return codings.at(-1) === "chunked" ? "chunked" : "until close";
  const lengths = new Set(valuesOf(lines, "content-length"));
  const [length = ""] = lengths;
  return lengths.size === 1 && /^\d{1,15}$/.test(length) ? Number(length) : "until close";
}

/** The members of a field's list, over all its lines, in lower case. */
function valuesOf(lines: readonly string[], name: string): string[] {
  const field = `${name}:`;
  return lines
    .filter((line) => line.slice(0, field.length).toLowerCase() === field)
    .flatMap((line) => line.slice(field.length).toLowerCase().split(","))
    .map((value) => value.trim())
    .filter((value) => value !== "");
}
