import { InvariantError, PeerError } from "../errors.ts";
import type { Connection, ConnectionEvent, Established } from "../ssl3/connection.ts";
import { VERSIONS } from "../vocabulary.ts";
import { ALERTS, nameAlert } from "../wire/alert.ts";
import {
  type Agreed,
  BROKEN,
  END,
  type HandshakeStep,
  type Layer,
  type LayerFailure,
  NOTHING_NOW,
  RESET,
  type Told,
  TRUNCATED,
  type Wire,
} from "./layer.ts";
import { SCRATCH } from "./loop.ts";
import { addressOf, copyFrom, libc, memory, permanent } from "./native.ts";

/**
 * SSL 3.0 on one end: it moves bytes between the wire below and our own implementation in `ssl3/`, which does no I/O. RFC 6101.
 */

/** What is read at a time, in bytes: one record of the largest size, and what follows it. */
const READ = 32 * 1024;
/** Shared by all layers: its content is valid during one call. */
const incoming = permanent(READ);
const NOTHING = Buffer.alloc(0);

export class Ssl3Layer implements Layer {
  readonly #wire: Wire;
  readonly #connection: Connection;
  #established: Established | undefined;
  /** Plaintext that has come and has not been read. */
  #plain: Buffer[] = [];
  /** Records that the wire has not taken. */
  #unsent: Buffer = NOTHING;
  #sent = 0;
  /** How the peer has ended; 0: it has not. */
  #ended = 0;
  failure: LayerFailure | undefined;
  alertReceived: number | undefined;
  alertSent: number | undefined;

  /** `wire`: the end's, before this layer is pushed. */
  constructor(wire: Wire, connection: Connection) {
    this.#wire = wire;
    this.#connection = connection;
  }

  /** What both sides agreed on, in the words of SSL 3.0. Secret. */
  get established(): Established | undefined {
    return this.#established;
  }

  handshake(): HandshakeStep {
    this.flush();
    while (!this.#established && this.#ended === 0) if (!this.#receive()) break;
    this.flush();
    if (this.#established) return "up";
    if (this.#ended === 0) return "waiting";
    if (this.#ended === BROKEN) return this.failure!;
    const code = this.#ended === RESET ? "ECONNRESET" : "EOF";
    this.failure = { cause: "network", alert: ALERTS.handshake_failure, code };
    return this.failure;
  }

  read(at: number, room: number): number {
    while (this.#plain.length === 0) {
      if (this.#ended !== 0) return this.#ended;
      if (!this.#receive()) return this.#ended === 0 ? NOTHING_NOW : this.#ended;
      this.flush();
    }
    let copied = 0;
    while (copied < room && this.#plain.length > 0) {
      const [bytes] = this.#plain;
      const length = Math.min(bytes!.length, room - copied);
      libc.memcpy(at + copied, addressOf(bytes!), length);
      copied += length;
      if (length === bytes!.length) this.#plain.shift();
      else this.#plain[0] = bytes!.subarray(length);
    }
    return copied;
  }

  write(at: number, length: number): boolean {
    this.#connection.send(copyFrom(at, length));
    return this.flush();
  }

  flush(): boolean {
    this.#collect();
    while (this.#sent < this.#unsent.length) {
      if (!this.#wire.flush()) return false;
      const length = Math.min(this.#unsent.length - this.#sent, SCRATCH);
      this.#wire.write(addressOf(this.#unsent) + this.#sent, length);
      this.#sent += length;
    }
    // An idle connection holds no record.
    [this.#unsent, this.#sent] = [NOTHING, 0];
    return this.#wire.flush();
  }

  finish(): void {
    // In the middle of a handshake, and after an alert, there is nothing to say it with.
    if (!this.#established || this.failure) return;
    this.#connection.close();
    this.alertSent ??= ALERTS.close_notify;
    this.#collect();
  }

  get isBroken(): boolean {
    return this.#wire.isBroken;
  }

  agreed(): Agreed {
    if (!this.#established) throw new InvariantError("SSL 3.0 was asked what it agreed on before it had");
    const { suite, group, resumed } = this.#established;
    return { version: VERSIONS.SSLv3, suite: suite.name, group, alpn: undefined, resumed };
  }

  told(): Told | undefined {
    const { chosen } = this.#connection;
    if (!chosen) return undefined;
    const { suite, group, resumed, finished } = chosen;
    return { version: VERSIONS.SSLv3, suite: suite.name, group, alpn: undefined, resumed, finished };
  }

  /** Its wire goes along. */
  moveTo(): void {}

  free(): void {
    this.#plain = [];
    this.#unsent = NOTHING;
    this.#sent = 0;
    this.#ended = RESET;
  }

  /** Puts what the connection has to say behind what waits to be sent. */
  #collect(): void {
    const more = this.#connection.take();
    if (more.length === 0) return;
    const bytes = memory(this.#unsent.length - this.#sent + more.length);
    this.#unsent.copy(bytes, 0, this.#sent);
    more.copy(bytes, this.#unsent.length - this.#sent);
    this.#unsent = bytes;
    this.#sent = 0;
  }

  /** Reads once. False: nothing came, or the peer has ended. */
  #receive(): boolean {
    const length = this.#wire.read(incoming.at, READ);
    if (length === END) this.#ended = TRUNCATED;
    else if (length < 0) this.#ended = length;
    if (length <= 0) return false;
    try {
      // A copy: the connection decrypts in place and keeps what it has not read to its end.
      for (const event of this.#connection.receive(Buffer.from(incoming.bytes.subarray(0, length)))) this.#on(event);
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      this.#fail({ cause: "protocol", alert: error.alert, code: codeOf("", error.alert), detail: error.message });
      this.alertSent = error.alert;
    }
    return true;
  }

  #on(event: ConnectionEvent): void {
    switch (event.kind) {
      case "open":
        this.#established = event.established;
        break;
      case "data":
        this.#plain.push(event.bytes);
        break;
      case "end":
        this.alertReceived = ALERTS.close_notify;
        this.#ended = END;
        break;
      case "alert":
        this.alertReceived = event.description;
        this.#fail({
          cause: "alert",
          alert: event.description,
          code: codeOf("SSL/TLS_ALERT_", event.description),
        });
        break;
    }
  }

  #fail(failure: LayerFailure): void {
    this.failure = failure;
    this.#ended = BROKEN;
  }
}

/** As OpenSSL's code for the same: "ERR_SSL_BAD_RECORD_MAC". */
function codeOf(what: string, alert: number): string {
  return `ERR_SSL_${what}${nameAlert(alert).toUpperCase()}`;
}
