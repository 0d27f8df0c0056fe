import { InvariantError } from "../errors.ts";
import { decode, encode } from "./callbacks.ts";
import { ssl } from "./native.ts";

/** Sessions that are held now: what tests look at. */
let live = 0;
export function liveSessions(): number {
  return live;
}

/**
 * A session with a server that can be resumed later, as OpenSSL has it (SSL_SESSION): a secret. It has the server's
 * certificates in it, so that writing it down and reading it again would cost a quarter of an abbreviated handshake.
 * Only those of FTP are shared with other processes. Its holder releases it.
 */
export class Session {
  #pointer: number;

  /** Takes a reference of its own. */
  constructor(pointer: number) {
    ssl.SESSION_up_ref(pointer);
    this.#pointer = pointer;
    live += 1;
  }

  /** Reads what `bytes` wrote. Undefined: it cannot be read. */
  static read(bytes: Buffer): Session | undefined {
    const pointer = decode(bytes);
    if (pointer === 0) return undefined;
    const session = new Session(pointer);
    ssl.SESSION_free(pointer);
    return session;
  }

  /** A secret. */
  bytes(): Buffer {
    if (this.#pointer === 0) throw new InvariantError("A session was used after its release");
    return encode(this.#pointer);
  }

  /** Has a connection offer the session. The connection takes a reference of its own. */
  offer(connection: number): void {
    if (this.#pointer === 0) throw new InvariantError("A session was used after its release");
    ssl.set_session(connection, this.#pointer);
  }

  /** May be called twice. */
  release(): void {
    if (this.#pointer === 0) return;
    ssl.SESSION_free(this.#pointer);
    this.#pointer = 0;
    live -= 1;
  }
}
