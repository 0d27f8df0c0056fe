import type { Fault } from "../../vocabulary.ts";
import type { HeldKeyType } from "./private-key.ts";

/** A key's id: this many digits of the certificate's SHA-256, or of the public key's while there is no certificate. */
export const ID_LENGTH = 16;

/** A server's certificate and private key, ready to be presented. The key is a secret: never log it. */
export interface InboundKey {
  /** The first ID_LENGTH digits of `sha256`. */
  readonly id: string;
  readonly hosts: readonly string[];
  /** The server's certificate first, then its chain. */
  readonly certificatePem: string;
  /** Not encrypted. */
  readonly keyPem: string;
  readonly keyType: HeldKeyType;
  /** Faults of the server's own certificate despite which clients are shown this one; undefined: none. */
  readonly acceptFaults?: readonly Fault[] | undefined;
  readonly serial: string;
  /** The certificate's fingerprint. */
  readonly sha256: string;
  /** The SHA-256 of SubjectPublicKeyInfo. */
  readonly publicKeySha256: string;
  /** ms since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Where it comes from: "keys[0]" in the configuration, or a file of the data folder. */
  readonly path: string;
}

export type KeyState = "valid" | "expires soon" | "expired" | "not yet valid";

/** `soon`: how many ms before its end a certificate expires soon. `now` in ms since the epoch. */
export function stateOf({ notBefore, notAfter }: InboundKey, now: number, soon: number): KeyState {
  if (notAfter < now) return "expired";
  if (notBefore > now) return "not yet valid";
  return notAfter - now < soon ? "expires soon" : "valid";
}

/** A node can hold thousands of keys, and people read the log. */
const MAX_WARNINGS = 20;

/** Warnings about certificates that are not valid now or expire soon. They stop nothing. */
export function keyWarnings(keys: readonly InboundKey[], now: number, soon: number): string[] {
  const warnings = keys.flatMap((key) => warningOf(key, stateOf(key, now, soon)) ?? []);
  const more = warnings.length - MAX_WARNINGS;
  if (more <= 0) return warnings;
  const rest = `${more} more certificates of inbound keys are not valid or expire soon; see "clearline keys list"`;
  return [...warnings.slice(0, MAX_WARNINGS), rest];
}

function warningOf(key: InboundKey, state: KeyState): string | undefined {
  const subject = `The certificate of ${key.path} (${key.hosts[0]})`;
  switch (state) {
    case "valid":
      return undefined;
    case "not yet valid":
      return `${subject} is not valid before ${dayOf(key.notBefore)}`;
    case "expired":
      return `${subject} expired on ${dayOf(key.notAfter)}`;
    case "expires soon":
      return `${subject} expires on ${dayOf(key.notAfter)}`;
  }
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
