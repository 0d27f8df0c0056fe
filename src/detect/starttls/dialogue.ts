import { PeerError } from "../../errors.ts";
import type { Side } from "../../vocabulary.ts";
import { ALERTS } from "../../wire/alert.ts";

/** What the bytes so far make of a conversation that began in plaintext. */
export type Progress =
  /** Nothing has changed: all bytes are the dialogue's. */
  | { readonly kind: "more" }
  /** It is not this protocol, or it can no longer become TLS: there is nothing more to watch. */
  | { readonly kind: "no" }
  /** Both sides have agreed. What was said ends `at` bytes into those just given. */
  | { readonly kind: "upgrade"; readonly at: number; readonly agreement: Agreement };

export interface Agreement {
  readonly protocol: string;
  /** "tls": the next byte is a ClientHello's. "anything": a tunnel, in which any conversation may begin. */
  readonly next: "tls" | "anything";
  /** CONNECT: where the tunnel leads. */
  readonly target?: { readonly host: string; readonly port: number };
  /** What another connection to the same server must be told to agree as well; undefined: telling it again would do harm. */
  readonly script: readonly Step[] | undefined;
}

/** Bytes of the client, to be sent once the server has given so many answers, its greeting among them. */
export interface Step {
  readonly after: number;
  readonly bytes: Buffer;
}

/**
 * Watches a conversation from its first byte until it becomes TLS, in the order in which the bytes pass. Never touches a
 * socket, a timer or a log. Throws PeerError when a peer breaks the protocol in a way that could hide something.
 */
export interface Dialogue {
  /** As people call it: "SMTP". */
  readonly protocol: string;
  feed(side: Side, bytes: Buffer): Progress;
  /** Complete answers of the server so far: what a replay waits for before it goes on. */
  readonly answers: number;
  /** The protocol is certain. */
  readonly certain: boolean;
  /** Whether the server said that it can do TLS; undefined: it did not say. */
  readonly offered: boolean | undefined;
  /** The server was asked for TLS and declined. */
  readonly refused: boolean;
}

export const MORE: Progress = { kind: "more" };
export const NO: Progress = { kind: "no" };

/** A dialogue in which nothing was said yet: its reader, `feed`, writes to it. */
export function blankDialogue(
  protocol: string,
  feed: Dialogue["feed"],
): { -readonly [Key in keyof Dialogue]: Dialogue[Key] } {
  return { protocol, answers: 0, certain: false, offered: undefined, refused: false, feed };
}

/** A peer broke the protocol in a way that could hide something. */
export function broken(side: Side, message: string): PeerError {
  return new PeerError(message, ALERTS.unexpected_message, { side });
}

/** Of all that a client said, in bytes. */
const MAX_SCRIPT = 65_536;

/** What the client said, for a replay: bounded, and given up once something was said that must not be said twice. */
export class Script {
  #steps: { after: number; pieces: Buffer[] }[] = [];
  #length = 0;
  #lost = false;

  add(after: number, bytes: Buffer): void {
    this.#length += bytes.length;
    if (this.#length > MAX_SCRIPT) this.lose();
    if (this.#lost) return;
    const last = this.#steps.at(-1);
    // A copy: the input may be a view of a socket's pool.
    if (last?.after === after) last.pieces.push(Buffer.from(bytes));
    else this.#steps.push({ after, pieces: [Buffer.from(bytes)] });
  }

  lose(): void {
    this.#lost = true;
    this.#steps = [];
  }

  get steps(): readonly Step[] | undefined {
    if (this.#lost) return undefined;
    return this.#steps.map(({ after, pieces }) => ({ after, bytes: Buffer.concat(pieces) }));
  }
}
