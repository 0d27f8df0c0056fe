import { createECDH, createPrivateKey, createPublicKey, diffieHellman, getDiffieHellman } from "node:crypto";
import { PeerError } from "../errors.ts";
import { hex } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import { groupById } from "../wire/groups.ts";
import type { Reader } from "../wire/reader.ts";
import { u8, u16, vector8, vector16 } from "../wire/writer.ts";
import type { Random } from "./random.ts";

/**
 * Ephemeral Diffie-Hellman, over integers (RFC 6101, section 5.6.3) and over curves (RFC 4492, section 5.4, which peers
 * also use over SSL 3.0). Each handshake has a new key.
 */

/** The server's share. */
export interface ServerShare {
  /** IANA's name of the group, or "DH-2048". */
  readonly group: string;
  /** The ServerKeyExchange's parameters. */
  readonly params: Buffer;
  /** Computes the premaster secret from the client's ClientKeyExchange. Throws PeerError. */
  agree(reader: Reader): Buffer;
}

/** The client's share, made from the server's parameters. */
export interface ClientShare {
  readonly group: string;
  /** The ClientKeyExchange's body. */
  readonly message: Buffer;
  readonly premaster: Buffer;
}

/** The curves, with the functions that make keys on them. */
const CURVES = new Map<number, (random: Random) => CurveKey>([
  [0x001d, x25519Key],
  [0x0017, (random) => nistKey("prime256v1", 32, 0xff, random)],
  [0x0018, (random) => nistKey("secp384r1", 48, 0xff, random)],
  [0x0019, (random) => nistKey("secp521r1", 66, 0x01, random)],
]);
const SECP256R1 = 0x0017;
const NAMED_CURVE = 3;
const UNCOMPRESSED = 4;

/** A key pair on a curve. `agree` throws any error for a point that is not on it. */
interface CurveKey {
  readonly point: Buffer;
  agree(point: Buffer): Buffer;
}

/** The client's first curve that the engine has. A client of SSL 3.0 may name none: it gets P-256. Undefined: none is shared. */
export function chooseCurve(supported: readonly number[]): number | undefined {
  return supported.length === 0 ? SECP256R1 : supported.find((id) => CURVES.has(id));
}

export function shareCurve(id: number, random: Random): ServerShare {
  const own = CURVES.get(id)!(random);
  const params = Buffer.concat([u8(NAMED_CURVE), u16(id), vector8(own.point)]);
  return { group: nameOf(id), params, agree: (reader) => agreeOnCurve(own, reader.vector8(1)) };
}

/** Reads ServerECDHParams. Throws PeerError. */
export function answerCurve(reader: Reader, random: Random): ClientShare {
  const [kind, id] = [reader.u8(), reader.u16()];
  const createKey = CURVES.get(id);
  if (kind !== NAMED_CURVE || !createKey) {
    throw new PeerError(
      `The server chose curve ${hex(id, 4)}, which the node does not speak`,
      ALERTS.illegal_parameter,
    );
  }
  const own = createKey(random);
  const premaster = agreeOnCurve(own, reader.vector8(1));
  return { group: nameOf(id), message: vector8(own.point), premaster };
}

/** Every curve of the table is in `GROUPS`. */
function nameOf(id: number): string {
  return groupById(id)!.name;
}

function agreeOnCurve(own: CurveKey, point: Buffer): Buffer {
  try {
    return own.agree(point);
  } catch {
    throw invalidShare();
  }
}

/** `scalar` is the length of a private key in bytes, `mask` the bits that its first byte may have. */
function nistKey(curve: string, scalar: number, mask: number, random: Random): CurveKey {
  const own = createECDH(curve);
  for (;;) {
    const secret = random(scalar);
    secret[0]! &= mask;
    try {
      own.setPrivateKey(secret);
      break;
    } catch {
      // The number is not below the curve's order: once in 2^32 for P-256.
    }
  }
  return {
    point: own.getPublicKey(),
    agree(point) {
      if (point[0] !== UNCOMPRESSED) throw invalidShare();
      return own.computeSecret(point);
    },
  };
}

/** RFC 8410, section 7: the DER before the 32 bytes of a private and of a public key. */
const X25519_PRIVATE = Buffer.from("302e020100300506032b656e04220420", "hex");
const X25519_PUBLIC = Buffer.from("302a300506032b656e032100", "hex");

