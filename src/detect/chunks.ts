/** What the next bytes of a chunked body are (RFC 9112, section 7.1). */
export type Chunk =
  | { readonly kind: "more" }
  /** The next `length` bytes belong to the body: a chunk with its head, or a line of the trailer. `isLast`: nothing follows. */
  | { readonly kind: "pass"; readonly length: number; readonly isLast: boolean }
  | { readonly kind: "malformed"; readonly message: string };

/** The longest head of a chunk, and the longest trailer section, in bytes. */
const LONGEST_HEAD = 4_096;
const LONGEST_TRAILER = 65_536;

const MALFORMED = { kind: "malformed", message: "its body is not chunked" } as const;

/** Finds the chunks of one body. Of each it looks at the head only, so a chunk of any length costs the same. */
export class Chunks {
  #state: "first" | "next" | "trailer" = "first";
  #trailer = 0;

  /** `bytes` begin where the last chunk that passed has ended. */
  next(bytes: Buffer): Chunk {
    return this.#state === "trailer" ? this.#readTrailer(bytes) : this.#readHead(bytes);
  }

  #readHead(bytes: Buffer): Chunk {
    // The line end behind the data of the chunk before.
    const begin = this.#state === "first" ? 0 : 2;
    if (begin > 0 && bytes.length >= 1 && !"\r\n".startsWith(bytes.toString("latin1", 0, begin))) return MALFORMED;
    const line = readLine(bytes, begin, LONGEST_HEAD);
    if (typeof line === "object") return line;
    const [, size] = /^([0-9A-Fa-f]{1,12})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/.exec(line) ?? [];
    if (size === undefined) return MALFORMED;
    const data = Number.parseInt(size, 16);
    this.#state = data === 0 ? "trailer" : "next";
    return { kind: "pass", length: begin + line.length + 2 + data, isLast: false };
  }

  #readTrailer(bytes: Buffer): Chunk {
    const line = readLine(bytes, 0, LONGEST_TRAILER - this.#trailer);
    if (typeof line === "object") return line;
    if (!/^(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*)?$/.test(line)) return MALFORMED;
    const length = line.length + 2;
    this.#trailer += length;
    return { kind: "pass", length, isLast: line === "" };
  }
}

/** The line that begins here, without its CR LF. */
function readLine(bytes: Buffer, begin: number, longest: number): string | Chunk {
  const end = bytes.indexOf("\r\n", begin, "latin1");
  const length = end < 0 ? bytes.length - begin : end - begin;
  if (length > longest) return { kind: "malformed", message: `it has a line longer than ${longest} bytes` };
  return end < 0 ? { kind: "more" } : bytes.toString("latin1", begin, end);
}
