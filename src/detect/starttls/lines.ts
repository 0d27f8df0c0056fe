import { PeerError } from "../../errors.ts";
import { Accumulator } from "../../wire/accumulator.ts";
import { ALERTS } from "../../wire/alert.ts";

/** Of one line, in bytes. The longest in use are those that carry a Kerberos ticket. */
const MAX_LINE = 16_384;
/** What must be kept of a line of a text to tell whether it is the dot that ends it. */
const DOT = 4;
const LF = 0x0a;
/** Bytes beyond ASCII are text: what they mean is not known here. */
const NO_TEXT = /[\p{Cc}--[\t\u{80}-\u{9f}]]/v;

/** Cuts one direction of a conversation into lines, and steps over what is not made of lines. */
export class LineReader {
  #line = new Accumulator();
  #skip = 0;
  /** In a text, which ends with a line of one dot. */
  inText = false;

  /** The next so many bytes are no lines. */
  skip(length: number): void {
    this.#skip += length;
  }

  /** Reads up to the next line's end: where that is, and the line without its end if it is one that says something. */
  read(bytes: Buffer, from: number): { readonly end: number; readonly line?: string } {
    if (this.#skip > 0) {
      const end = Math.min(from + this.#skip, bytes.length);
      this.#skip -= end - from;
      return { end };
    }
    const found = bytes.indexOf(LF, from);
    const end = found < 0 ? bytes.length : found + 1;
    const room = (this.inText ? DOT : MAX_LINE) - this.#line.length;
    if (!this.inText && end - from > room) {
      throw new PeerError(`A line is longer than ${MAX_LINE} bytes`, ALERTS.unexpected_message);
    }
    this.#line.append(bytes.subarray(from, Math.min(end, from + Math.max(0, room))));
    if (found < 0) return { end };
    const line = this.#line.bytes.toString("latin1").replace(/\r?\n$/, "");
    this.#line = new Accumulator();
    if (this.inText && line !== ".") return { end };
    this.inText = false;
    if (NO_TEXT.test(line)) throw new PeerError("A line holds bytes that are no text", ALERTS.unexpected_message);
    return { end, line };
  }
}
