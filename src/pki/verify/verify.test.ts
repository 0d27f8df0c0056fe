import "reflect-metadata";
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { test } from "node:test";
import * as x509 from "@peculiar/x509";
import { checkEngine } from "../../engine/check.ts";
import { TrustStore } from "../../engine/verify.ts";
import { type Made, make, type Wanted } from "../x509/test-chain.ts";
import { type FoundFault, verifyServer } from "./verify.ts";

checkEngine();

const ROOT = await make({ subject: "CN=root", ca: true });
const STRANGER = await make({ subject: "CN=stranger", ca: true });
const MIDDLE = await make({ subject: "CN=middle", ca: true, issuer: ROOT });
const NAMES = [["dns", "www.example.com"] as const];
const EXPIRED = { from: -30, to: -2 };
const CLIENT_ONLY = { purposes: ["1.3.6.1.5.5.7.3.2"] };

/** The faults of these certificates, each as "fault CODE", when a server shows them and the root is trusted. */
async function judge(chain: readonly Made[], options: Judging = {}): Promise<string[]> {
  const { host = "www.example.com", roots = [ROOT.pem] } = options;
  const now = Date.now();
  const verified = new TrustStore(roots).verify(
    chain.map(({ der }) => der),
    now,
  );
  return write(verifyServer({ leaf: read(chain[0]!), chain: verified, host, use: "sign", now }));
}

const read = ({ der }: Made): X509Certificate => new X509Certificate(der);

interface Judging {
  readonly host?: string;
  readonly roots?: readonly string[];
}

const write = (faults: readonly FoundFault[]): string[] => faults.map(({ fault, code }) => `${fault} ${code}`).sort();
const leafOf = (issuer: Made | undefined, wanted: Wanted = {}): Promise<Made> =>
  make({ subject: "CN=leaf", names: NAMES, ...(issuer && { issuer }), ...wanted });

test("A chain that reaches a root has no fault, in any order", async () => {
  const leaf = await leafOf(MIDDLE);
  assert.deepEqual(await judge([leaf, MIDDLE]), []);
  assert.deepEqual(await judge([leaf, STRANGER, ROOT, MIDDLE]), []);
});

test("A self-signed certificate that the user trusts has no fault", async () => {
  const own = await leafOf(undefined);
  assert.deepEqual(await judge([own], { roots: [own.pem] }), []);
});

test("Each of the five faults is found, with OpenSSL's code", async () => {
  const middle = await make({ subject: "CN=foreign", ca: true, issuer: STRANGER });
  assert.deepEqual(await judge([await leafOf(ROOT, EXPIRED)]), ["expired CERT_HAS_EXPIRED"]);
  assert.deepEqual(await judge([await leafOf(ROOT, { from: 3, to: 9 })]), ["expired CERT_NOT_YET_VALID"]);
  assert.deepEqual(await judge([await leafOf(undefined)]), ["selfSigned DEPTH_ZERO_SELF_SIGNED_CERT"]);
  assert.deepEqual(await judge([await leafOf(STRANGER)]), ["unknownIssuer UNABLE_TO_GET_ISSUER_CERT_LOCALLY"]);
  assert.deepEqual(await judge([await leafOf(STRANGER), STRANGER]), ["unknownIssuer SELF_SIGNED_CERT_IN_CHAIN"]);
  assert.deepEqual(await judge([await leafOf(middle), middle]), ["unknownIssuer UNABLE_TO_GET_ISSUER_CERT_LOCALLY"]);
  assert.deepEqual(await judge([await leafOf(MIDDLE)]), ["unknownIssuer UNABLE_TO_GET_ISSUER_CERT_LOCALLY"]);
  assert.deepEqual(await judge([await leafOf(ROOT)], { host: "www.example.org" }), ["hostMismatch HOSTNAME_MISMATCH"]);
  assert.deepEqual(await judge([await leafOf(ROOT, CLIENT_ONLY)]), ["invalid INVALID_PURPOSE"]);
});

