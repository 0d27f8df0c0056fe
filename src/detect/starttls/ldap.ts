import { PeerError } from "../../errors.ts";
import { Accumulator } from "../../wire/accumulator.ts";
import { ALERTS } from "../../wire/alert.ts";
import { blankDialogue, type Dialogue, MORE, NO, type Progress, Script } from "./dialogue.ts";

/** BER tags of RFC 4511, appendix B. */
const TAG = {
  sequence: 0x30,
  integer: 0x02,
  enumerated: 0x0a,
  bind: 0x60,
  bound: 0x61,
  search: 0x63,
  request: 0x77,
  response: 0x78,
  name: 0x80,
  sasl: 0xa3,
} as const;
/** RFC 4511, section 4.14.1. */
const START_TLS = Buffer.from("1.3.6.1.4.1.1466.20037");
/** What is read of a message: enough for the request, for any answer's result, and for the kind of a bind. */
const HEAD = 512;
const SUCCESS = 0;

/**
 * LDAP: the client asks with an extended request. Messages are stepped over by their lengths, so that a client may search
 * before it asks. A SASL bind may put a layer of its own around what follows, which ends the watching.
 */
export function openLdap(): Dialogue {
  const script = new Script();
  const client = new MessageReader();
  const server = new MessageReader();
  let asked: number | undefined;
  let sasl = false;
  const dialogue = blankDialogue("LDAP", feed);
  return dialogue;

  function feed(side: "client" | "server", bytes: Buffer): Progress {
    try {
      return side === "client" ? listen(bytes) : hear(bytes);
    } catch (error) {
      if (dialogue.certain || !(error instanceof PeerError)) throw error;
      return NO;
    }
  }

  function listen(bytes: Buffer): Progress {
    if (bytes.length > 0) script.add(dialogue.answers, bytes);
    for (let at = 0; at < bytes.length; ) {
      if (asked !== undefined) throw broken("The client sent more behind its request for TLS");
      const { end, message } = client.read(bytes, at);
      at = end;
      if (!message) continue;
      dialogue.certain = true;
      if (message.operation === TAG.bind) sasl = isSasl(message.body);
      if (message.operation === TAG.request && asksForTls(message.body)) asked = message.id;
      else if (message.operation !== TAG.bind && message.operation !== TAG.search) script.lose();
    }
    return MORE;
  }

  function hear(bytes: Buffer): Progress {
    // A server that speaks first is none of LDAP.
    if (!dialogue.certain && bytes.length > 0) return NO;
    for (let at = 0; at < bytes.length; ) {
      const { end, message } = server.read(bytes, at);
      at = end;
      if (!message) continue;
      if (!PARTS.includes(message.operation)) dialogue.answers += 1;
      const success = resultOf(message.body) === SUCCESS;
      if (message.operation === TAG.bound && sasl && success) return NO;
      if (asked === undefined || message.id !== asked || message.operation !== TAG.response) continue;
      asked = undefined;
      dialogue.offered = success;
      if (success) {
        if (at < bytes.length) throw broken("The server sent more behind its agreement to TLS");
        return { kind: "upgrade", at, agreement: { protocol: dialogue.protocol, next: "tls", script: script.steps } };
      }
      dialogue.refused = true;
    }
    return MORE;
  }
}

/** An entry, a reference and an intermediate response: an answer's end is still to come. */
const PARTS: readonly number[] = [0x64, 0x73, 0x79];

interface Message {
  readonly id: number;
  readonly operation: number;
  /** As much of the operation's contents as is looked at. */
  readonly body: Buffer;
}

/** Cuts one direction into LDAPMessages, and keeps only the beginning of each. */
class MessageReader {
  #head = new Accumulator();
  /** Of the whole message; undefined: not known yet. */
  #length: number | undefined;
  #seen = 0;

  /** Reads up to the message's end: where that is, and the message once it is whole. */
  read(bytes: Buffer, from: number): { readonly end: number; readonly message?: Message } {
    let at = from;
    // A tag, and up to five bytes of length.
    while (this.#length === undefined && at < bytes.length) {
      this.#head.append(bytes.subarray(at, at + 1));
      at += 1;
      this.#seen += 1;
      if (this.#head.bytes[0] !== TAG.sequence) throw broken("A message is none of LDAP");
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
  if (!id || id.value < 1 || id.value > 4 || id.end + id.value >= bytes.length) throw broken("A message has no number");
  const operation = id.end + id.value;
  const length = lengthAt(bytes, operation + 1);
  if (!length) throw broken("A message has no operation");
  const body = Buffer.from(bytes.subarray(length.end, length.end + length.value));
  return { id: bytes.readUIntBE(id.end, id.value), operation: bytes[operation]!, body };
}

/** RFC 4511, section 5.1: definite lengths only. Undefined: there is more of it to come. */
function lengthAt(bytes: Buffer, at: number): { readonly value: number; readonly end: number } | undefined {
  const first = bytes[at];
  if (first === undefined) return undefined;
  if (first < 0x80) return { value: first, end: at + 1 };
  const size = first & 0x7f;
  if (size === 0 || size > 4) throw broken("A message's length is not one of LDAP");
  const end = at + 1 + size;
  return bytes.length < end ? undefined : { value: bytes.readUIntBE(at + 1, size), end };
}

function asksForTls(body: Buffer): boolean {
  const length = body[0] === TAG.name ? lengthAt(body, 1) : undefined;
  return length !== undefined && body.subarray(length.end, length.end + length.value).equals(START_TLS);
}

/** BindRequest: a version, a name, then the kind of authentication. */
function isSasl(body: Buffer): boolean {
  let at = 0;
  for (let field = 0; field < 2; field++) {
    const length = lengthAt(body, at + 1);
    // A name so long is not read to its end; a layer that nobody saw begin would end the session.
    if (!length) return false;
    at = length.end + length.value;
  }
  return body[at] === TAG.sasl;
}

/** LDAPResult begins with its code. */
function resultOf(body: Buffer): number | undefined {
  return body[0] === TAG.enumerated && body[1] === 1 ? body[2] : undefined;
}

function broken(message: string): PeerError {
  return new PeerError(message, ALERTS.unexpected_message);
}
