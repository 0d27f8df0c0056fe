import { PeerError } from "../../errors.ts";
import { ALERTS } from "../../wire/alert.ts";

/** One tag of an XML stream. */
export interface Tag {
  /** Without its prefix. */
  readonly name: string;
  /** "empty": the tag both begins and ends an element. */
  readonly kind: "begin" | "end" | "empty";
  /** How many elements enclose this one. */
  readonly depth: number;
}

/** The longest tag, in bytes. */
const MAX_TAG = 16_384;
const [LT, GT, QUOTE, APOSTROPHE] = [0x3c, 0x3e, 0x22, 0x27];
const CDATA = "![CDATA[";

/**
 * Splits one direction of an XMPP stream into tags. Comments, document types and processing instructions are forbidden
 * (RFC 6120, section 11.1), so tags are enough to know where an element begins and ends.
 */
export class TagReader {
  #tag: string[] = [];
  #length = 0;
  #inTag = false;
  #quote: number | undefined;
  #depth = 0;
  #first = true;

  /** Reads up to the next tag's end. Answers where it stopped, and the complete tag. */
  read(bytes: Buffer, from: number): { readonly end: number; readonly tag?: Tag } {
    let at = from;
    if (!this.#inTag) {
      const found = bytes.indexOf(LT, from);
      const text = bytes.subarray(from, found < 0 ? bytes.length : found);
      if (this.#depth === 0 && text.toString("latin1").trim() !== "")
        throw malformed("it has text outside the stream's element");
      if (found < 0) return { end: bytes.length };
      this.#inTag = true;
      at = found + 1;
    }
    const start = at;
    let closed = false;
    for (; at < bytes.length && !closed; at++) closed = this.#ends(bytes[at]!);
    this.#length += at - start;
    if (this.#length > MAX_TAG) throw malformed(`it has a tag longer than ${MAX_TAG} bytes`);
    this.#tag.push(bytes.toString("latin1", start, at));
    const text = closed ? this.#tag.join("").slice(0, -1) : "";
    // A CDATA section ends with "]]>" only.
    if (!closed || (text.startsWith(CDATA) && !text.endsWith("]]"))) return { end: at };
    this.#tag = [];
    this.#length = 0;
    this.#inTag = false;
    const tag = this.#parse(text);
    return tag ? { end: at, tag } : { end: at };
  }

  #ends(byte: number): boolean {
    if (this.#quote !== undefined) {
      if (byte === this.#quote) this.#quote = undefined;
      return false;
    }
    if (byte === GT) return true;
    if (byte === QUOTE || byte === APOSTROPHE) this.#quote = byte;
    return false;
  }

  #parse(text: string): Tag | undefined {
    const first = this.#first;
    this.#first = false;
    if (text.startsWith("?xml") && first) return undefined;
    if (text.startsWith(CDATA) && this.#depth > 0) return undefined;
    const [, slash, name] = /^(\/?)(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)(?=[\s/]|$)/.exec(text) ?? [];
    if (name === undefined || text.includes("<")) throw malformed("it has an invalid tag");
    if (slash) {
      if (this.#depth === 0) throw malformed("it has an end tag without a start tag");
      this.#depth -= 1;
      return { name, kind: "end", depth: this.#depth };
    }
    const empty = text.endsWith("/");
    const tag = { name, kind: empty ? "empty" : "begin", depth: this.#depth } as const;
    if (!empty) this.#depth += 1;
    return tag;
  }
}

function malformed(state: string): PeerError {
  return new PeerError(`The XMPP stream is malformed: ${state}`, ALERTS.unexpected_message);
}
