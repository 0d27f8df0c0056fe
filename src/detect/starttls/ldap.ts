import { PeerError } from "../../errors.ts";
import { Accumulator } from "../../wire/accumulator.ts";
import { ALERTS } from "../../wire/alert.ts";
import {
  type Dialogue,
  DialogueReader,
  MORE,
  NO,
  type Progress,
  Script,
  sentAfterAgreement,
  sentAfterRequest,
} from "./dialogue.ts";

/** BER tags of RFC 4511, appendix B. */
const TAG = {
  sequence: 0x30,
  integer: 0x02,
  enumerated: 0x0a,
  bindRequest: 0x60,
  bindResponse: 0x61,
  searchRequest: 0x63,
  searchResultEntry: 0x64,
  searchResultReference: 0x73,
  extendedRequest: 0x77,
  extendedResponse: 0x78,
  intermediateResponse: 0x79,
  /** Of an extended request: its name. */
  requestName: 0x80,
  /** Of a bind request: SASL credentials. */
  sasl: 0xa3,
} as const;
/** RFC 4511, section 4.14.1. */
const START_TLS = Buffer.from("1.3.6.1.4.1.1466.20037");
/** How many bytes of a message are kept: enough for the request, the result of an answer and the kind of a bind. */
const HEAD = 512;
const SUCCESS = 0;
/** Bytes that a length takes at most, as libraries of servers read it. */
const MAX_LENGTH = 8;
const MAX_MESSAGE = 0xffff_ffff;

/**
 * LDAP: the client asks with an extended request. Other messages are skipped by their lengths, so that a client may search
 * before it asks. After a SASL bind everything may be wrapped in a security layer, so the dialogue ends there.
 */
export function openLdap(): Dialogue {
  return new LdapDialogue();
}

class LdapDialogue extends DialogueReader {
  readonly protocol = "LDAP";
  readonly #script = new Script();
  readonly #client = new MessageReader();
  readonly #server = new MessageReader();
  /** The messageID of the request for TLS that has no answer yet. */
  #asked: number | undefined;
  /** The client has asked to be let in. */
  #bound = false;
  /** The last bind was a SASL bind. */
  #sasl = false;

  override get awaiting(): boolean {
    return this.#asked !== undefined;
  }

  override get inBody(): boolean {
    return this.#client.inMessage;
  }

  override get beyond(): boolean {
    return this.#bound || this.#script.isGivenUp;
  }

