import { timingSafeEqual } from "node:crypto";
import { InvariantError, PeerError } from "../errors.ts";
import { ALERTS } from "../wire/alert.ts";
import { CONTENT_TYPES } from "../wire/numbers.ts";
import { asSsl3Alert } from "./alerts.ts";
import type { Connection, Established, Happening } from "./connection.ts";
import { createTranscript, type Randoms, type Sender, type WriteKeys, writeKeys } from "./derivation.ts";
import { frame, type Message, MessageJoiner, type MessageName } from "./messages.ts";
import { RecordReader, RecordWriter, SSLV2_HELLO } from "./record-layer.ts";
import { advance, type Line, type State } from "./states.ts";
import type { Suite } from "./suites.ts";

/** What a side does in its role. */
export interface Role {
  /** A message has come, stands where it may and was hashed. Answers the line that it is. */
  hear(message: Message): void;
  /** The peer's Finished was right. */
  heardFinished(): void;
}

const WARNING = 1;
const FATAL = 2;
/** Warnings in a row that are passed over. */
const MAX_WARNINGS = 5;

/** What both roles have in common. The roles call what is public and not part of Connection. */
export class Conversation implements Connection {
  readonly #side: Sender;
  readonly #peer: Sender;
  readonly #role: Role;
  readonly #reader: RecordReader;
  readonly #writer = new RecordWriter();
  readonly #joiner = new MessageJoiner();
  readonly #transcript = createTranscript();
  #state: State = "opening";
  #isOver = false;
  #warnings = 0;
  #outgoing: Buffer[] = [];
  #established: Established | undefined;
  #certificateRequested = false;
  #secrets: { suite: Suite; master: Buffer; randoms: Randoms; keys: Record<Sender, WriteKeys> } | undefined;

  constructor(side: Sender, createRole: (conversation: Conversation) => Role) {
    this.#side = side;
    this.#peer = side === "client" ? "server" : "client";
    this.#reader = new RecordReader(side === "server" ? "hello" : "version");
    this.#role = createRole(this);
  }

  *receive(bytes: Buffer): Generator<Happening, void> {
    if (this.#isOver) return;
    try {
      this.#reader.push(bytes);
      for (;;) {
        const record = this.#reader.next();
        if (!record) return;
        yield* this.#hearRecord(record.contentType, record.content);
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

  *#hearRecord(contentType: number, content: Buffer): Generator<Happening, void> {
    if (contentType !== CONTENT_TYPES.handshake && this.#joiner.isBetween) {
      throw new PeerError("Cannot go on: another record interrupts a handshake message", ALERTS.unexpected_message);
    }
    if (contentType === CONTENT_TYPES.alert) yield* this.#hearAlert(content);
    else if (contentType === CONTENT_TYPES.application_data) {
      this.#advance(this.#peer, "application_data");
      if (content.length === 0) return;
      this.#warnings = 0;
      yield { kind: "data", bytes: content };
    } else if (contentType === CONTENT_TYPES.change_cipher_spec) this.#hearSwitch(content);
    // Hashed without its length: RFC 5246, appendix E.2.
    else if (contentType === SSLV2_HELLO)
      this.#hearMessage({ name: "client_hello", body: content, framed: content.subarray(2) });
    else yield* this.#hearHandshake(content);
  }

  *#hearHandshake(content: Buffer): Generator<Happening, void> {
    this.#joiner.push(content);
    for (let message = this.#joiner.next(); message; message = this.#joiner.next()) {
      const before = this.#established;
      this.#hearMessage(message);
      if (this.#established && !before) yield { kind: "open", established: this.#established };
    }
  }

  #hearMessage(message: Message): void {
    if (message.name === "finished") {
      this.#hearFinished(message);
      return;
    }
    if (message.name === "certificate_verify" || (message.name === "client_hello" && this.#state !== "opening")) {
      throw this.#unexpected(message.name);
    }
    // The ServerHello's line depends on what is in it: the role says which. All three may stand in the same place.
    if (message.name !== "server_hello") this.#advance(this.#peer, message.name);
    else if (!advance(this.#state, this.#peer, "server_hello: rsa")) throw this.#unexpected(message.name);
    // Between handshakes it is no part of the next: RFC 6101, section 5.6.1.1.
    if (message.name === "hello_request") return;
    if (message.name === "certificate_request") this.#certificateRequested = true;
    this.#transcript.add(message.framed);
    this.#role.hear(message);
  }

  #hearFinished({ body, framed }: Message): void {
    this.#advance(this.#peer, "finished");
    const expected = this.#transcript.finished(this.#peer, this.#secretsNow().master);
    if (body.length !== expected.length || !timingSafeEqual(body, expected)) {
      throw new PeerError(`Cannot go on: the ${this.#peer}'s Finished is wrong`, ALERTS.handshake_failure);
    }
    this.#transcript.add(framed);
    this.#role.heardFinished();
  }

  #hearSwitch(content: Buffer): void {
    if (content.length !== 1 || content[0] !== 1) {
      throw new PeerError("Cannot read a ChangeCipherSpec: it is not one byte of 1", ALERTS.illegal_parameter);
    }
    this.#advance(this.#peer, "change_cipher_spec");
    const { suite, keys } = this.#secretsNow();
    this.#reader.protect(suite, keys[this.#peer]);
  }

  *#hearAlert(content: Buffer): Generator<Happening, void> {
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
      throw new PeerError("Cannot go on: only warnings come", ALERTS.unexpected_message);
    }
  }

  /** What is heard but said by nobody that follows RFC 6101 is the peer's fault; what we say is our own. */
  #advance(sender: Sender, line: Line): void {
    const next = advance(this.#state, sender, line);
    if (next === undefined) {
      if (sender === this.#side) throw new InvariantError(`Cannot say ${line} in state ${this.#state}`);
      throw this.#unexpected(line);
    }
    this.#state = next;
  }

  #unexpected(line: string): PeerError {
    return new PeerError(
      `Cannot go on: the ${this.#peer} said ${line} in state ${this.#state}`,
      ALERTS.unexpected_message,
    );
  }

  #secretsNow() {
    if (!this.#secrets) throw new InvariantError(`Cannot use keys in state ${this.#state}: there are none`);
    return this.#secrets;
  }

  #write(contentType: number, content: Uint8Array): void {
    this.#outgoing.push(...this.#writer.write(contentType, content));
  }

