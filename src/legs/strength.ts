import type { PeerStrength } from "../engine/openssl-layer.ts";
import { ALERTS } from "../wire/alert.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { isStrongScheme, signatureSchemeById } from "../wire/signature-schemes.ts";
import { suiteById } from "../wire/suites.ts";
import type { LegFailure } from "./leg.ts";

/**
 * How weak a server may be in TLS 1.2. An offer with older versions too needs OpenSSL's security level 0, which holds for the whole
 * connection, whatever version comes of it: so TLS 1.2 is judged after the handshake.
 */
export interface Leniency {
  /** A Diffie-Hellman group below 2,048 bits. */
  readonly dh: boolean;
  /** A signature with a hash below SHA-256. */
  readonly hash: boolean;
}

const DH_BITS = 2048;
const HASH_BITS = 256;

/** Where policy allows what is weak, it is for clients that offer nothing better. */
export function leniencyFor({ cipherSuites, signatureAlgorithms }: ClientHello, isAllowed: boolean): Leniency {
  if (!isAllowed) return { dh: false, hash: false };
  const suites = cipherSuites.map(suiteById).filter((suite) => suite && suite.versions !== "1.3");
  const schemes = signatureAlgorithms.map(signatureSchemeById).filter((scheme) => scheme !== undefined);
  return {
    dh: suites.length > 0 && suites.every((suite) => suite?.exchange === "dhe"),
    // Without the extension a client of TLS 1.2 stands for SHA-1 (RFC 5246, section 7.4.1.4.1).
    hash: !schemes.some(isStrongScheme),
  };
}

/** Refuses a server that has agreed on TLS 1.2 with less than the node accepts. Undefined: it is strong enough. */
export function refuseWeak({ dhBits, hashBits }: PeerStrength, lenient: Leniency): LegFailure | undefined {
  if (dhBits !== undefined && dhBits < DH_BITS && !lenient.dh)
    return weak(`a Diffie-Hellman group of ${dhBits} bits, below ${DH_BITS}`, "DH_KEY_TOO_SMALL");
  if (hashBits !== undefined && hashBits < HASH_BITS && !lenient.hash)
    return weak(`a hash of ${hashBits} bits, below SHA-256`, "DIGEST_TOO_WEAK");
  return undefined;
}

function weak(what: string, code: string): LegFailure {
  const reason = `The server used ${what} in TLS 1.2`;
  return { kind: "failed", cause: "protocol", alert: ALERTS.insufficient_security, code, reason };
}
