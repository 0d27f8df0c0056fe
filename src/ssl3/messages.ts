import { PeerError } from "../errors.ts";
import { nameVersion, VERSIONS } from "../vocabulary.ts";
import { Accumulator } from "../wire/accumulator.ts";
import { ALERTS } from "../wire/alert.ts";
import { EXTENSIONS, HANDSHAKE_TYPES, SIGNALLING_SUITES } from "../wire/numbers.ts";
import { Reader } from "../wire/reader.ts";
import { HANDSHAKE_HEADER } from "../wire/record.ts";
import { u8, u16, u16s, vector8, vector16, vector24 } from "../wire/writer.ts";

/**
 * The handshake messages of RFC 6101, section 5.6, and the largest body of each, in bytes. A hello may be one of TLS 1.3;
 * chains and lists of authorities grow long.
 */
export const LIMITS = {
  hello_request: 0,
  client_hello: 0x10000,
  server_hello: 0x1000,
  certificate: 0x40000,
  server_key_exchange: 0x4000,
  certificate_request: 0x40000,
  server_hello_done: 0,
  certificate_verify: 0x4000,
  client_key_exchange: 0x1000,
  finished: 36,
} as const;
export type MessageName = keyof typeof LIMITS;
const NAMES = new Map<number, MessageName>(
  (Object.keys(LIMITS) as MessageName[]).map((name) => [HANDSHAKE_TYPES[name], name]),
);

/** A message with its header, as it is hashed. */
export function frame(name: MessageName, body: Uint8Array): Buffer {
  return Buffer.concat([u8(HANDSHAKE_TYPES[name]), vector24(body)]);
}

export interface Message {
  readonly name: MessageName;
  readonly body: Buffer;
  /** The message with its header, as it is hashed. */
  readonly framed: Buffer;
}

/** Joins messages from the contents of handshake records: RFC 6101, section 5.6. */
export class MessageJoiner {
  #input: Buffer = Buffer.alloc(0);
  #message = new Accumulator();
  #wanted = HANDSHAKE_HEADER;

  /** Whether a message has begun and is not complete. */
  get isIncomplete(): boolean {
    return this.#message.length > 0 || this.#input.length > 0;
  }

  push(content: Buffer): void {
    this.#input = content;
  }

