import { PeerError } from "../../errors.ts";
import { ALERTS } from "../../wire/alert.ts";
import { LineReader } from "./lines.ts";

/** Skips the body of a request. */
export interface BodyReader {
  /** Reads from `from` on. Answers where it stopped: the end of the bytes or of the body. */
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
  /** The last chunk has come; its trailer ends with an empty line. */
  #inTrailer = false;
  /** The line end after a chunk's data comes next. */
  #afterData = false;
  done = false;

  read(bytes: Buffer, from: number): number {
    const { end, line } = this.#lines.read(bytes, from);
    if (line === undefined) return end;
    if (this.#inTrailer) {
      this.done = line === "";
    } else if (this.#afterData) {
      if (line !== "") throw malformed();
      this.#afterData = false;
    } else {
      const [, size] = /^([0-9A-Fa-f]{1,12})[ \t]*(?:;|$)/.exec(line) ?? [];
      if (size === undefined) throw malformed();
      const length = Number.parseInt(size, 16);
      this.#lines.skip(length);
      this.#inTrailer = length === 0;
      this.#afterData = length > 0;
    }
    return end;
  }
}

function malformed(): PeerError {
  return new PeerError("The client's request is malformed: its body is not chunked", ALERTS.unexpected_message, {
    side: "client",
  });
}
