import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { PeerError } from "../errors.ts";
import type { Connection, ConnectionEvent, Established } from "../ssl3/connection.ts";
import { TRUNCATED } from "../streams/relay.ts";
import { ALERTS, nameAlert } from "../wire/alert.ts";
import { STREAM } from "./leg.ts";
import { codeOfAlert } from "./openssl-errors.ts";

/** ms between two checks whether the bytes before a truncation have been read. */
const LOOK = 20;

/**
 * The plaintext of one SSL 3.0 connection. It moves bytes between the SSL 3.0 code and the socket, and behaves like Node's
 * TLSSocket: errors have OpenSSL's codes, "end" is the peer's close_notify, and ending the stream sends one.
 */
export class Ssl3Stream extends Duplex {
  readonly #socket: Socket;
  readonly #connection: Connection;
  readonly #opened = Promise.withResolvers<Established>();
  /** close_notify has come. */
  #isEnded = false;
  /** A FIN has come. */
  #isFinished = false;

  constructor(socket: Socket, connection: Connection) {
    super(STREAM);
    this.#socket = socket;
    this.#connection = connection;
    this.#opened.promise.catch(() => {});
    // Never removed: an error before the relay begins must not end the process.
    this.on("error", () => {});
    socket.on("data", (bytes: Buffer) => this.receive(bytes));
    socket.once("end", () => this.#onFin());
    socket.once("error", (error) => this.destroy(error));
    socket.once("close", () => this.#onClose());
    this.#flush();
    socket.resume();
  }

  /** Resolves when the handshake is over; rejects with why it failed. */
  get opened(): Promise<Established> {
    return this.#opened.promise;
  }

  /** Also takes the bytes that were read before the stream was made. */
  receive(bytes: Buffer): void {
    try {
      for (const event of this.#connection.receive(bytes)) {
        if (this.destroyed) return;
        this.#on(event);
      }
      this.#flush();
    } catch (error) {
      this.#flush();
      this.destroy(error instanceof PeerError ? withCode(error) : (error as Error));
    }
  }

  #on(event: ConnectionEvent): void {
    if (event.kind === "open") {
      this.#flush();
      this.#opened.resolve(event.established);
    } else if (event.kind === "data") {
      if (!this.push(event.bytes)) this.#socket.pause();
    } else if (event.kind === "end") {
      this.#isEnded = true;
      this.push(null);
    } else if (event.description !== ALERTS.close_notify) {
      const message = `The peer ended the connection: ${nameAlert(event.description)}`;
      this.destroy(Object.assign(new Error(message), { code: codeOfAlert(event.description) }));
    } else this.destroy(Object.assign(new Error("The peer ended the handshake"), { code: "ECONNRESET" }));
  }

  /** Waits until the bytes before the FIN have been read: an error would discard them. */
  #onFin(): void {
    this.#isFinished = true;
    if (this.#isEnded || this.destroyed) return;
    if (this.readableLength > 0) {
      setTimeout(() => this.#onFin(), LOOK);
      return;
    }
    this.destroy(Object.assign(new Error("The peer ended the connection without close_notify"), { code: TRUNCATED }));
  }

  /** If both directions have ended, received bytes may still be unread: the stream closes once they have been read. */
  #onClose(): void {
    if (!this.writableFinished || !(this.#isEnded || this.#isFinished)) this.destroy();
  }

  #flush(): boolean {
    const bytes = this.#connection.take();
    return bytes.length === 0 || this.#socket.destroyed || this.#socket.write(bytes);
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#connection.send(bytes);
    if (this.#flush()) done();
    else this.#socket.once("drain", () => done());
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#connection.close();
    this.#socket.end(this.#connection.take(), () => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#opened.reject(error ?? Object.assign(new Error("The connection ended"), { code: "ECONNRESET" }));
    this.#socket.destroy();
    done(error);
  }

  /** As a socket's: calls `expire` after `ms` without a byte on the wire. */
  setTimeout(ms: number, expire?: () => void): this {
    this.#socket.setTimeout(ms, expire);
    return this;
  }

  /** As a socket's: closes the connection once all that was written has been sent. */
  destroySoon(): void {
    if (!this.writableEnded) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }
}

/** OpenSSL names its errors after their cause, as the alerts do. */
function withCode(error: PeerError): Error {
  return Object.assign(new Error(error.message, { cause: error }), {
    code: `ERR_SSL_${nameAlert(error.alert).toUpperCase()}`,
  });
}
