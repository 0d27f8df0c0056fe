import "reflect-metadata";
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import * as x509 from "@peculiar/x509";
import { needs } from "../../../test/needs.ts";
import { createRootSet } from "../x509/chain.ts";
import { emptyFolder, type Made, make, openssl, shake, type Wanted } from "../x509/test-chain.ts";
import { type FoundFault, NOT_VERIFIED, verifyServer } from "./verify.ts";

const ROOT = await make({ subject: "CN=root", ca: true });
const STRANGER = await make({ subject: "CN=stranger", ca: true });
const MIDDLE = await make({ subject: "CN=middle", ca: true, issuer: ROOT });
const NAMES = [["dns", "www.example.com"] as const];
const EXPIRED = { from: -30, to: -2 };
const CLIENT_ONLY = { purposes: ["1.3.6.1.5.5.7.3.2"] };

/** The faults of these certificates, each as "fault CODE", when a real server shows them to a client that trusts the root. */
async function judge(chain: readonly Made[], options: Judging = {}): Promise<string[]> {
  const { host = "www.example.com", roots = [ROOT.pem], ciphers } = options;
  const shown = { certificatePem: chain.map(({ pem }) => pem).join(""), keyPem: chain[0]!.keyPem };
  const { leaf, sent, code } = await shake(shown, roots, ciphers === undefined ? {} : { ciphers });
  if ("code" in options) assert.equal(code, options.code);
  const proof = { leaf, sent, host: host ?? undefined, roots: createRootSet(roots), now: Date.now() };
  const found = write(verifyServer({ ...proof, code }).faults);
  const alone = write(verifyServer({ ...proof, code: NOT_VERIFIED }).faults);
  // A chain that OpenSSL did not verify must be judged just as strictly.
  assert.equal(alone.length > 0, found.length > 0, `without OpenSSL: ${alone}; with it: ${found}`);
  return found;
}

interface Judging {
  readonly host?: string | null;
  readonly roots?: readonly string[];
  readonly ciphers?: string;
  /** The expected error of OpenSSL alone, to show what it hides. */
  readonly code?: string | undefined;
}

const write = (faults: readonly FoundFault[]): string[] => faults.map(({ fault, code }) => `${fault} ${code}`).sort();
const leafOf = (issuer: Made | undefined, wanted: Wanted = {}): Promise<Made> =>
  make({ subject: "CN=leaf", names: NAMES, ...(issuer && { issuer }), ...wanted });

test("A chain that reaches a root has no fault, in any order", async () => {
  const leaf = await leafOf(MIDDLE);
  assert.deepEqual(await judge([leaf, MIDDLE], { code: undefined }), []);
  assert.deepEqual(await judge([leaf, STRANGER, ROOT, MIDDLE], { code: undefined }), []);
});

test("A self-signed certificate that the user trusts has no fault", async () => {
  const own = await leafOf(undefined);
  assert.deepEqual(await judge([own], { roots: [own.pem], code: undefined }), []);
});

test("Each of the five faults is found, with OpenSSL's code", async () => {
  const middle = await make({ subject: "CN=foreign", ca: true, issuer: STRANGER });
  assert.deepEqual(await judge([await leafOf(ROOT, EXPIRED)]), ["expired CERT_HAS_EXPIRED"]);
  assert.deepEqual(await judge([await leafOf(ROOT, { from: 3, to: 9 })]), ["expired CERT_NOT_YET_VALID"]);
  assert.deepEqual(await judge([await leafOf(undefined)]), ["selfSigned DEPTH_ZERO_SELF_SIGNED_CERT"]);
  assert.deepEqual(await judge([await leafOf(STRANGER)]), ["unknownIssuer UNABLE_TO_VERIFY_LEAF_SIGNATURE"]);
  assert.deepEqual(await judge([await leafOf(STRANGER), STRANGER]), ["unknownIssuer SELF_SIGNED_CERT_IN_CHAIN"]);
  assert.deepEqual(await judge([await leafOf(middle), middle]), ["unknownIssuer UNABLE_TO_GET_ISSUER_CERT_LOCALLY"]);
  assert.deepEqual(await judge([await leafOf(MIDDLE)]), ["unknownIssuer UNABLE_TO_VERIFY_LEAF_SIGNATURE"]);
  assert.deepEqual(await judge([await leafOf(ROOT)], { host: "www.example.org" }), ["hostMismatch HOSTNAME_MISMATCH"]);
  assert.deepEqual(await judge([await leafOf(ROOT, CLIENT_ONLY)]), ["invalid INVALID_PURPOSE"]);
});

