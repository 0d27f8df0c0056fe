import { PeerError } from "../../errors.ts";
import { Accumulator } from "../../wire/accumulator.ts";
import { ALERTS } from "../../wire/alert.ts";

/** The longest line, in bytes. The longest lines in use carry a Kerberos ticket. */
const MAX_LINE = 16_384;
/** How many bytes of a text's line are kept: enough to recognise the line of one dot that ends the text. */
const TEXT_LINE = 4;
const LF = 0x0a;
/** Control characters except the tab. Bytes beyond ASCII are allowed in any encoding. */
const CONTROL = /[\p{Cc}--[\t\u{80}-\u{9f}]]/v;

/** Splits one direction into lines and skips what does not consist of lines. */
export class LineReader {
  #line = new Accumulator();
  #skip = 0;
  /** Whether the next lines are a text, which ends with a line of one dot. */
  inText = false;

  /** The next bytes are a part of a text, or of what is not lines. */
  get inBody(): boolean {
    return this.inText || this.#skip > 0;
  }

  /** The next bytes, this many, are not lines. */
  skip(length: number): void {
    this.#skip += length;
  }

  /** Reads up to the next line's end. Answers where it stopped, and the complete line; lines of a text are not answered. */
  read(bytes: Buffer, from: number): { readonly end: number; readonly line?: string } {
    if (this.#skip > 0) {
      const end = Math.min(from + this.#skip, bytes.length);
      this.#skip -= end - from;
      return { end };
    }
    const found = bytes.indexOf(LF, from);
    const end = found < 0 ? bytes.length : found + 1;
    const room = (this.inText ? TEXT_LINE : MAX_LINE) - this.#line.length;
    if (!this.inText && end - from > room) {
      throw new PeerError(`A line of the dialogue is longer than ${MAX_LINE} bytes`, ALERTS.unexpected_message);
    }
    this.#line.append(bytes.subarray(from, Math.min(end, from + Math.max(0, room))));
    if (found < 0) return { end };
    const line = this.#line.bytes.toString("latin1").replace(/\r?\n$/, "");
    this.#line = new Accumulator();
    if (this.inText && line !== ".") return { end };
    this.inText = false;
    if (CONTROL.test(line))
      throw new PeerError("A line of the dialogue contains control characters", ALERTS.unexpected_message);
    return { end, line };
  }
}
