import { PeerError } from "../errors.ts";
import { VERSIONS } from "../vocabulary.ts";
import { ALERTS } from "./alert.ts";
import { type Extensions, readExtensions } from "./client-hello-extensions.ts";
import { finalAnswer } from "./final-answer.ts";
import { isGrease } from "./grease.ts";
import { HandshakeStream } from "./handshake.ts";
import { CONTENT_TYPES, HANDSHAKE_TYPES, SIGNALLING_SUITES } from "./numbers.ts";
import { Reader } from "./reader.ts";
import { versionsUpTo } from "./record.ts";
import { SslV2HelloReader } from "./sslv2-hello.ts";

/** A ClientHello as the client offered it: RFC 8446, section 4.1.2. GREASE values (RFC 8701) are left out of every list. */
export interface ClientHello {
  /** "sslv2": the SSLv2-format hello of RFC 5246, appendix E.2. */
  readonly format: "tls" | "sslv2";
  readonly legacyVersion: number;
  /**
   * Versions the client accepts, highest first: supported_versions, or without it all from SSL 3.0 up to
   * legacy_version. Never empty. SSL 2.0 stands here only alone: the client speaks nothing else.
   */
  readonly versions: readonly number[];
  readonly random: Buffer;
  readonly sessionId: Buffer;
  /** In the client's order, signalling values (SCSV) included. */
  readonly cipherSuites: readonly number[];
  readonly compressionMethods: readonly number[];
  /** Types in the order they stand. */
  readonly extensions: readonly number[];
  /** The host name of server_name (RFC 6066, section 3): A-labels in lower case, no trailing dot. Undefined when none, or an address. */
  readonly serverName: string | undefined;
  /** An IPv4 or IPv6 literal that stood in server_name, which RFC 6066 does not allow but clients do. */
  readonly serverAddress: string | undefined;
  readonly supportedGroups: readonly number[];
  /** Groups for which the client sent a key share (RFC 8446, section 4.2.8). */
  readonly keyShareGroups: readonly number[];
  readonly signatureAlgorithms: readonly number[];
  /** RFC 7301, as latin1 strings. */
  readonly alpnProtocols: readonly string[];
  readonly ecPointFormats: readonly number[];
  /** status_request: the client asks for a stapled OCSP response (RFC 6066, section 8). */
  readonly statusRequest: boolean;
  readonly earlyData: boolean;
  /** The ticket that a client of TLS 1.2 comes back with (RFC 5077, section 3.2). Undefined: none, or an empty one. */
  readonly sessionTicket: Buffer | undefined;
  /** The first identity of pre_shared_key (RFC 8446, section 4.2.11): the ticket of TLS 1.3. */
  readonly pskIdentity: Buffer | undefined;
  /** Encrypted Client Hello (RFC 9849): "outer" hides the real name, "inner" is one already opened. GREASE ECH looks like "outer". */
  readonly ech: "outer" | "inner" | undefined;
  /** TLS_FALLBACK_SCSV (RFC 7507) was offered. */
  readonly fallback: boolean;
}

export type HelloSighting =
  | { readonly kind: "hello"; readonly hello: ClientHello }
  | { readonly kind: "more" }
  /** These bytes are not TLS. */
  | { readonly kind: "no" };

/**
 * Reads a client's first bytes as they come, in pieces of any size. An answer other than "more" is final: later
 * pushes repeat it, and bytes behind the hello are not looked at.
 */
export interface ClientHelloReader {
  /** Throws PeerError, with the alert to send, when the bytes claim to be a ClientHello and break its format or a limit. */
  push(bytes: Uint8Array): HelloSighting;
}

export function createClientHelloReader(): ClientHelloReader {
  let reader: ClientHelloReader | undefined;
  return {
    push: finalAnswer((bytes) => {
      reader ??= readerFor(bytes[0]!);
      return reader.push(bytes);
    }),
  };
}

