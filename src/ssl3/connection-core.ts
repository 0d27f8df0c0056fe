import { timingSafeEqual } from "node:crypto";
import { InvariantError, PeerError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import { CONTENT_TYPES } from "../wire/numbers.ts";
import { asSsl3Alert } from "./alerts.ts";
import type { Chosen, Connection, ConnectionEvent, Established } from "./connection.ts";
import { createTranscript, type Randoms, type WriteKeys, writeKeys } from "./derivation.ts";
import { frame, type Message, MessageJoiner, type MessageName } from "./messages.ts";
import { RecordReader, RecordWriter, SSLV2_HELLO } from "./record-layer.ts";
import { advance, type Move, type State } from "./states.ts";
import type { Suite } from "./suites.ts";

/** The part of a connection that depends on its role. */
export interface Role {
  /** Handles a message, which was allowed in this state and is already in the transcript. */
  onMessage(message: Message): void;
  /** The peer's Finished was correct. */
  onFinished(): void;
}

const WARNING = 1;
const FATAL = 2;
/** The most warnings in a row that are ignored. */
const MAX_WARNINGS = 5;
/** The most HelloRequests that are ignored, in all. */
const MAX_HELLO_REQUESTS = 20;
/** The most records without data, in all and later between data: a message may be cut into as many as it has bytes. */
const MAX_RECORDS = 150_000;

/** The part of a connection that both roles share. The public methods that Connection does not have are for the roles. */
export class ConnectionCore implements Connection {
  readonly #side: Side;
  readonly #peer: Side;
  readonly #role: Role;
  readonly #reader: RecordReader;
  readonly #writer = new RecordWriter();
  readonly #joiner = new MessageJoiner();
  readonly #transcript = createTranscript();
  #state: State = "opening";
  #isOver = false;
  #warnings = 0;
  #helloRequests = 0;
  #records = 0;
  #outgoing: Buffer[] = [];
  #established: Established | undefined;
  #certificateRequested = false;
  #chosen: Chosen | undefined;
  #secrets: { suite: Suite; master: Buffer; randoms: Randoms; keys: Record<Side, WriteKeys> } | undefined;

  constructor(side: Side, createRole: (connection: ConnectionCore) => Role) {
    this.#side = side;
    this.#peer = side === "client" ? "server" : "client";
    this.#reader = new RecordReader(side === "server" ? "hello" : "version");
    this.#role = createRole(this);
  }

  *receive(bytes: Buffer): Generator<ConnectionEvent, void> {
    if (this.#isOver) return;
    try {
      this.#reader.push(bytes);
      for (;;) {
        const record = this.#reader.next();
        if (!record) return;
        yield* this.#onRecord(record.contentType, record.content);
        if (this.#isOver) return;
      }
    } catch (error) {
      this.#isOver = true;
      if (error instanceof PeerError) this.#writeAlert(FATAL, asSsl3Alert(error.alert));
      throw error;
    }
  }

  send(bytes: Uint8Array): void {
    if (this.#isOver || bytes.length === 0) return;
    this.#advance(this.#side, "application_data");
    this.#write(CONTENT_TYPES.application_data, bytes);
  }

  close(): void {
    if (this.#isOver) return;
    this.#advance(this.#side, "close_notify");
    this.#writeAlert(WARNING, ALERTS.close_notify);
  }

  take(): Buffer {
    const bytes = Buffer.concat(this.#outgoing);
    this.#outgoing = [];
    return bytes;
  }

  get certificateRequested(): boolean {
    return this.#certificateRequested;
  }

  get chosen(): Chosen | undefined {
    return this.#chosen;
  }

  *#onRecord(contentType: number, content: Buffer): Generator<ConnectionEvent, void> {
    this.#records += 1;
    if (this.#records > MAX_RECORDS) {
      const reason = `The ${this.#peer} sent more than ${MAX_RECORDS} records without data`;
      throw new PeerError(reason, ALERTS.unexpected_message);
    }
    if (contentType !== CONTENT_TYPES.handshake && this.#joiner.isIncomplete) {
      throw new PeerError(
        "Cannot read a handshake message: a record of another type interrupts it",
        ALERTS.unexpected_message,
      );
    }
    if (contentType === CONTENT_TYPES.alert) yield* this.#onAlert(content);
    else if (contentType === CONTENT_TYPES.application_data) {
      this.#advance(this.#peer, "application_data");
      if (content.length === 0) return;
      this.#warnings = 0;
      this.#records = 0;
      yield { kind: "data", bytes: content };
    } else if (contentType === CONTENT_TYPES.change_cipher_spec) this.#onChangeCipherSpec(content);
    // Hashed without its length: RFC 5246, appendix E.2.
    else if (contentType === SSLV2_HELLO)
      this.#onMessage({ name: "client_hello", body: content, framed: content.subarray(2) });
    else yield* this.#onHandshake(content);
  }

  *#onHandshake(content: Buffer): Generator<ConnectionEvent, void> {
    this.#joiner.push(content);
    for (let message = this.#joiner.next(); message; message = this.#joiner.next()) {
      const before = this.#established;
      this.#onMessage(message);
      if (this.#established && !before) yield { kind: "open", established: this.#established };
    }
  }

  #onMessage(message: Message): void {
    if (message.name === "finished") {
      this.#onFinished(message);
      return;
    }
    if (message.name === "certificate_verify" || (message.name === "client_hello" && this.#state !== "opening")) {
      throw this.#unexpected(message.name);
    }
    // The contents of the ServerHello decide which of three moves it is; the role finds out. All three need the same state.
    if (message.name !== "server_hello") this.#advance(this.#peer, message.name);
    else if (!advance(this.#state, this.#peer, "server_hello: rsa")) throw this.#unexpected(message.name);
    // RFC 6101, section 5.6.1.1: it is not part of any handshake's hashes.
    if (message.name === "hello_request") {
      this.#ignoreHelloRequest();
      return;
    }
    if (message.name === "certificate_request") this.#certificateRequested = true;
    this.#transcript.add(message.framed);
    this.#role.onMessage(message);
  }

  #ignoreHelloRequest(): void {
    this.#helloRequests += 1;
    if (this.#helloRequests <= MAX_HELLO_REQUESTS) return;
    const reason = `The ${this.#peer} sent more than ${MAX_HELLO_REQUESTS} HelloRequests`;
    throw new PeerError(reason, ALERTS.unexpected_message);
  }

  #onFinished({ body, framed }: Message): void {
    this.#advance(this.#peer, "finished");
    const expected = this.#transcript.finished(this.#peer, this.#requireSecrets().master);
    if (body.length !== expected.length || !timingSafeEqual(body, expected)) {
      throw new PeerError(`The ${this.#peer}'s Finished does not match the handshake`, ALERTS.handshake_failure);
    }
    this.#transcript.add(framed);
    this.#role.onFinished();
  }

  #onChangeCipherSpec(content: Buffer): void {
    if (content.length !== 1 || content[0] !== 1) {
      throw new PeerError("Cannot read a ChangeCipherSpec: it is not the one byte 1", ALERTS.illegal_parameter);
    }
    this.#advance(this.#peer, "change_cipher_spec");
    const { suite, keys } = this.#requireSecrets();
    this.#reader.protect(suite, keys[this.#peer]);
  }

  *#onAlert(content: Buffer): Generator<ConnectionEvent, void> {
    const [level, description] = content;
    if (content.length !== 2 || (level !== WARNING && level !== FATAL)) {
      throw new PeerError("Cannot read an alert: it is not a level and a description", ALERTS.illegal_parameter);
    }
    const closes = description === ALERTS.close_notify;
    if (level === FATAL || (closes && !this.#established)) {
      this.#isOver = true;
      yield { kind: "alert", description: description! };
      return;
    }
    if (closes) {
      this.#advance(this.#peer, "close_notify");
      yield { kind: "end" };
      return;
    }
    this.#warnings += 1;
    if (this.#warnings > MAX_WARNINGS) {
      throw new PeerError(
        `The ${this.#peer} sent more than ${MAX_WARNINGS} warnings in a row`,
        ALERTS.unexpected_message,
      );
    }
  }

  /** A move that the state does not allow: the peer broke RFC 6101, or, if it is our own, this is a bug. */
  #advance(sender: Side, move: Move): void {
    const next = advance(this.#state, sender, move);
    if (next === undefined) {
      if (sender === this.#side) throw new InvariantError(`Cannot send ${move} in state ${this.#state}`);
      throw this.#unexpected(move);
    }
    this.#state = next;
  }

  #unexpected(move: string): PeerError {
    return new PeerError(
      `The ${this.#peer} sent ${move} in state "${this.#state}", where it is not allowed`,
      ALERTS.unexpected_message,
    );
  }

  #requireSecrets() {
    if (!this.#secrets) throw new InvariantError(`Cannot use keys in state ${this.#state}: there are none`);
    return this.#secrets;
  }

  #write(contentType: number, content: Uint8Array): void {
    this.#outgoing.push(...this.#writer.write(contentType, content));
  }

  #writeAlert(level: number, description: number): void {
    this.#write(CONTENT_TYPES.alert, Buffer.from([level, description]));
  }

  /** Sends a handshake message. */
  sendMessage(name: Exclude<MessageName, "finished" | "server_hello">, body: Uint8Array): void {
    this.#sendMove(name as Move, name, body);
  }

  /** Sends the ServerHello, which is the move `move`. */
  sendServerHello(move: Move, body: Uint8Array, chosen: Omit<Chosen, "finished">): void {
    this.#sendMove(move, "server_hello", body);
    this.#chosen = { ...chosen, finished: false };
    this.#reader.requireSsl3();
  }

  /** Accepts the server's ServerHello, which is the move `move`. */
  acceptServerHello(move: Move): void {
    this.#advance(this.#peer, move);
    this.#reader.requireSsl3();
  }

  #sendMove(move: Move, name: MessageName, body: Uint8Array): void {
    this.#advance(this.#side, move);
    const framed = frame(name, body);
    this.#transcript.add(framed);
    this.#write(CONTENT_TYPES.handshake, framed);
  }

  /** RFC 6101, section 5.6.6: an alert instead of a Certificate message. */
  sendNoCertificate(): void {
    this.#advance(this.#side, "no_certificate");
    this.#writeAlert(WARNING, ALERTS.no_certificate);
  }

  /** Computes the keys of both directions. */
  setSecrets(suite: Suite, master: Buffer, randoms: Randoms): void {
    this.#secrets = { suite, master, randoms, keys: writeKeys(master, randoms, suite) };
  }

  /** Sends ChangeCipherSpec and Finished. */
  sendFinished(): void {
    const { suite, master, keys } = this.#requireSecrets();
    this.#advance(this.#side, "change_cipher_spec");
    this.#write(CONTENT_TYPES.change_cipher_spec, Buffer.from([1]));
    this.#writer.protect(suite, keys[this.#side]);
    this.#sendMove("finished", "finished", this.#transcript.finished(this.#side, master));
    if (this.#chosen) this.#chosen = { ...this.#chosen, finished: true };
  }

  /** The handshake is complete on both sides. */
  complete(agreed: Omit<Established, "clientRandom" | "master">): void {
    const { randoms, master } = this.#requireSecrets();
    this.#established = { ...agreed, clientRandom: randoms.client, master };
  }
}
