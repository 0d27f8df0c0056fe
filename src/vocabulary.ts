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

/** The verdicts of a policy, from the mildest to the strictest. */
export const ACTIONS = ["decrypt", "bypass", "drop"] as const;
export type Action = (typeof ACTIONS)[number];

/** The phases of a policy, in order: on the SYN, on the ClientHello, on the server's certificate. */
export const PHASES = ["network", "sni", "certificate"] as const;
export type Phase = (typeof PHASES)[number];

/** "decrypted": plaintext of TLS. "bypassed": TLS bytes as they are. "notTls": TCP that is not TLS. */
export const FLOW_CLASSES = ["decrypted", "bypassed", "notTls"] as const;
export type FlowClass = (typeof FLOW_CLASSES)[number];

/** Whom the API serves, from the least to the most: who reads; who also acts on sessions; who also holds keys and tokens. */
export const CALLER_ROLES = ["viewer", "operator", "administrator"] as const;
export type CallerRole = (typeof CALLER_ROLES)[number];

/** What the audit log records, by the commands' own names. */
export const AUDITED_ACTIONS = [
  "bypass add",
  "bypass remove",
  "ca renew",
  "ca next",
  "ca activate",
  "ca destroy",
  "cache flush",
  "keys add",
  "keys generate",
  "keys remove",
  "log in",
  "log out",
  "reload",
  "session end",
  "token add",
  "token remove",
  "view follow",
  "view har",
  "view pcap",
  "view transactions",
] as const;
export type AuditedAction = (typeof AUDITED_ACTIONS)[number];

/** "begun": it is under way, or the node ended first. "refused": the caller's role does not allow it, and nothing was done. */
export const AUDIT_OUTCOMES = ["begun", "done", "failed", "refused"] as const;
export type AuditOutcome = (typeof AUDIT_OUTCOMES)[number];

/**
 * How a session ended. "decrypted", "bypassed", "plaintext": its bytes passed. "dropped": policy ended it. "live": it goes on. The others
 * name who failed.
 */
export const OUTCOMES = [
  ...(["decrypted", "bypassed", "plaintext", "dropped"] as const),
  ...(["clientRefusedCertificate", "clientFailed", "serverFailed", "serverUnreachable"] as const),
  ...(["toolFailed", "nodeFailed", "live"] as const),
] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** Who is to blame for a session's end. */
export const BLAMES = ["client", "server", "tool", "node"] as const;
export type Blame = (typeof BLAMES)[number];

/** What bounds the number of sessions: a setting, or the files and the memory that a process may have. */
export const LIMIT_NAMES = [
  "limits.sessions",
  "limits.perClient.sessions",
  "limits.perClient.halfOpen",
  "open files",
  "memory",
] as const;
export type LimitName = (typeof LIMIT_NAMES)[number];

/** What the node measures to see whether it is overloaded: the thresholds in `overload`. */
export const LOADS = ["eventLoopDelay", "cpu", "memory", "descriptors", "sessions", "newSessions"] as const;
export type Load = (typeof LOADS)[number];

/** How many of the new sessions an overloaded node does not decrypt. */
export const OVERLOAD_LEVELS = ["none", "half", "all"] as const;
export type OverloadLevel = (typeof OVERLOAD_LEVELS)[number];

/** The faults of a server's certificate, each with the end of a sentence that begins with "The server's certificate is". */
export const FAULT_TEXTS = {
  expired: "expired or not yet valid",
  selfSigned: "self-signed",
  unknownIssuer: "from an issuer that is not trusted",
  hostMismatch: "for another host",
  invalid: "invalid",
  revoked: "revoked",
  revocationUnknown: "of unknown revocation status",
} as const;
export type Fault = keyof typeof FAULT_TEXTS;
export const FAULTS = Object.keys(FAULT_TEXTS) as readonly Fault[];

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
/** SSL 2.0 on the wire: some clients still offer it, the node never speaks it. */
export const SSLV2 = 0x0002;

/** "TLSv1.2" for 0x0303. A number without a name is written in hexadecimal: "0x0305". */
export function nameVersion(version: number): string {
  if (version === SSLV2) return "SSLv2";
  return Object.entries(VERSIONS).find(([, number]) => number === version)?.[0] ?? hex(version, 4);
}

/** "0x1f", with zeros in front up to `digits` digits. */
export function hex(value: number, digits = 1): string {
  return `0x${value.toString(16).padStart(digits, "0")}`;
}

/** The key types of the node's CAs, and of nearly all certificates that it issues: ECDSA P-256 and RSA-2048. */
export type KeyType = "ecdsa" | "rsa";

/** The levels of the log, the least first. */
export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal"] as const;