test("An expired date hides other faults in OpenSSL's result, but not here", async () => {
  const expired = "expired CERT_HAS_EXPIRED";
  assert.deepEqual(await judge([await leafOf(undefined, EXPIRED)]), [
    expired,
    "selfSigned DEPTH_ZERO_SELF_SIGNED_CERT",
  ]);
  const forged = await leafOf(STRANGER, EXPIRED);
  assert.deepEqual(await judge([forged]), [expired, "unknownIssuer UNABLE_TO_GET_ISSUER_CERT_LOCALLY"]);
  assert.deepEqual(await judge([forged, STRANGER]), [expired, "unknownIssuer SELF_SIGNED_CERT_IN_CHAIN"]);
  const client = await leafOf(ROOT, { ...EXPIRED, ...CLIENT_ONLY });
  assert.deepEqual(await judge([client]), [expired, "invalid INVALID_PURPOSE"]);
  assert.deepEqual(await judge([await leafOf(ROOT, EXPIRED)], { host: "b.example" }), [
    expired,
    "hostMismatch HOSTNAME_MISMATCH",
  ]);
});

test("A CA with the name of a trusted root but another key is an unknown issuer, expired or not", async () => {
  const impostor = await make({ subject: "CN=root", ca: true });
  const expired = "expired CERT_HAS_EXPIRED";
  const forged = "invalid CERT_SIGNATURE_FAILURE";
  const unknown = "unknownIssuer UNABLE_TO_GET_ISSUER_CERT_LOCALLY";
  assert.deepEqual(await judge([await leafOf(impostor, EXPIRED)]), [expired, forged, unknown]);
  assert.deepEqual(await judge([await leafOf(impostor)]), [forged, unknown]);
  const sent = await judge([await leafOf(impostor, EXPIRED), impostor]);
  assert.deepEqual(sent, [expired, forged, unknown]);
});

test("A server's certificate that signed another is found behind an expired date", async () => {
  const server = await leafOf(ROOT);
  const stolen = await make({
    subject: "CN=bank",
    issuer: { ...server, subject: "CN=leaf" },
    names: NAMES,
    ...EXPIRED,
  });
  assert.deepEqual(await judge([stolen, server]), ["expired CERT_HAS_EXPIRED", "invalid INVALID_CA"]);
});

test("A CA beyond the path length of its issuer is found behind an expired date", async () => {
  const last = await make({ subject: "CN=last", ca: true, pathLength: 0, issuer: ROOT });
  const beyond = await make({ subject: "CN=beyond", ca: true, issuer: last });
  const faults = await judge([await leafOf(beyond, EXPIRED), beyond, last]);
  assert.deepEqual(faults, ["expired CERT_HAS_EXPIRED", "invalid PATH_LENGTH_EXCEEDED"]);
});

test("A critical extension that is not handled is found behind an expired date", async () => {
  const strange = new x509.Extension("1.2.3.4", true, Buffer.from("0500", "hex"));
  const faults = await judge([await leafOf(ROOT, { ...EXPIRED, extensions: [strange] })]);
  assert.deepEqual(faults, ["expired CERT_HAS_EXPIRED", "invalid UNHANDLED_CRITICAL_EXTENSION"]);
});

test("With an expired intermediate CA the chain is expired, but its issuer is known", async () => {
  const old = await make({ subject: "CN=old", ca: true, issuer: ROOT, ...EXPIRED });
  assert.deepEqual(await judge([await leafOf(old), old]), ["expired CERT_HAS_EXPIRED"]);
});

test("Weak keys and SHA-1 are refused at every security level of OpenSSL", async () => {
  const sha1 = await make({ subject: "CN=sha1", ca: true, issuer: ROOT, algorithm: "rsa-sha1" });
  const small = await leafOf(ROOT, { algorithm: "rsa-1024" });
  assert.deepEqual(await judge([small]), ["invalid EE_KEY_TOO_SMALL"]);
  assert.deepEqual(await judge([await leafOf(sha1), sha1]), ["invalid CA_MD_TOO_WEAK"]);
  const pss = await make({ subject: "CN=pss", ca: true, issuer: ROOT, algorithm: "rsa" });
  assert.deepEqual(await judge([await leafOf(pss), pss]), []);
});

