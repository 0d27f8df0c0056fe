import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { ConfigError, PeerError } from "../../../src/errors.ts";
import { readShown } from "../../../src/legs/shown-chain.ts";
import { readCertId } from "../../../src/pki/issue/status.ts";
import { readPkcs12 } from "../../../src/pki/keys/pkcs12.ts";
import { readPrivateKey } from "../../../src/pki/keys/private-key.ts";
import { lookUp, openRevocationList, readCrl } from "../../../src/pki/revocation/crl.ts";
import { judgeOcspResponse } from "../../../src/pki/revocation/ocsp.ts";
import { readOcspResponse } from "../../../src/pki/revocation/ocsp-response.ts";
import { readIssuerUrls, readPointers } from "../../../src/pki/revocation/revocation-pointers.ts";
import { matchesHost } from "../../../src/pki/verify/host.ts";
import { readIssuers } from "../../../src/pki/verify/issuer-fetch.ts";
import { hasUnhandledCriticalExtension, purposesOf, readCertificate } from "../../../src/pki/x509/certificate.ts";
import { recordCertificate } from "../../../src/pki/x509/certificate-record.ts";
import { readElements } from "../../../src/pki/x509/der.ts";
import { readCertificates } from "../../../src/pki/x509/pem.ts";
import { readValidity } from "../../../src/pki/x509/validity.ts";
import { corpus } from "../corpus.ts";
import type { Parser } from "../parser.ts";

const CERTIFICATES = corpus("certificate");
const [issuer, certificate] = CERTIFICATES.slice(0, 2).map((der) => new X509Certificate(der));
const SUBJECT = { certificate: certificate!, issuer: issuer! };
/** When the answers of the corpus are valid. */
const NOW = Date.UTC(2026, 10, 28, 12);
const OCSP = corpus("ocsp");
const CRLS = corpus("crl");

/** What is signed of an answer: nobody who lacks the key can change it. */
function signedPart(read: () => readonly Buffer[]): string {
  return Buffer.concat(read()).toString("hex");
}

const tbsOf = (der: Buffer) => readElements(readElements(der)[0]!.content)[0]!.whole;
const basicOf = (response: Buffer) => {
  const [, bytes] = readElements(readElements(response)[0]!.content);
  const [, basic] = readElements(readElements(bytes!.content)[0]!.content);
  return basic!.content;
};
const SIGNED = new Set([
  ...OCSP.map((bytes) => signedPart(() => [tbsOf(basicOf(bytes))])),
  ...CRLS.map((bytes) => signedPart(() => [tbsOf(bytes)])),
]);

function readAnyCertificate(der: Buffer): void {
  const shown = readShown([der]);
  const parts = readCertificate(der);
  for (const read of [readPointers, readIssuerUrls, purposesOf, hasUnhandledCriticalExtension]) read(parts);
  matchesHost(parts, "www.example.com");
  if (!shown) return;
  recordCertificate(shown.chain[0]);
  readValidity(shown.chain[0]);
}

async function judgeOcsp(bytes: Buffer): Promise<void> {
  const { status } = await judgeOcspResponse(bytes, SUBJECT, NOW);
  assert.ok(SIGNED.has(signedPart(() => [tbsOf(basicOf(bytes))])), `${status}, but nobody signed it`);
}

async function judgeCrl(bytes: Buffer): Promise<void> {
  const list = await openRevocationList(bytes, issuer!, NOW);
  assert.ok(SIGNED.has(signedPart(() => [tbsOf(bytes)])), "a list is used that nobody signed");
  lookUp(list, SUBJECT, ["http://crl.example/a.crl"]);
}

export const PKI_PARSERS: readonly Parser[] = [
  { name: "der", of: "servers and responders: DER", seeds: [...CERTIFICATES, ...OCSP, ...CRLS], read: readElements },
  { name: "certificate", of: "servers: certificates", seeds: CERTIFICATES, read: readAnyCertificate, every: 10 },
  { name: "ocsp", of: "responders: OCSP responses", seeds: OCSP, read: readOcspResponse },
  { name: "ocsp-verdict", of: "responders: is the answer signed?", seeds: OCSP, read: judgeOcsp, every: 10 },
  { name: "ocsp-request", of: "clients of the node's responder", seeds: corpus("ocsp-request"), read: readCertId },
  { name: "crl", of: "publishers: revocation lists", seeds: CRLS, read: readCrl, every: 2 },
  { name: "crl-verdict", of: "publishers: is the list signed?", seeds: CRLS, read: judgeCrl, every: 10 },
  { name: "issuers", of: "publishers: intermediates (AIA)", seeds: corpus("issuers"), read: readIssuers, every: 10 },
  {
    name: "pkcs12",
    of: "operators' files: PKCS#12",
    seeds: corpus("pkcs12"),
    read: (bytes) => readPkcs12(bytes, "fuzz"),
    refusals: [ConfigError],
    every: 20,
  },
  {
    name: "pem",
    of: "operators' files: certificates and keys in PEM",
    seeds: corpus("pem"),
    read(bytes) {
      const text = bytes.toString("latin1");
      if (text.includes("PRIVATE")) readPrivateKey("key.pem", text, "fuzz");
      else readCertificates("certificate.pem", text);
    },
    refusals: [ConfigError, PeerError],
    every: 20,
  },
];