  /** The next complete message; undefined: push more. Throws PeerError. */
  next(): Message | undefined {
    const whole = this.#message.length === 0 ? this.#cutWhole() : undefined;
    if (whole) return whole;
    while (this.#input.length > 0) {
      const piece = this.#input.subarray(0, this.#wanted - this.#message.length);
      this.#input = this.#input.subarray(piece.length);
      this.#message.append(piece);
      const { bytes } = this.#message;
      const name = nameOf(bytes[0]!);
      if (this.#wanted === HANDSHAKE_HEADER && bytes.length === HANDSHAKE_HEADER) {
        this.#wanted += checkLength(name, bytes.readUIntBE(1, 3));
      }
      if (bytes.length < this.#wanted) continue;
      this.#message = new Accumulator();
      this.#wanted = HANDSHAKE_HEADER;
      return { name, body: bytes.subarray(HANDSHAKE_HEADER), framed: bytes };
    }
    return undefined;
  }

  /** The message that begins the input, if all of it is there: most records have whole messages, which need not be collected. */
  #cutWhole(): Message | undefined {
    if (this.#input.length < HANDSHAKE_HEADER) return undefined;
    const name = nameOf(this.#input[0]!);
    const length = HANDSHAKE_HEADER + checkLength(name, this.#input.readUIntBE(1, 3));
    if (this.#input.length < length) return undefined;
    // A copy: whoever keeps a part of it shall not keep all that was received with it.
    const framed = Buffer.from(this.#input.subarray(0, length));
    this.#input = this.#input.subarray(length);
    return { name, body: framed.subarray(HANDSHAKE_HEADER), framed };
  }
}

function nameOf(type: number): MessageName {
  const name = NAMES.get(type);
  if (name === undefined) {
    throw new PeerError(
      `Cannot read a handshake message: its type ${type} is unknown in SSL 3.0`,
      ALERTS.unexpected_message,
    );
  }
  return name;
}

function checkLength(name: MessageName, length: number): number {
  const limit = LIMITS[name];
  if (length > limit) {
    const message = `Cannot read ${name}: it has ${length} bytes, above ${limit}`;
    throw new PeerError(message, ALERTS.illegal_parameter);
  }
  return length;
}

export interface HelloOffer {
  readonly random: Uint8Array;
  /** Empty: no session to resume. */
  readonly sessionId: Uint8Array;
  readonly suites: readonly number[];
}

/** Writes a ClientHello of SSL 3.0, without extensions, which old servers may refuse. */
export function writeClientHello({ random, sessionId, suites }: HelloOffer): Buffer {
  return Buffer.concat([
    u16(VERSIONS.SSLv3),
    random,
    vector8(sessionId),
    // RFC 5746, section 3.3: the signal of secure renegotiation without an extension.
    vector16(u16s([...suites, SIGNALLING_SUITES.empty_renegotiation_info])),
    vector8(u8(0)),
  ]);
}

export interface ServerHello {
  readonly random: Buffer;
  readonly sessionId: Buffer;
  readonly suite: number;
  /** Whether the server answers the client's signal of RFC 5746. */
  readonly secureRenegotiation: boolean;
}

export function writeServerHello({ random, sessionId, suite, secureRenegotiation }: ServerHello): Buffer {
  const extension = Buffer.concat([u16(EXTENSIONS.renegotiation_info), vector16(vector8())]);
  return Buffer.concat([
    u16(VERSIONS.SSLv3),
    random,
    vector8(sessionId),
    u16(suite),
    u8(0),
    ...(secureRenegotiation ? [vector16(extension)] : []),
  ]);
}

export function readServerHello(body: Buffer): ServerHello {
  const reader = new Reader(body, "the ServerHello");
  const version = reader.u16();
  if (version !== VERSIONS.SSLv3) {
    throw new PeerError(`The server chose version ${nameVersion(version)}, not SSL 3.0`, ALERTS.protocol_version);
  }
  const random = reader.take(32);
  const sessionId = reader.vector8();
  const suite = reader.u16();
  const compression = reader.u8();
  const extensions = reader.remaining > 0 ? reader.vector16() : undefined;
  reader.end();
  if (sessionId.length > 32 || compression !== 0) {
    throw new PeerError(
      "The server chose a compression method, or a session ID longer than 32 bytes",
      ALERTS.illegal_parameter,
    );
  }
  if (extensions && extensions.length > 0) readExtensions(extensions);
  return { random, sessionId, suite, secureRenegotiation: extensions !== undefined && extensions.length > 0 };
}

/** Only the answer to that signal is allowed, and in a first handshake it is empty: RFC 5746, section 3.4. */
function readExtensions(block: Buffer): void {
  const reader = new Reader(block, "the ServerHello's extensions");
  const type = reader.u16();
  const content = reader.vector16();
  reader.end();
  if (type !== EXTENSIONS.renegotiation_info || content.length !== 1 || content[0] !== 0) {
    throw new PeerError(`The server sent extension ${type}, which the client did not offer`, ALERTS.illegal_parameter);
  }
}

/** DER certificates, the sender's own first. */
export function writeCertificate(chain: readonly Uint8Array[]): Buffer {
  return vector24(...chain.map((certificate) => vector24(certificate)));
}

export function readCertificate(body: Buffer): Buffer[] {
  const message = new Reader(body, "the Certificate");
  const list = new Reader(message.take(message.u24()), "the Certificate's list");
  message.end();
  const chain: Buffer[] = [];
  while (list.remaining > 0) chain.push(list.take(list.u24()));
  if (chain.length === 0) throw new PeerError("The server sent no certificate", ALERTS.bad_certificate);
  return chain;
}

/** Checks the form of the request: RFC 6101, section 5.6.4. The client has no certificate to send. */
export function checkCertificateRequest(body: Buffer): void {
  const reader = new Reader(body, "the CertificateRequest");
  reader.vector8(1);
  const authorities = new Reader(reader.vector16(), "the CertificateRequest's authorities");
  reader.end();
  while (authorities.remaining > 0) authorities.vector16(1);
}
