import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { checkEngine } from "../../engine/check.ts";
import { TrustStore } from "../../engine/verify.ts";
import type { CertificateCase } from "./test-cases/certificate-case.ts";
import { CONSTRAINTS } from "./test-cases/constraints.ts";
import { FORMS } from "./test-cases/forms.ts";
import { NAMES } from "./test-cases/names.ts";
import { PATHS } from "./test-cases/paths.ts";
import { DATES, PURPOSES } from "./test-cases/purposes.ts";
import { verifyServer } from "./verify.ts";

checkEngine();

/**
 * What the node finds in a server's certificate, beside what browsers do with it. Most cases are like one of the x509-limbo collection
 * (https://x509-limbo.com), which is named. The judge is the same for every version of TLS.
 */
const ALL: readonly CertificateCase[] = [...NAMES, ...PURPOSES, ...DATES, ...CONSTRAINTS, ...PATHS, ...FORMS];

for (const { what, limbo, shown, found, browsers, because } of ALL) {
  test(`${what}${limbo ? ` (${limbo})` : ""}: ${found.join(", ") || "no fault"}`, () => {
    assert.deepEqual(codesOf(shown()), [...found].sort());
    const verdict = found.length > 0 ? "refuse" : "accept";
    // A difference from browsers is a decision, and a decision has a reason.
    assert.ok(verdict === browsers || because !== undefined, `browsers ${browsers}, the node does not: why?`);
  });
}

function codesOf({ chain, trusted, host = "www.example.com", use = "sign" }: ReturnType<CertificateCase["shown"]>) {
  const now = Date.now();
  const [leaf, ...sent] = chain.map(({ der }) => der);
  const verified = new TrustStore(trusted.map(pemOf)).verify([leaf!, ...sent], now);
  const faults = verifyServer({ leaf: new X509Certificate(leaf!), chain: verified, host, use, now });
  return faults.map(({ code }) => code).sort();
}

function pemOf({ der }: { readonly der: Buffer }): string {
  return new X509Certificate(der).toString();
}
