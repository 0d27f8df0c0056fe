import { PeerError } from "../../errors.ts";
import type { Side } from "../../vocabulary.ts";
import { ALERTS } from "../../wire/alert.ts";

/** What the bytes so far say about a session that began in plaintext. */
export type Progress =
  /** The dialogue goes on: all bytes belong to it. */
  | { readonly kind: "more" }
  /** It is another protocol, or this session can no longer become TLS. */
  | { readonly kind: "no" }
  /** Both sides have agreed. The dialogue ends `at` bytes into those just given. */
  | { readonly kind: "upgrade"; readonly at: number; readonly agreement: Agreement };

export interface Agreement {
  readonly protocol: string;
  /** "tls": a ClientHello follows. "anything": a tunnel follows, in which any protocol may begin. */
  readonly next: "tls" | "anything";
  /** CONNECT: the tunnel's destination. */
  readonly target?: { readonly host: string; readonly port: number };
  /**
   * What to send on a second connection, so that the server agrees there too. Undefined: the client sent something that must
   * not be sent twice.
   */
  readonly script: readonly Step[] | undefined;
}

/** Bytes of the client, to be sent once the server has given this many answers; its greeting counts as one. */
export interface Step {
  readonly after: number;
  readonly bytes: Buffer;
}

/**
 * Follows a session from its first byte until it becomes TLS, in the order in which the bytes pass. Never touches a socket,
 * a timer or a log. Throws PeerError when a peer breaks the protocol in a way that could hide something.
 */
export interface Dialogue {
  /** The protocol's usual name: "SMTP". */
  readonly protocol: string;
  feed(side: Side, bytes: Buffer): Progress;
  /** Complete answers of the server so far. A replay waits for them. */
  readonly answers: number;
  /** Whether the session is certain to speak this protocol. */
  readonly certain: boolean;
  /** Whether the server offered TLS; undefined: it did not say. */
  readonly offered: boolean | undefined;
  /** Whether the server declined a request for TLS. */
  readonly refused: boolean;
  /** The client has asked for TLS and has no answer yet: it may say nothing. */
  readonly awaiting: boolean;
  /** The client's next bytes belong to a text or to data whose end is known. */
  readonly inBody: boolean;
  /** The client has said something that is not on the way to TLS. */
  readonly beyond: boolean;
}

export const MORE: Progress = { kind: "more" };
export const NO: Progress = { kind: "no" };

/** The common part of dialogues. A protocol error counts only once the protocol is certain; before, it is another protocol. */
export abstract class DialogueReader implements Dialogue {
  abstract readonly protocol: string;
  answers = 0;
  certain = false;
  offered: boolean | undefined;
  refused = false;

  get awaiting(): boolean {
    return false;
  }

  get inBody(): boolean {
    return false;
  }

  get beyond(): boolean {
    return false;
  }

  feed(side: Side, bytes: Buffer): Progress {
    if (bytes.length === 0) return MORE;
    try {
      return side === "client" ? this.onClient(bytes) : this.onServer(bytes);
    } catch (error) {
      if (this.certain || !(error instanceof PeerError)) throw error;
      return NO;
    }
  }

  protected abstract onClient(bytes: Buffer): Progress;
  protected abstract onServer(bytes: Buffer): Progress;

  /** Both sides have agreed on TLS, `at` bytes into those just given. */
  protected upgrade(at: number, script: Script): Progress {
    return { kind: "upgrade", at, agreement: { protocol: this.protocol, next: "tls", script: script.steps } };
  }
}

/** A peer broke the protocol in a way that could hide something. In plaintext no peer sees the alert. */
export function broken(side: Side, message: string): PeerError {
  return new PeerError(message, ALERTS.unexpected_message, { side });
}

/** CVE-2011-0411: bytes after the request would be taken for a part of what comes encrypted. */
export function sentAfterRequest(): PeerError {
  return broken("client", "The client sent more after its request for TLS");
}

/** CVE-2021-23222: bytes after the agreement would be taken for a part of what comes encrypted. */
export function sentAfterAgreement(): PeerError {
  return broken("server", "The server sent more after its agreement to TLS");
}

/** The longest script, in bytes. */
const MAX_SCRIPT = 65_536;

/** What the client sent, for a replay. Bounded, and given up once the client sends something that must not be sent twice. */
export class Script {
  #steps: { after: number; pieces: Buffer[] }[] = [];
  #length = 0;
  #givenUp = false;

  add(after: number, bytes: Buffer): void {
    this.#length += bytes.length;
    if (this.#length > MAX_SCRIPT) this.giveUp();
    if (this.#givenUp) return;
    const last = this.#steps.at(-1);
    // A copy: the input may be a view of a socket's pool.
    if (last?.after === after) last.pieces.push(Buffer.from(bytes));
    else this.#steps.push({ after, pieces: [Buffer.from(bytes)] });
  }

  giveUp(): void {
    this.#givenUp = true;
    this.#steps = [];
  }

  get isGivenUp(): boolean {
    return this.#givenUp;
  }

  get steps(): readonly Step[] | undefined {
    if (this.#givenUp) return undefined;
    return this.#steps.map(({ after, pieces }) => ({ after, bytes: Buffer.concat(pieces) }));
  }
}
