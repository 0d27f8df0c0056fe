import { PeerError } from "../errors.ts";
import { hex, VERSIONS } from "../vocabulary.ts";
import { ALERTS } from "./alert.ts";
import { type Extensions, readExtensions } from "./client-hello-extensions.ts";
import { SIGNALLING_SUITES } from "./numbers.ts";
import { Reader } from "./reader.ts";
import { readList, sameList } from "./recent-lists.ts";
import { versionsUpTo } from "./record.ts";

/** A ClientHello as the client sent it: RFC 8446, section 4.1.2. GREASE values (RFC 8701) are left out of every list. */
export interface ClientHello extends Omit<Extensions, "offeredVersions"> {
  /** "sslv2": the SSLv2-format hello of RFC 5246, appendix E.2. */
  readonly format: "tls" | "sslv2";
  readonly legacyVersion: number;
  /**
   * The versions that the client accepts, highest first: supported_versions, or without it all from SSL 3.0 up to
   * legacy_version. Never empty. SSL 2.0 is here only when the client speaks nothing else.
   */
  readonly versions: readonly number[];
  readonly random: Buffer;
  readonly sessionId: Buffer;
  /** In the client's order, with signalling values (SCSV). */
  readonly cipherSuites: readonly number[];
  readonly compressionMethods: readonly number[];
  /** TLS_FALLBACK_SCSV (RFC 7507) was offered. */
  readonly fallback: boolean;
}

export type HelloSighting =
  | { readonly kind: "hello"; readonly hello: ClientHello }
  | { readonly kind: "more" }
  /** These bytes are not TLS. */
  | { readonly kind: "no" };

/**
 * Reads a client's first bytes, in pieces of any size. An answer other than "more" is final: later pushes repeat it, and
 * bytes after the hello are not read.
 */
export interface ClientHelloReader {
  /** Throws PeerError, with the alert to send, when the bytes begin like a ClientHello and then break its format or a limit. */
  push(bytes: Uint8Array): HelloSighting;
}

/**
 * Reads the body of a ClientHello message, without its 4-byte header: RFC 8446, section 4.1.2.
 * Throws PeerError with the alert to send.
 */
export function readClientHello(body: Uint8Array): ClientHello {
  const reader = new Reader(body, "the ClientHello");
  const legacyVersion = reader.u16();
  if (legacyVersion < VERSIONS.SSLv3) {
    throw new PeerError(
      `Cannot read the ClientHello: its version ${hex(legacyVersion, 4)} is below SSL 3.0`,
      ALERTS.protocol_version,
    );
  }
  const random = Buffer.from(reader.take(32));
  const sessionId = Buffer.from(reader.vector8());
  if (sessionId.length > 32) {
    throw new PeerError(
      `Cannot read the ClientHello: its session ID has ${sessionId.length} bytes, above 32`,
      ALERTS.decode_error,
    );
  }
  const cipherSuites = readList(reader.vector16(2), "cipher_suites");
  const compressionMethods = [...reader.vector8(1)];
  // RFC 5246, section 7.4.1.2: the null method must be among them.
  if (!compressionMethods.includes(0)) {
    throw new PeerError("Cannot read the ClientHello: its compression_methods lack null", ALERTS.illegal_parameter);
  }
  // A hello from before RFC 3546 has no extensions block.
  const block = reader.remaining > 0 ? reader.vector16() : Buffer.alloc(0);
  reader.end();
  const { offeredVersions, ...extensions } = readExtensions(block);
  return {
    format: "tls",
    legacyVersion,
    versions: acceptedVersions(legacyVersion, offeredVersions),
    random,
    sessionId,
    cipherSuites,
    compressionMethods,
    ...extensions,
    fallback: cipherSuites.includes(SIGNALLING_SUITES.fallback),
  };
}

/** RFC 8446, section 4.2.1: supported_versions alone decides when it is present; without it TLS 1.2 is the highest. */
function acceptedVersions(legacyVersion: number, offered: Extensions["offeredVersions"]): readonly number[] {
  if (!offered) return sameList(versionsUpTo(legacyVersion));
  // Drafts of TLS 1.3 (0x7fxx) are not in use any more.
  const versions = offered.filter((version) => version >= VERSIONS.SSLv3 && version <= 0x03ff);
  if (versions.length === 0) {
    throw new PeerError(
      "Cannot read the ClientHello: its supported_versions name no version of TLS",
      ALERTS.protocol_version,
    );
  }
  return sameList([...new Set(versions)].sort((a, b) => b - a));
}