  #writeAlert(level: number, description: number): void {
    this.#write(CONTENT_TYPES.alert, Buffer.from([level, description]));
  }

  /** Says one of our messages. */
  say(name: Exclude<MessageName, "finished" | "server_hello">, body: Uint8Array): void {
    this.#sayAs(name as Line, name, body);
  }

  /** Says our ServerHello; `line` is what it means. */
  sayServerHello(line: Line, body: Uint8Array): void {
    this.#sayAs(line, "server_hello", body);
    this.#reader.agree();
  }

  /** A ServerHello was heard, and means `line`. */
  heardServerHello(line: Line): void {
    this.#advance(this.#peer, line);
    this.#reader.agree();
  }

  #sayAs(line: Line, name: MessageName, body: Uint8Array): void {
    this.#advance(this.#side, line);
    const framed = frame(name, body);
    this.#transcript.add(framed);
    this.#write(CONTENT_TYPES.handshake, framed);
  }

  /** RFC 6101, section 5.6.6: instead of a Certificate message. */
  sayNoCertificate(): void {
    this.#advance(this.#side, "no_certificate");
    this.#writeAlert(WARNING, ALERTS.no_certificate);
  }

  /** Master secret and suite are known: both directions may now be switched. */
  agree(suite: Suite, master: Buffer, randoms: Randoms): void {
    this.#secrets = { suite, master, randoms, keys: writeKeys(master, randoms, suite) };
  }

  /** ChangeCipherSpec, and our Finished behind it. */
  sayFinished(): void {
    const { suite, master, keys } = this.#secretsNow();
    this.#advance(this.#side, "change_cipher_spec");
    this.#write(CONTENT_TYPES.change_cipher_spec, Buffer.from([1]));
    this.#writer.protect(suite, keys[this.#side]);
    this.#sayAs("finished", "finished", this.#transcript.finished(this.#side, master));
  }

  /** The handshake is over, on both sides. */
  open(agreed: Omit<Established, "clientRandom" | "master">): void {
    const { randoms, master } = this.#secretsNow();
    this.#established = { ...agreed, clientRandom: randoms.client, master };
  }
}