test("Weak signatures of the root, and of certificates outside the chain, are no fault", async () => {
  const { keys } = await make({ algorithm: "rsa" });
  const strong = await make({ subject: "CN=old root", ca: true, algorithm: "rsa", keys });
  const exported = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  const sha1 = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-1" };
  const privateKey = await crypto.subtle.importKey("pkcs8", exported, sha1, true, ["sign"]);
  const root = await make({ subject: "CN=old root", ca: true, algorithm: "rsa-sha1", keys: { ...keys, privateKey } });
  assert.match(new X509Certificate(root.pem).signatureAlgorithm ?? "", /sha1/i);
  const unneeded = await make({ subject: "CN=unneeded", ca: true, issuer: root });
  assert.deepEqual(await judge([await leafOf(strong), unneeded], { roots: [root.pem] }), []);
});

test("For UNSPECIFIED the fault is invalid, with the code that is found here", async () => {
  const strange = new x509.Extension("1.2.3.4", true, Buffer.from("0500", "hex"));
  const leaf = await leafOf(ROOT, { extensions: [strange] });
  assert.deepEqual(await judge([leaf], {}), ["invalid UNHANDLED_CRITICAL_EXTENSION"]);
});

const HOSTS: readonly (readonly [string, boolean])[] = [
  ["www.example.com", true],
  ["WWW.Example.COM", true],
  ["www.example.com.", true],
  ["example.com", false],
  [".example.com", false],
  ["a.www.example.com", false],
  ["a.wild.example", true],
  ["under_score.wild.example", true],
  ["_dmarc.wild.example", true],
  ["xn--bcher-kva.wild.example", true],
  ["under_score.example", true],
  ["a.b.wild.example", false],
  ["wild.example", false],
  [".wild.example", false],
  ["food.part.example", false],
  ["leaf", false],
  ["192.0.2.1", true],
  ["192.0.2.2", false],
  ["2001:db8::1", true],
  ["2001:DB8:0::1", true],
  ["10.0.0.1", false],
  ["www.example.com\0.evil.example", false],
  ["", false],
];
test("A host matches as in a browser: wildcards for one whole label, addresses by address, never the common name", async () => {
  const names = [
    ["dns", "www.example.com"],
    ["dns", "*.wild.example"],
    ["dns", "under_score.example"],
    ["dns", "f*.part.example"],
    ["dns", "10.0.0.1"],
    ["ip", "192.0.2.1"],
    ["ip", "2001:db8::1"],
  ] as const;
  const shown = await leafOf(ROOT, { names });
  for (const [host, matches] of HOSTS) {
    assert.deepEqual(await judge([shown], { host }), matches ? [] : [mismatch(host)], host);
  }
});

const mismatch = (host: string) => `hostMismatch ${isIP(host) ? "IP_ADDRESS" : "HOSTNAME"}_MISMATCH`;

test("A certificate without subjectAltName matches no host, not even its common name", async () => {
  const named = await make({ subject: "CN=www.example.com", issuer: ROOT });
  assert.deepEqual(await judge([named]), ["hostMismatch HOSTNAME_MISMATCH"]);
});

test("Without a host, no name is compared", async () => {
  const leaf = await leafOf(ROOT);
  const chain = new TrustStore([ROOT.pem]).verify([leaf.der], Date.now());
  assert.deepEqual(verifyServer({ leaf: read(leaf), chain, host: undefined, use: "sign", now: Date.now() }), []);
});

test('An OpenSSL code that is not in the table is a fault, even "toString"', async () => {
  const leaf = read(await leafOf(ROOT));
  for (const code of ["SOMETHING_NEW", "toString", "__proto__"]) {
    const chain = { errors: [code], path: [leaf], anchored: true };
    const faults = verifyServer({ leaf, chain, host: undefined, use: "sign", now: Date.now() });
    assert.deepEqual(faults, [{ fault: "invalid", code }]);
  }
});

test("The search for a chain through forty CAs of the same name ends", async () => {
  const crowd = await Promise.all(
    Array.from({ length: 40 }, () =>
      make({ subject: "CN=crowd", ca: true, issuer: { ...STRANGER, subject: "CN=crowd" }, keys: STRANGER.keys }),
    ),
  );
  const leaf = await leafOf({ ...STRANGER, subject: "CN=crowd" }, EXPIRED);
  const faults = await judge([leaf, ...crowd]);
  assert.ok(faults.includes("expired CERT_HAS_EXPIRED"));
  assert.ok(faults.some((fault) => fault.startsWith("unknownIssuer")));
});
