import { PeerError } from "../../errors.ts";
import { ALERTS } from "../../wire/alert.ts";
import { LineReader } from "./lines.ts";

/** Steps over the body of a request. */
export interface BodyReader {
  /** Reads on from `from`, and answers where it stopped: at the end of the bytes, or of the body. */
  read(bytes: Buffer, from: number): number;
  readonly done: boolean;
}

/** `length` in bytes, or "chunked": RFC 9112, section 6. */
export function createBodyReader(length: number | "chunked"): BodyReader {
  return length === "chunked" ? new Chunks() : new Counted(length);
}

class Counted implements BodyReader {
  #left: number;

  constructor(length: number) {
    this.#left = length;
  }

  get done(): boolean {
    return this.#left === 0;
  }

  read(bytes: Buffer, from: number): number {
    const end = Math.min(bytes.length, from + this.#left);
    this.#left -= end - from;
    return end;
  }
}

/** RFC 9112, section 7.1. */
class Chunks implements BodyReader {
  readonly #lines = new LineReader();
  /** The last chunk has come: its trailer ends with an empty line. */
  #last = false;
  /** The line that ends a chunk's data is next. */
  #behind = false;
  done = false;

  read(bytes: Buffer, from: number): number {
    const { end, line } = this.#lines.read(bytes, from);
    if (line === undefined) return end;
    if (this.#last) {
      this.done = line === "";
    } else if (this.#behind) {
      if (line !== "") throw malformed();
      this.#behind = false;
    } else {
      const [, size] = /^([0-9A-Fa-f]{1,12})[ \t]*(?:;|$)/.exec(line) ?? [];
      if (size === undefined) throw malformed();
      const length = Number.parseInt(size, 16);
      this.#lines.skip(length);
      this.#last = length === 0;
      this.#behind = length > 0;
    }
    return end;
  }
}

function malformed(): PeerError {
  return new PeerError("The client's request is malformed: its body is not in chunks", ALERTS.unexpected_message, {
    side: "client",
  });
}