/** The SSLv2 header's first bit is set, which no TLS content type has. */
function readerFor(first: number): ClientHelloReader {
  return (first & 0x80) !== 0 ? new SslV2HelloReader() : new RecordHelloReader();
}

/** The largest ClientHello: post-quantum key shares and ECH need about 4 KiB, padding tests 16 KiB. */
const MAX_HELLO = 0x10000;
/** With all record headers: room for a 16 KiB hello cut into records of one byte. */
const MAX_RECORDS = 0x20000;

/** A hello in TLS records. Two bytes, 0x16 and 0x03, claim to be one; what follows must then be one. */
class RecordHelloReader implements ClientHelloReader {
  readonly #stream = new HandshakeStream({
    first: [CONTENT_TYPES.handshake],
    message: MAX_HELLO,
    total: MAX_RECORDS,
    admit: admitHello,
  });

  push(bytes: Uint8Array): HelloSighting {
    this.#stream.push(bytes);
    const step = this.#stream.next();
    if (step.kind === "message") return { kind: "hello", hello: readClientHello(step.body) };
    if (step.kind === "more" || step.kind === "no") return step;
    // RFC 8446, section 5.1: no other record between the fragments of a handshake message.
    throw new PeerError("Cannot read the ClientHello: another record interrupts it", ALERTS.unexpected_message);
  }
}

function admitHello(type: number): void {
  if (type === HANDSHAKE_TYPES.client_hello) return;
  const message = `Cannot read the ClientHello: the first handshake message has type ${type}`;
  throw new PeerError(message, ALERTS.unexpected_message);
}

/**
 * Reads the body of one ClientHello message, without its 4-byte header: RFC 8446, section 4.1.2.
 * Throws PeerError with the alert to send.
 */
export function readClientHello(body: Uint8Array): ClientHello {
  const reader = new Reader(body, "the ClientHello");
  const legacyVersion = reader.u16();
  if (legacyVersion < VERSIONS.SSLv3) {
    throw new PeerError(`Cannot read a ClientHello of version ${legacyVersion}`, ALERTS.protocol_version);
  }
  const random = Buffer.from(reader.take(32));
  const sessionId = Buffer.from(reader.vector8());
  if (sessionId.length > 32) {
    throw new PeerError("Cannot read the ClientHello: its session ID exceeds 32 bytes", ALERTS.decode_error);
  }
  const suites = new Reader(reader.vector16(2), "cipher_suites").u16s();
  const compressionMethods = [...reader.vector8(1)];
  // RFC 5246, section 7.4.1.2: the null method must be among them.
  if (!compressionMethods.includes(0)) {
    throw new PeerError("Cannot read the ClientHello: it lacks null compression", ALERTS.illegal_parameter);
  }
  // A hello before RFC 3546 ends here, without an extensions block.
  const block = reader.remaining > 0 ? reader.vector16() : Buffer.alloc(0);
  reader.end();
  const { offeredVersions, ...extensions } = readExtensions(block);
  return {
    format: "tls",
    legacyVersion,
    versions: acceptedVersions(legacyVersion, offeredVersions),
    random,
    sessionId,
    cipherSuites: suites.filter((suite) => !isGrease(suite)),
    compressionMethods,
    ...extensions,
    fallback: suites.includes(SIGNALLING_SUITES.fallback),
  };
}

/** RFC 8446, section 4.2.1: supported_versions alone decides when it is there; without it TLS 1.2 is the highest. */
function acceptedVersions(legacyVersion: number, offered: Extensions["offeredVersions"]): number[] {
  if (!offered) return versionsUpTo(legacyVersion);
  // Drafts of TLS 1.3 (0x7fxx) are nobody's version any more.
  const versions = offered.filter((version) => version >= VERSIONS.SSLv3 && version <= 0x03ff);
  if (versions.length === 0) {
    throw new PeerError("Cannot read the ClientHello: it offers no version of TLS", ALERTS.protocol_version);
  }
  return [...new Set(versions)].sort((a, b) => b - a);
}