function x25519Key(random: Random): CurveKey {
  const der = Buffer.concat([X25519_PRIVATE, random(32)]);
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const point = createPublicKey(privateKey).export({ format: "der", type: "spki" }).subarray(X25519_PUBLIC.length);
  return {
    point,
    agree(theirs) {
      const key = Buffer.concat([X25519_PUBLIC, theirs]);
      // OpenSSL refuses a point of small order, whose secret is zero: RFC 7748, section 6.1.
      return diffieHellman({ privateKey, publicKey: createPublicKey({ key, format: "der", type: "spki" }) });
    },
  };
}

const MODP_2048 = getDiffieHellman("modp14");
/** In bits. Smaller groups have been broken. */
const MIN_PRIME = 1024;
/** The length of a private exponent in bytes: twice the security of the largest group. */
const EXPONENT = 64;

export function sharePrime(random: Random): ServerShare {
  const [prime, generator] = [MODP_2048.getPrime(), MODP_2048.getGenerator()];
  const own = primeKey(prime, generator, random);
  const params = Buffer.concat([vector16(prime), vector16(generator), vector16(own.share)]);
  return { group: "DH-2048", params, agree: (reader) => agreeOnPrime(own, reader.vector16(1)) };
}

/** Reads ServerDHParams. `most`: the bits that the group may have; larger ones make a handshake slow. Throws PeerError. */
export function answerPrime(reader: Reader, random: Random, most: number): ClientShare {
  const [prime, generator, theirs] = [reader.vector16(1), reader.vector16(1), reader.vector16(1)].map(stripZeros);
  const bits = prime!.length * 8 - Math.clz32(prime![0] ?? 0) + 24;
  if (bits < MIN_PRIME || bits > most) {
    throw new PeerError(
      `The server's Diffie-Hellman group has ${bits} bits, not ${MIN_PRIME} to ${most}`,
      ALERTS.insufficient_security,
    );
  }
  let own: PrimeKey;
  try {
    own = primeKey(prime!, generator!, random);
  } catch {
    throw invalidShare();
  }
  return { group: `DH-${bits}`, message: vector16(own.share), premaster: agreeOnPrime(own, theirs!) };
}

/** A key pair over integers. */
interface PrimeKey {
  readonly share: Buffer;
  agree(share: Buffer): Buffer;
}

/**
 * Makes the key from DER (RFC 5208, RFC 5280, PKCS #3). `createDiffieHellman` would test whether the prime is one, which takes
 * a second, and the peer chooses the prime.
 */
function primeKey(prime: Buffer, generator: Buffer, random: Random): PrimeKey {
  const group = der(SEQUENCE, DH_KEY_AGREEMENT, der(SEQUENCE, integer(prime), integer(generator)));
  const secret = der(SEQUENCE, integer(Buffer.alloc(1)), group, der(OCTET_STRING, integer(random(EXPONENT))));
  const privateKey = createPrivateKey({ key: secret, format: "der", type: "pkcs8" });
  const agree = (theirs: Buffer) => {
    const key = der(SEQUENCE, group, der(BIT_STRING, Buffer.alloc(1), integer(theirs)));
    // OpenSSL refuses numbers that are not in the group, and 0, 1 and -1, whose powers are known.
    return diffieHellman({ privateKey, publicKey: createPublicKey({ key, format: "der", type: "spki" }) });
  };
  // Agreeing with the generator gives our own share.
  return { share: stripZeros(agree(generator)), agree };
}

/** Leading zeros are removed here, unlike with a curve. The time shows how many (Raccoon), but each key is used only once. */
function agreeOnPrime(own: PrimeKey, share: Buffer): Buffer {
  try {
    return stripZeros(own.agree(share));
  } catch {
    throw invalidShare();
  }
}

const [INTEGER, BIT_STRING, OCTET_STRING, SEQUENCE] = [0x02, 0x03, 0x04, 0x30];
const DH_KEY_AGREEMENT = Buffer.from("06092a864886f70d010301", "hex");

/** One element of DER, of at most 2^16 - 1 bytes. */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 0x80 ? [u8(length)] : length <= 0xff ? [u8(0x81), u8(length)] : [u8(0x82), u16(length)];
  return Buffer.concat([u8(tag), ...size, content]);
}

/** A zero byte goes before a number that would be negative. */
function integer(value: Buffer): Buffer {
  const digits = stripZeros(value);
  const positive = digits.length === 0 || digits[0]! >= 0x80 ? Buffer.concat([u8(0), digits]) : digits;
  return der(INTEGER, positive);
}

function stripZeros(number: Buffer): Buffer {
  const first = number.findIndex((byte) => byte !== 0);
  return first === -1 ? Buffer.alloc(0) : number.subarray(first);
}

function invalidShare(): PeerError {
  return new PeerError("The peer's Diffie-Hellman share is not an element of the group", ALERTS.illegal_parameter);
}
