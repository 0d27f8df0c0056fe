import type { X509Certificate } from "node:crypto";
import { type RecordedCertificate, recordCertificate } from "./certificate-record.ts";
import { createRootSet } from "./chain.ts";
import type { KeystoreEntry } from "./key-source.ts";
import type { Keystore } from "./keystore.ts";
import { type Fault, type FoundFault, verifyServer } from "./verify.ts";

/** What there is to say of a server: its certificate, everything wrong with it, and the node's own keys for it. */
export interface JudgedServer {
  readonly record: RecordedCertificate & { readonly faults: readonly FoundFault[] };
  readonly facts: { readonly names: readonly string[]; readonly issuer: string; readonly faults: readonly Fault[] };
  readonly held: readonly KeystoreEntry[];
}

/** What OpenSSL saw: the certificate with those sent along hanging on it, and its code; undefined: the chain is good. */
export interface ShownCertificate {
  readonly certificate: X509Certificate;
  readonly verifyCode: string | undefined;
}

/** A certificate that OpenSSL found good is not verified anew for this time, in ms: busy servers show the same one each time. */
const FRESH = 60_000;
const KEPT = 2_000;

/**
 * Makes the judge of servers. `host` is whom the client meant, `address` where it went, `now` in ms since the epoch.
 */
export function createJudge(
  keystore: Keystore,
  roots: readonly string[],
): (shown: ShownCertificate, host: string | undefined, address: string, now: number) => JudgedServer {
  const rootSet = createRootSet(roots);
  const good = new Map<string, { readonly faults: readonly FoundFault[]; readonly until: number }>();

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
    const { certificate: leaf, verifyCode: code } = shown;
    const name = `${sha256} ${host ?? ""}`;
    const known = code === undefined ? good.get(name) : undefined;
    if (known && known.until > now) return known.faults;
    const { faults } = verifyServer({ leaf, code, host, roots: rootSet, now });
    if (code === undefined) {
      good.delete(name);
      good.set(name, { faults, until: now + FRESH });
      if (good.size > KEPT) good.delete(good.keys().next().value!);
    }
    return faults;
  }
}
