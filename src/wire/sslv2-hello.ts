import { PeerError } from "../errors.ts";
import { SSLV2 } from "../vocabulary.ts";
import { Accumulator } from "./accumulator.ts";
import { ALERTS } from "./alert.ts";
import type { ClientHello, ClientHelloReader, HelloSighting } from "./client-hello.ts";
import { HANDSHAKE_TYPES, SIGNALLING_SUITES } from "./numbers.ts";
import { versionsUpTo } from "./record.ts";

const MORE: HelloSighting = { kind: "more" };
const NO: HelloSighting = { kind: "no" };

/** The length field does not count its own two bytes; its first bit is a flag. */
const LENGTH_BYTES = 2;
/** Length, message type, version and three more lengths, in bytes. */
const FIXED_BYTES = 11;

/**
 * Reads the SSLv2-format hello of RFC 5246, appendix E.2, which clients send that speak SSL 2.0 besides TLS. One bit and a
 * few numbers prove little, so lengths that do not add up mean "not TLS" and not a broken hello.
 */
export class SslV2HelloReader implements ClientHelloReader {
  readonly #bytes = new Accumulator();

  push(bytes: Uint8Array): HelloSighting {
    const fixed = bytes.subarray(0, Math.max(0, FIXED_BYTES - this.#bytes.length));
    this.#bytes.append(fixed);
    if (!isPlausible(this.#bytes.bytes)) return NO;
    if (this.#bytes.length < FIXED_BYTES) return MORE;
    checkLengths(this.#bytes.bytes);
    const total = LENGTH_BYTES + bodyLength(this.#bytes.bytes);
    this.#bytes.append(bytes.subarray(fixed.length, fixed.length + total - this.#bytes.length));
    return this.#bytes.length < total ? MORE : { kind: "hello", hello: readSslV2Hello(this.#bytes.bytes) };
  }
}

/** Bytes that are enough to tell such a hello from anything else. */
export const SSLV2_HELLO_HEAD = FIXED_BYTES;

/** Whether these bytes, at most SSLV2_HELLO_HEAD of them, can begin such a hello in the middle of something else. */
export function beginsSslV2Hello(head: Buffer): boolean {
  if (head.length === 0 || (head[0]! & 0x80) === 0 || !isPlausible(head)) return false;
  if (head.length < FIXED_BYTES) return true;
  const [, sessionId, challenge] = lengths(head);
  return (sessionId === 0 || sessionId === 16) && challenge >= 16 && challenge <= 32;
}

/** Whether these first bytes can begin such a hello. */
function isPlausible(head: Buffer): boolean {
  if (head.length > 2 && head[2] !== HANDSHAKE_TYPES.client_hello) return false;
  if (head.length > 3 && head[3] !== 3 && head[3] !== 0) return false;
  if (head.length > 4 && head[3] === 0 && head[4] !== SSLV2) return false;
  if (head.length < FIXED_BYTES) return true;
  const [suites, sessionId, challenge] = lengths(head);
  if (suites === 0 || suites % 3 !== 0) return false;
  return bodyLength(head) === FIXED_BYTES - LENGTH_BYTES + suites + sessionId + challenge;
}

/** Once the lengths add up it is a hello: from here on a fault in it is an error, not "not TLS". */
function checkLengths(head: Buffer): void {
  const [, sessionId, challenge] = lengths(head);
  // RFC 5246 requires an empty session ID; a client of SSL 2.0 may send 16 bytes.
  if (sessionId !== 0 && sessionId !== 16) {
    throw new PeerError(
      `Cannot read the SSLv2-format hello: its session ID has ${sessionId} bytes, not 0 or 16`,
      ALERTS.illegal_parameter,
    );
  }
  if (challenge < 16 || challenge > 32) {
    throw new PeerError(
      `Cannot read the SSLv2-format hello: its challenge has ${challenge} bytes, not 16 to 32`,
      ALERTS.illegal_parameter,
    );
  }
}

function lengths(head: Buffer): [suites: number, sessionId: number, challenge: number] {
  return [head.readUInt16BE(5), head.readUInt16BE(7), head.readUInt16BE(9)];
}

function bodyLength(head: Buffer): number {
  return head.readUInt16BE(0) & 0x7fff;
}

function readSslV2Hello(bytes: Buffer): ClientHello {
  const version = bytes.readUInt16BE(3);
  const [suitesLength, sessionIdLength] = lengths(bytes);
  const suitesEnd = FIXED_BYTES + suitesLength;
  const sessionIdEnd = suitesEnd + sessionIdLength;
  const suites: number[] = [];
  // Three bytes each. The first is zero for a suite of TLS; the others belong to SSL 2.0.
  for (let at = FIXED_BYTES; at < suitesEnd; at += 3) if (bytes[at] === 0) suites.push(bytes.readUInt16BE(at + 1));
  return {
    format: "sslv2",
    legacyVersion: version,
    versions: version === SSLV2 ? [version] : versionsUpTo(version),
    random: paddedChallenge(bytes.subarray(sessionIdEnd)),
    sessionId: Buffer.from(bytes.subarray(suitesEnd, sessionIdEnd)),
    cipherSuites: suites,
    compressionMethods: [0],
    extensions: [],
    serverName: undefined,
    serverAddress: undefined,
    supportedGroups: [],
    keyShareGroups: [],
    signatureAlgorithms: [],
    certificateSignatures: undefined,
    alpnProtocols: [],
    ecPointFormats: [],
    statusRequest: false,
    earlyData: false,
    sessionTicket: undefined,
    pskIdentity: undefined,
    ech: undefined,
    fallback: suites.includes(SIGNALLING_SUITES.fallback),
  };
}

/** "If the length of the challenge is less than 32, it is padded with leading zeros": RFC 5246, appendix E.2. */
function paddedChallenge(challenge: Buffer): Buffer {
  return Buffer.concat([Buffer.alloc(32 - challenge.length), challenge]);
}