  protected override onClient(bytes: Buffer): Progress {
    this.#script.add(this.answers, bytes);
    for (let at = 0; at < bytes.length; ) {
      if (this.#asked !== undefined) throw sentAfterRequest();
      const { end, message } = this.#client.read(bytes, at);
      at = end;
      if (!message) continue;
      this.certain = true;
      if (message.operation === TAG.bindRequest) {
        this.#bound = true;
        this.#sasl = isSasl(message.body);
      }
      if (message.operation === TAG.extendedRequest && asksForTls(message.body)) this.#asked = message.id;
      else if (!REPEATABLE.includes(message.operation)) this.#script.giveUp();
    }
    return MORE;
  }

  protected override onServer(bytes: Buffer): Progress {
    // The client speaks first.
    if (!this.certain) return NO;
    for (let at = 0; at < bytes.length; ) {
      const { end, message } = this.#server.read(bytes, at);
      at = end;
      const progress = message ? this.#onResponse(message, at) : MORE;
      if (progress.kind === "upgrade" && at < bytes.length) throw sentAfterAgreement();
      if (progress.kind !== "more") return progress;
    }
    return MORE;
  }

  #onResponse({ id, operation, body }: Message, at: number): Progress {
    if (!INTERIM.includes(operation)) this.answers += 1;
    const success = resultOf(body) === SUCCESS;
    if (operation === TAG.bindResponse && this.#sasl && success) return NO;
    if (id !== this.#asked || operation !== TAG.extendedResponse) return MORE;
    this.#asked = undefined;
    this.offered = success;
    if (!success) this.refused = true;
    return success ? this.upgrade(at, this.#script) : MORE;
  }
}

/** A client may send these to another connection again. */
const REPEATABLE: readonly number[] = [TAG.bindRequest, TAG.searchRequest];
/** The end of the answer is still to come after one of these. */
const INTERIM: readonly number[] = [TAG.searchResultEntry, TAG.searchResultReference, TAG.intermediateResponse];

interface Message {
  readonly id: number;
  readonly operation: number;
  /** The beginning of the operation's contents. */
  readonly body: Buffer;
}

/** Splits one direction into LDAPMessages and keeps the beginning of each. */
class MessageReader {
  #head = new Accumulator();
  /** The length of the whole message; undefined: not known yet. */
  #length: number | undefined;
  #seen = 0;

  get inMessage(): boolean {
    return this.#seen > 0;
  }

  /** Reads up to the message's end. Answers where it stopped, and the message once it is complete. */
  read(bytes: Buffer, from: number): { readonly end: number; readonly message?: Message } {
    let at = from;
    // One byte of tag and up to nine of length.
    while (this.#length === undefined && at < bytes.length) {
      this.#head.append(bytes.subarray(at, at + 1));
      at += 1;
      this.#seen += 1;
      if (this.#head.bytes[0] !== TAG.sequence) throw malformed("it does not begin with a SEQUENCE tag");
      const length = lengthAt(this.#head.bytes, 1);
      if (length) this.#length = length.end + length.value;
    }
    if (this.#length === undefined) return { end: at };
    const end = Math.min(bytes.length, at + this.#length - this.#seen);
    this.#head.append(bytes.subarray(at, Math.min(end, at + Math.max(0, HEAD - this.#head.length))));
    this.#seen += end - at;
    if (this.#seen < this.#length) return { end };
    const message = readMessage(this.#head.bytes);
    this.#head = new Accumulator();
    this.#length = undefined;
    this.#seen = 0;
    return { end, message };
  }
}

function readMessage(bytes: Buffer): Message {
  const start = lengthAt(bytes, 1)!.end;
  const id = bytes[start] === TAG.integer ? lengthAt(bytes, start + 1) : undefined;
  if (!id || id.value < 1 || id.value > 4 || id.end + id.value >= bytes.length)
    throw malformed("its messageID is not an INTEGER of 1 to 4 bytes");
  const operation = id.end + id.value;
  const length = lengthAt(bytes, operation + 1);
  if (!length) throw malformed("its protocolOp has no length");
  const body = Buffer.from(bytes.subarray(length.end, length.end + length.value));
  return { id: bytes.readUIntBE(id.end, id.value), operation: bytes[operation]!, body };
}

/** The BER length here; RFC 4511, section 5.1, allows definite lengths only. Undefined: it is not complete yet. */
function lengthAt(bytes: Buffer, at: number): { readonly value: number; readonly end: number } | undefined {
  const first = bytes[at];
  if (first === undefined) return undefined;
  if (first < 0x80) return { value: first, end: at + 1 };
  const size = first & 0x7f;
  if (size === 0 || size > MAX_LENGTH) throw malformed(`its length is indefinite, or above ${MAX_LENGTH} bytes`);
  const end = at + 1 + size;
  if (bytes.length < end) return undefined;
  // Zeros in front are not the shortest form, but servers take them.
  const value = bytes.subarray(at + 1, end).reduce((sum, byte) => sum * 256 + byte, 0);
  if (value > MAX_MESSAGE) throw malformed(`it is longer than ${MAX_MESSAGE} bytes`);
  return { value, end };
}

function asksForTls(body: Buffer): boolean {
  const length = body[0] === TAG.requestName ? lengthAt(body, 1) : undefined;
  return length !== undefined && body.subarray(length.end, length.end + length.value).equals(START_TLS);
}

/** A BindRequest has a version, a name, then the kind of authentication. */
function isSasl(body: Buffer): boolean {
  let at = 0;
  for (let field = 0; field < 2; field++) {
    const length = lengthAt(body, at + 1);
    // The name goes beyond the bytes that are kept.
    if (!length) return false;
    at = length.end + length.value;
  }
  return body[at] === TAG.sasl;
}

/** An LDAPResult begins with its code. */
function resultOf(body: Buffer): number | undefined {
  return body[0] === TAG.enumerated && body[1] === 1 ? body[2] : undefined;
}

function malformed(state: string): PeerError {
  return new PeerError(`Not an LDAP message: ${state}`, ALERTS.unexpected_message);
}
