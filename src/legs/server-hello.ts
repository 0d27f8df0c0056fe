import type { End } from "../engine/end.ts";
import { PeerError } from "../errors.ts";
import { HANDSHAKE_TYPES } from "../wire/numbers.ts";
import { PlaintextRecords } from "../wire/plaintext-records.ts";
import { readServerHello, type ServerHello } from "../wire/server-hello.ts";

/**
 * Looks at a server's ServerHello before OpenSSL reads it, which does not tell of its extensions. One that does not come in one piece
 * is not seen: nobody waits for it.
 */
export class ServerHelloWatch {
  readonly #server: End;
  #isOver = false;
  hello: ServerHello | undefined;

  constructor(server: End) {
    this.#server = server;
  }

  /** Something may have come. */
  look(): void {
    // A peek would take the error of a connection that is broken.
    if (this.#isOver || !this.#server.readable || this.#server.hasLeft) return;
    const bytes = this.#server.peek();
    if (!bytes) return;
    const hello = firstHello(bytes);
    // Behind a HelloRetryRequest comes another one.
    if (hello?.retry) return;
    this.#isOver = true;
    this.hello = hello;
  }
}

function firstHello(bytes: Buffer): ServerHello | undefined {
  try {
    for (const item of new PlaintextRecords().read(bytes)) {
      if (item.kind === "change") continue;
      if (item.kind !== "message" || item.type !== HANDSHAKE_TYPES.server_hello) return undefined;
      return readServerHello(item.body);
    }
  } catch (error) {
    // OpenSSL says what is wrong with it.
    if (!(error instanceof PeerError)) throw error;
  }
  return undefined;
}