test("An expired date hides other faults in OpenSSL's result, but not here", async () => {
  const hidden = { code: "CERT_HAS_EXPIRED" };
  const expired = "expired CERT_HAS_EXPIRED";
  assert.deepEqual(await judge([await leafOf(undefined, EXPIRED)], hidden), [
    expired,
    "selfSigned DEPTH_ZERO_SELF_SIGNED_CERT",
  ]);
  const forged = await leafOf(STRANGER, EXPIRED);
  assert.deepEqual(await judge([forged], hidden), [expired, "unknownIssuer UNABLE_TO_GET_ISSUER_CERT_LOCALLY"]);
  assert.deepEqual(await judge([forged, STRANGER], hidden), [expired, "unknownIssuer SELF_SIGNED_CERT_IN_CHAIN"]);
  const client = await leafOf(ROOT, { ...EXPIRED, ...CLIENT_ONLY });
  assert.deepEqual(await judge([client], hidden), [expired, "invalid INVALID_PURPOSE"]);
  assert.deepEqual(await judge([await leafOf(ROOT, EXPIRED)], { ...hidden, host: "b.example" }), [
    expired,
    "hostMismatch HOSTNAME_MISMATCH",
  ]);
});

test("A CA with the name of a trusted root but another key is an unknown issuer, expired or not", async () => {
  const impostor = await make({ subject: "CN=root", ca: true });
  const expired = "expired CERT_HAS_EXPIRED";
  const unknown = "unknownIssuer UNABLE_TO_GET_ISSUER_CERT_LOCALLY";
  assert.deepEqual(await judge([await leafOf(impostor, EXPIRED)]), [expired, unknown]);
  assert.deepEqual(await judge([await leafOf(impostor)]), ["invalid CERT_SIGNATURE_FAILURE", unknown]);
  const sent = await judge([await leafOf(impostor, EXPIRED), impostor]);
  assert.deepEqual(sent, [expired, "unknownIssuer SELF_SIGNED_CERT_IN_CHAIN"]);
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
  const faults = await judge([await leafOf(beyond, EXPIRED), beyond, last], { code: "CERT_HAS_EXPIRED" });
  assert.deepEqual(faults, ["expired CERT_HAS_EXPIRED", "invalid PATH_LENGTH_EXCEEDED"]);
});

test("A critical extension that is not handled is found behind an expired date", async () => {
  const strange = new x509.Extension("1.2.3.4", true, Buffer.from("0500", "hex"));
  const faults = await judge([await leafOf(ROOT, { ...EXPIRED, extensions: [strange] })], { code: "CERT_HAS_EXPIRED" });
  assert.deepEqual(faults, ["expired CERT_HAS_EXPIRED", "invalid UNHANDLED_CRITICAL_EXTENSION"]);
});

test("With an expired intermediate CA the chain is expired, but its issuer is known", async () => {
  const old = await make({ subject: "CN=old", ca: true, issuer: ROOT, ...EXPIRED });
  assert.deepEqual(await judge([await leafOf(old), old]), ["expired CERT_HAS_EXPIRED"]);
});

test("Weak keys and SHA-1 are refused at every security level of OpenSSL", async () => {
  const weakest = { ciphers: "DEFAULT:@SECLEVEL=0", code: undefined };
  const sha1 = await make({ subject: "CN=sha1", ca: true, issuer: ROOT, algorithm: "rsa-sha1" });
  const small = await leafOf(ROOT, { algorithm: "rsa-1024" });
  assert.deepEqual(await judge([small], weakest), ["invalid EE_KEY_TOO_SMALL"]);
  assert.deepEqual(await judge([await leafOf(sha1), sha1], weakest), ["invalid CA_MD_TOO_WEAK"]);
  const pss = await make({ subject: "CN=pss", ca: true, issuer: ROOT, algorithm: "rsa" });
  assert.deepEqual(await judge([await leafOf(pss), pss], weakest), []);
});

test("Weak signatures of the root, and of certificates outside the chain, are no fault", async () => {
  const weakest = { ciphers: "DEFAULT:@SECLEVEL=0", code: undefined };
  const { keys } = await make({ algorithm: "rsa" });
  const strong = await make({ subject: "CN=old root", ca: true, algorithm: "rsa", keys });
  const exported = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  const sha1 = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-1" };
  const privateKey = await crypto.subtle.importKey("pkcs8", exported, sha1, true, ["sign"]);
  const root = await make({ subject: "CN=old root", ca: true, algorithm: "rsa-sha1", keys: { ...keys, privateKey } });
  assert.match(new X509Certificate(root.pem).signatureAlgorithm ?? "", /sha1/i);
  const unneeded = await make({ subject: "CN=unneeded", ca: true, issuer: root });
  assert.deepEqual(await judge([await leafOf(strong), unneeded], { ...weakest, roots: [root.pem] }), []);
});

test("For UNSPECIFIED the fault is invalid, with the code that is found here", async () => {
  const strange = new x509.Extension("1.2.3.4", true, Buffer.from("0500", "hex"));
  const leaf = await leafOf(ROOT, { extensions: [strange] });
  assert.deepEqual(await judge([leaf], { code: "UNSPECIFIED" }), ["invalid UNHANDLED_CRITICAL_EXTENSION"]);
});

