import type { X509Certificate } from "node:crypto";
import { type RecordedCertificate, recordCertificate } from "./certificate-record.ts";
import { createRootSet } from "./chain.ts";
import type { KeystoreEntry } from "./key-source.ts";
import type { Keystore } from "./keystore.ts";
import { createVerified } from "./verified.ts";
import { type Fault, type FoundFault, verifyServer } from "./verify.ts";

/** What there is to say of a server: its certificate, everything wrong with it, and the node's own keys for it. */
export interface JudgedServer {
  readonly record: RecordedCertificate & { readonly faults: readonly FoundFault[] };
  readonly facts: { readonly names: readonly string[]; readonly issuer: string; readonly faults: readonly Fault[] };
  readonly held: readonly KeystoreEntry[];
}

/** What OpenSSL saw: the certificate and its code; undefined: the chain is good. */
export interface ShownCertificate {
  readonly certificate: X509Certificate;
  /** Those sent along with it; without it, those that hang on it as the TLS socket gave it. */
  readonly sent?: readonly X509Certificate[];
  readonly verifyCode: string | undefined;
}

/**
 * Makes the judge of servers, which remembers in `verified` what it need not look at again. `host` is whom the client meant, `address` where it went, `now` in ms since the epoch.
 */
export function createJudge(
  keystore: Keystore,
  roots: readonly string[],
  verified = createVerified(2_000),
): (shown: ShownCertificate, host: string | undefined, address: string, now: number) => JudgedServer {
  const rootSet = createRootSet(roots);

  return (shown, host, address, now) => {
    const record = recordCertificate(shown.certificate);
    const held = keystore.find(host, address);
    // Who shows the certificate whose key we hold has proven it by the handshake: that says more than any CA.
    const own = held.length > 0 && keystore.holds(shown.certificate);
    const faults = own ? [] : verify(shown, record.sha256, host, now);
    const facts = { names: record.names, issuer: record.issuer, faults: faults.map(({ fault }) => fault) };
    return { record: { ...record, faults }, facts, held };
  };

  function verify(
    shown: ShownCertificate,
    sha256: string,
    host: string | undefined,
    now: number,
  ): readonly FoundFault[] {
    const { certificate: leaf, sent, verifyCode: code } = shown;
    const name = `${sha256} ${host ?? ""}`;
    const known = code === undefined ? verified.find(name, now) : undefined;
    if (known) return known;
    const { faults } = verifyServer({ leaf, ...(sent && { sent }), code, host, roots: rootSet, now });
    if (code === undefined) verified.keep(name, faults, now);
    return faults;
  }
}
