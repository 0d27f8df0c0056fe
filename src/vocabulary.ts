/**
 * The words that several folders share, each defined once. docs/glossary.md says what they mean to a user.
 */

/** One end of a TCP connection: an IPv4 or IPv6 literal without brackets, and a port. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** The two peers of a session. */
export type Side = "client" | "server";

/** How a listener takes connections. */
export type Mode = "explicit" | "forward" | "inline";

/** "decrypted": plaintext of TLS. "bypassed": TLS bytes as they are. "notTls": TCP that is not TLS. */
export const FLOW_CLASSES = ["decrypted", "bypassed", "notTls"] as const;
export type FlowClass = (typeof FLOW_CLASSES)[number];

/** What can be wrong with a server's certificate. */
export const FAULTS = [
  "expired",
  "selfSigned",
  "unknownIssuer",
  "hostMismatch",
  "invalid",
  "revoked",
  "revocationUnknown",
] as const;
export type Fault = (typeof FAULTS)[number];

/** The protocol versions, oldest first, by OpenSSL's names, with their numbers on the wire. */
export const VERSIONS = {
  SSLv3: 0x0300,
  TLSv1: 0x0301,
  "TLSv1.1": 0x0302,
  "TLSv1.2": 0x0303,
  "TLSv1.3": 0x0304,
} as const;
export type Version = keyof typeof VERSIONS;
/** The versions that OpenSSL speaks. */
export type TlsVersion = Exclude<Version, "SSLv3">;

/** The key types that the node issues certificates for: ECDSA P-256 and RSA-2048. */
export type KeyType = "ecdsa" | "rsa";
