import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { PeerError } from "../errors.ts";
import type { Connection, ConnectionEvent, Established } from "../ssl3/connection.ts";
import { TRUNCATED } from "../streams/relay.ts";
import { ALERTS, nameAlert } from "../wire/alert.ts";
import { STREAM } from "./leg.ts";
import { codeOfAlert } from "./openssl-errors.ts";

/** ms between two looks at whether what came before a cut has been read. */
const LOOK = 20;

/**
 * The plaintext of one SSL 3.0 connection: what moves bytes between the engine and the socket. It behaves as Node's
 * TLSSocket does: errors have OpenSSL's codes, `end` is the peer's close_notify, and ending it sends one.
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
    // Stays: an error between the handshake and the relay must not bring the process down.
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

  /** Bytes that were read before the stream was there come first. */
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

  /** What came before is read first: an error would throw it away. */
  #onFin(): void {
    this.#isFinished = true;
    if (this.#isEnded || this.destroyed) return;
    if (this.readableLength > 0) {
      setTimeout(() => this.#onFin(), LOOK);
      return;
    }
    this.destroy(Object.assign(new Error("The peer ended the connection without close_notify"), { code: TRUNCATED }));
  }

  /** When both directions have had their end, what came may still be unread: the stream closes when it has been. */
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

  /** As a socket's: without a byte on the wire for so many ms, `expire` is called. */
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

/** OpenSSL names its errors after what went wrong; the alert says as much. */
function withCode(error: PeerError): Error {
  return Object.assign(new Error(error.message, { cause: error }), {
    code: `ERR_SSL_${nameAlert(error.alert).toUpperCase()}`,
  });
}