test("A breach of name constraints hides the dates in OpenSSL's result, but not here", needs("openssl"), async (t) => {
  const folder = emptyFolder(t);
  mkdirSync(join(folder, "in"));
  writeFileSync(
    join(folder, "ca.ext"),
    "basicConstraints=critical,CA:TRUE\nnameConstraints=critical,permitted;DNS:example.org\n",
  );
  writeFileSync(join(folder, "leaf.ext"), "subjectAltName=DNS:www.example.com\n");
  const request = (name: string) =>
    openssl(
      folder,
      "req",
      "-new",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-keyout",
      `${name}.key`,
      "-subj",
      `/CN=${name}`,
      "-out",
      `${name}.csr`,
    );
  openssl(
    folder,
    "req",
    "-x509",
    "-newkey",
    "rsa:2048",
    "-nodes",
    "-keyout",
    "root.key",
    "-subj",
    "/CN=root",
    "-out",
    "root.pem",
    "-days",
    "9",
  );
  request("ca");
  openssl(
    folder,
    "x509",
    "-req",
    "-in",
    "ca.csr",
    "-CA",
    "root.pem",
    "-CAkey",
    "root.key",
    "-out",
    "ca.pem",
    "-days",
    "9",
    "-extfile",
    "ca.ext",
  );
  request("leaf");
  openssl(
    folder,
    "x509",
    "-req",
    "-in",
    "leaf.csr",
    "-CA",
    "ca.pem",
    "-CAkey",
    "ca.key",
    "-out",
    "leaf.pem",
    "-days",
    "-1",
    "-extfile",
    "leaf.ext",
  );
  const [root, ca, leaf, keyPem] = ["root.pem", "ca.pem", "leaf.pem", "leaf.key"].map((name) =>
    readFileSync(join(folder, name), "utf8"),
  );
  const found = await shake({ certificatePem: leaf! + ca!, keyPem: keyPem! }, [root!]);
  const { faults } = verifyServer({
    ...found,
    host: "www.example.com",
    roots: createRootSet([root!]),
    now: Date.now(),
  });
  assert.notEqual(found.code, "CERT_HAS_EXPIRED");
  assert.deepEqual(faults.map(({ fault }) => fault).sort(), ["expired", "invalid"]);
});

const HOSTS: readonly (readonly [string, boolean])[] = [
  ["www.example.com", true],
  ["WWW.Example.COM", true],
  ["www.example.com.", true],
  ["example.com", false],
  [".example.com", false],
  ["a.www.example.com", false],
  ["a.wild.example", true],
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
    ["dns", "f*.part.example"],
    ["dns", "10.0.0.1"],
    ["ip", "192.0.2.1"],
    ["ip", "2001:db8::1"],
  ] as const;
  const { leaf, code } = await shakeOne(await leafOf(ROOT, { names }));
  const roots = createRootSet([ROOT.pem]);
  for (const [host, matches] of HOSTS) {
    const { faults } = verifyServer({ leaf, sent: [], code, host, roots, now: Date.now() });
    assert.deepEqual(
      faults.map(({ fault }) => fault),
      matches ? [] : ["hostMismatch"],
      host,
    );
  }
  assert.deepEqual(verifyServer({ leaf, sent: [], code, host: undefined, roots, now: Date.now() }).faults, []);
});

test("A certificate without subjectAltName matches no host, not even its common name", async () => {
  const { leaf, code } = await shakeOne(await make({ subject: "CN=www.example.com", issuer: ROOT }));
  const { faults } = verifyServer({
    leaf,
    sent: [],
    code,
    host: "www.example.com",
    roots: createRootSet([ROOT.pem]),
    now: Date.now(),
  });
  assert.deepEqual(write(faults), ["hostMismatch HOSTNAME_MISMATCH"]);
});

const shakeOne = ({ pem, keyPem }: Made) => shake({ certificatePem: pem, keyPem }, [ROOT.pem]);

test('An OpenSSL code that is not in the table is a fault, even "toString"', async () => {
  const { leaf } = await shakeOne(await leafOf(ROOT));
  for (const code of ["SOMETHING_NEW", "toString", "__proto__"]) {
    const { faults } = verifyServer({
      leaf,
      sent: [],
      code,
      host: undefined,
      roots: createRootSet([ROOT.pem]),
      now: Date.now(),
    });
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

test("createRootSet() keeps each root once and finds issuers by name, ignoring case", async () => {
  const roots = createRootSet([ROOT.pem, ROOT.pem, STRANGER.pem]);
  assert.equal(roots.size, 2);
  assert.ok(roots.has(new X509Certificate(ROOT.pem)));
  assert.ok(!roots.has(new X509Certificate(MIDDLE.pem)));
  const shouting = await make({ subject: "CN=x", issuer: { ...ROOT, subject: "CN=ROOT" } });
  assert.equal(roots.issuersOf(new X509Certificate(shouting.pem)).length, 1);
});
