import "reflect-metadata";
import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import * as x509 from "@peculiar/x509";
import fc from "fast-check";
import { needs } from "../../../test/needs.ts";
import { ENTRY_BYTES } from "../../cache.ts";
import { PeerError } from "../../errors.ts";
import { readCertificate } from "../x509/certificate.ts";
import { encodeExtension, issueCertificate, randomSerial } from "../x509/certificate-writing.ts";
import { encode, encodeOid, TAG } from "../x509/der.ts";
import { OID } from "../x509/oid.ts";
import { splitPem } from "../x509/pem.ts";
import { publicKeyOf } from "../x509/public-key.ts";
import { emptyFolder, make, openssl, shake } from "../x509/test-chain.ts";
import { type Authorities, openAuthorities } from "./authority.ts";
import { createMint, type MintOptions, type MintRequest } from "./mint.ts";

const NOW = Date.now();
const DAY = 86_400_000;

const folder = mkdtempSync(join(tmpdir(), "clearline-mint-"));
after(() => rmSync(folder, { recursive: true }));
const authorities = await openAuthorities(folder, {}, NOW);

const createSmallMint = (options: MintOptions = {}) => createMint(authorities, { rsaPoolSize: 1, ...options }, NOW);

const ask = (certificate: Buffer, change: Partial<MintRequest> = {}): MintRequest => ({
  certificate,
  authority: "primary",
  keyType: "ecdsa",
  ...change,
});

/** A server's certificate with extensions that must be copied and others that must not. */
async function original(change: Parameters<typeof make>[0] = {}) {
  const rubbish = (oid: string, hex: string) => new x509.Extension(oid, false, Buffer.from(hex, "hex"));
  return await make({
    subject: "C=DE, O=Müller & Söhne, CN=www.example.com",
    names: [
      ["dns", "www.example.com"],
      ["dns", "*.example.org"],
      ["ip", "192.0.2.1"],
    ],
    from: -40,
    to: 50,
    usages: x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyAgreement,
    purposes: ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"],
    extensions: [
      rubbish("1.3.6.1.4.1.11129.2.4.2", "04020000"), // SCTs
      rubbish("1.3.6.1.5.5.7.1.24", "3003020105"), // must-staple
      rubbish("2.5.29.32", "30073005060367810c"), // policies
      new x509.CRLDistributionPointsExtension(["http://crl.example/"]),
      new x509.AuthorityInfoAccessExtension({ ocsp: ["http://ocsp.example/"] }),
    ],
    ...change,
  });
}

for (const keyType of ["ecdsa", "rsa"] as const) {
  test(`An issued ${keyType} certificate copies subject and names, has its own serial, dates and key, and nothing else`, async () => {
    const mint = createSmallMint();
    const { der } = await original();
    const minted = await mint.issue(ask(der, { keyType }), NOW);
    const server = new x509.X509Certificate(der);
    // Read by another implementation than the one that wrote it.
    const issued = new x509.X509Certificate(splitPem(minted.certificatePem)[0]!);
    const ca = authorities.find("primary", keyType);

    assert.equal(
      Buffer.from(issued.subjectName.toArrayBuffer()).compare(Buffer.from(server.subjectName.toArrayBuffer())),
      0,
    );
    const [copied, san] = [issued, server].map((one) => one.getExtension(x509.SubjectAlternativeNameExtension)!);
    assert.deepEqual(Buffer.from(copied!.value), Buffer.from(san!.value));
    assert.equal(copied!.critical, false);

    assert.match(issued.serialNumber, /^[4-7][0-9a-f]{31}$/);
    assert.equal(issued.serialNumber, minted.serial);
    assert.notEqual(issued.serialNumber, server.serialNumber);

    const usages = issued.getExtension(x509.KeyUsagesExtension)!;
    assert.ok(usages.critical);
    const { digitalSignature, keyEncipherment } = x509.KeyUsageFlags;
    assert.equal(usages.usages, keyType === "rsa" ? digitalSignature | keyEncipherment : digitalSignature);
    assert.deepEqual([...issued.getExtension(x509.ExtendedKeyUsageExtension)!.usages], ["1.3.6.1.5.5.7.3.1"]);
    const limits = issued.getExtension(x509.BasicConstraintsExtension)!;
    assert.deepEqual([limits.critical, limits.ca, limits.pathLength], [true, false, undefined]);
    assert.equal(issued.getExtension(x509.AuthorityKeyIdentifierExtension)!.keyId, ca.keyId.toString("hex"));
    const subjectKeyId = await x509.SubjectKeyIdentifierExtension.create(issued.publicKey);
    assert.equal(issued.getExtension(x509.SubjectKeyIdentifierExtension)!.keyId, subjectKeyId.keyId);
    assert.equal(issued.extensions.length, 6);

    const node = new X509Certificate(minted.certificatePem);
    assert.ok(node.checkIssued(ca.certificate) && node.verify(ca.certificate.publicKey));
    const { asymmetricKeyType, asymmetricKeyDetails } = node.publicKey;
    assert.deepEqual(
      [asymmetricKeyType, asymmetricKeyDetails?.namedCurve ?? asymmetricKeyDetails?.modulusLength],
      keyType === "rsa" ? ["rsa", 2048] : ["ec", "prime256v1"],
    );
    assert.ok(!publicKeyOf(node.publicKey).equals(publicKeyOf(ca.key)));
    assert.equal(minted.sha256, node.fingerprint256.replaceAll(":", "").toLowerCase());
    assert.equal(minted.notAfter, node.validToDate.getTime());
  });

  test(`A client that trusts the primary CA accepts an issued ${keyType} certificate for its names`, async () => {
    const mint = createSmallMint();
    const { der } = await original();
    const roots = authorities
      .list()
      .filter(({ role }) => role === "primary")
      .map(({ certificatePem }) => certificatePem);
    const good = await mint.issue(ask(der, { keyType }), NOW);
    assert.equal((await shake(good, roots, { servername: "www.example.com" })).code, undefined);
    assert.equal((await shake(good, roots, { servername: "a.example.org" })).code, undefined);
    assert.equal((await shake(good, roots, { servername: "example.com" })).code, "ERR_TLS_CERT_ALTNAME_INVALID");
    const warned = await mint.issue(ask(der, { keyType, authority: "secondary" }), NOW);
    assert.equal(
      (await shake(warned, roots, { servername: "www.example.com" })).code,
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    );
  });

  test(
    `openssl verify accepts an issued ${keyType} certificate, strictly, for a server and for its names`,
    needs("openssl"),
    async (t) => {
      const folder = emptyFolder(t);
      const mint = createSmallMint();
      for (const [name, der] of [
        ["plain", (await original()).der],
        ["nameless", await nameless()],
      ] as const) {
        const minted = await mint.issue(ask(der, { keyType }), NOW);
        writeFileSync(join(folder, `${name}.pem`), minted.certificatePem);
        writeFileSync(join(folder, "ca.pem"), authorities.find("primary", keyType).certificatePem);
        const strict = [
          "-x509_strict",
          "-purpose",
          "sslserver",
          "-auth_level",
          "2",
          "-verify_hostname",
          "www.example.com",
        ];
        assert.match(openssl(folder, "verify", ...strict, "-CAfile", "ca.pem", `${name}.pem`), /: OK/);
      }
    },
  );
}

/** A server's certificate with names and an empty subject: RFC 5280, section 4.1.2.6. */
async function nameless(subject = encode(TAG.sequence)): Promise<Buffer> {
  const { der, keyPem } = await original();
  const key = createPrivateKey(keyPem);
  const names = readCertificate(der).extensions.get(OID.subjectAltName)!.value;
  const extensions = [encodeExtension(OID.subjectAltName, true, names)];
  const validity = { notBefore: NOW - DAY, notAfter: NOW + DAY };
  const content = {
    serial: randomSerial(),
    issuer: subject,
    subject,
    ...validity,
    publicKey: publicKeyOf(key),
    extensions,
  };
  return await issueCertificate(content, key);
}

test("An empty subject stays empty, and subjectAltName is then critical", async () => {
  const mint = createSmallMint();
  const { certificatePem } = await mint.issue(ask(await nameless()), NOW);
  const { subject, extensions } = readCertificate(new X509Certificate(certificatePem).raw);
  assert.equal(subject.toString("hex"), "3000");
  assert.equal(extensions.get(OID.subjectAltName)?.critical, true);
});

test("A subject is copied byte for byte, with any string types and bytes", async () => {
  const mint = createSmallMint();
  const text = fc.record({
    tag: fc.constantFrom(0x0c, 0x13, 0x14, 0x16),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 20 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 3 }), async (values) => {
      const sets = values.map(({ tag, bytes }) =>
        encode(TAG.set, encode(TAG.sequence, encodeOid(OID.commonName), encode(tag, Buffer.from(bytes)))),
      );
      const name = encode(TAG.sequence, ...sets);
      const der = await nameless(name);
      // OpenSSL rejects some of these; then no session needs a certificate.
      if (!isCertificate(der)) return;
      const { certificatePem } = await mint.issue(ask(der), NOW);
      assert.ok(readCertificate(new X509Certificate(certificatePem).raw).subject.equals(name));
    }),
    { numRuns: 60 },
  );
  assert.ok(mint.counters().minted > 20);
});

function isCertificate(der: Buffer): boolean {
  try {
    return new X509Certificate(der).raw.length > 0;
  } catch {
    return false;
  }
}

// Adding 0 makes a zero of a negative zero.
const day = (ms: number): number => Math.round((ms - NOW) / DAY) + 0;
const DATES: readonly (readonly [string, { from: number; to: number }, number, readonly [number, number]])[] = [
  ["ends with the original, and begins a day ago", { from: -40, to: 50 }, 90, [-1, 50]],
  ["does not begin before the original", { from: -0.25, to: 50 }, 90, [0, 50]],
  ["is not longer than the maximum", { from: -400, to: 400 }, 90, [-1, 89]],
  ["ends with its CA", { from: -1, to: 9000 }, 9999, [-1, 3650]],
  ["of an expired original has expired at the same time", { from: -40, to: -3 }, 90, [-40, -3]],
  ["of a long expired original is not longer than the maximum", { from: -900, to: -3 }, 90, [-93, -3]],
  ["of an original that is not yet valid begins with it", { from: 5, to: 50 }, 90, [5, 50]],
];
for (const [title, { from, to }, maximum, expected] of DATES) {
  test(`An issued certificate ${title}`, async () => {
    const mint = createSmallMint({ maxValidity: maximum * DAY });
    const { der } = await original({ from, to });
    const { certificatePem } = await mint.issue(ask(der, { authority: "secondary" }), NOW);
    const [server, issued] = [new X509Certificate(der), new X509Certificate(certificatePem)];
    assert.deepEqual([day(issued.validFromDate.getTime()), day(issued.validToDate.getTime())], expected);
    assert.ok(issued.validFromDate >= server.validFromDate && issued.validToDate <= server.validToDate);
  });
}

const STEPS: readonly (readonly [ahead: number, expected: readonly [number, number]])[] = [
  [40, [-1, 89]],
  [-40, [-1, 89]],
  // The machine may have started with a clock that was behind: half of the time would be over.
  [200, [199, 289]],
];
for (const [ahead, expected] of STEPS) {
  test(`With a clock that was set ${ahead} days ahead, a certificate is valid from day ${expected.join(" to ")}`, async () => {
    const mint = createSmallMint({ maxValidity: 90 * DAY, steady: () => NOW });
    const { der } = await original({ from: -400, to: 400 });
    const { certificatePem } = await mint.issue(ask(der, { authority: "secondary" }), NOW + ahead * DAY);
    const { validFromDate, validToDate } = new X509Certificate(certificatePem);
    assert.deepEqual([day(validFromDate.getTime()), day(validToDate.getTime())], expected);
  });
}

test("For an expired original a client that trusts the CA reports CERT_HAS_EXPIRED", async () => {
  const mint = createSmallMint();
  const { der } = await original({ from: -40, to: -3 });
  const minted = await mint.issue(ask(der, { authority: "secondary" }), NOW);
  const { code } = await shake(minted, [authorities.find("secondary", "ecdsa").certificatePem]);
  assert.equal(code, "CERT_HAS_EXPIRED");
});

test("The chain of a given intermediate CA is included, so that a client needs only the root", async (t) => {
  const root = await make({ subject: "CN=root", ca: true });
  const middle = await make({ subject: "CN=middle", ca: true, issuer: root, algorithm: "rsa" });
  const primary = { certificatePem: middle.pem + root.pem, keyPem: middle.keyPem, path: "signing.primary" };
  const authorities = await openAuthorities(emptyFolder(t), { primary }, NOW);
  const mint = createMint(authorities, {}, NOW);
  const minted = await mint.issue(ask((await original()).der), NOW);
  assert.equal(splitPem(minted.certificatePem).length, 2);
  assert.equal((await shake(minted, [root.pem], { servername: "www.example.com" })).code, undefined);
});

test("A hundred requests for a new server at the same time share one certificate", async () => {
  const mint = createSmallMint();
  const { der } = await original();
  const minted = await Promise.all(Array.from({ length: 100 }, () => mint.issue(ask(Buffer.from(der)), NOW)));
  assert.equal(new Set(minted.map(({ serial }) => serial)).size, 1);
  const { minted: times, hits } = mint.counters();
  assert.deepEqual({ times, hits }, { times: 1, hits: 99 });
});

test("A server gets the same certificate within the cache's time, and then a new one", async () => {
  const mint = createSmallMint({ cacheTime: 1000 });
  const { der } = await original();
  const serials = [];
  for (const at of [0, 999, 1000, 1999, 2000]) serials.push((await mint.issue(ask(der), NOW + at)).serial);
  const [first, second, third, fourth, fifth] = serials;
  assert.equal(second, first);
  assert.notEqual(third, first);
  assert.equal(fourth, third);
  assert.notEqual(fifth, third);
  assert.deepEqual([mint.counters().minted, mint.counters().hits], [3, 2]);
});

test("A certificate leaves the cache when it expires, but one for an expired original stays", async () => {
  const mint = createSmallMint({ cacheTime: 100 * DAY });
  const { der } = await original({ to: 2 });
  const first = await mint.issue(ask(der), NOW);
  assert.notEqual((await mint.issue(ask(der), first.notAfter)).serial, first.serial);
  const past = (await original({ to: -2 })).der;
  assert.equal((await mint.issue(ask(past), NOW)).serial, (await mint.issue(ask(past), NOW + DAY)).serial);
});

test("Each role and key type has its own certificate, and each certificate its own key", async () => {
  const mint = createSmallMint();
  const { der } = await original();
  const issued = [];
  for (const authority of ["primary", "secondary"] as const) {
    for (const keyType of ["ecdsa", "rsa"] as const)
      issued.push(await mint.issue(ask(der, { authority, keyType }), NOW));
  }
  assert.equal(new Set(issued.map(({ sha256 }) => sha256)).size, 4);
  const other = await mint.issue(ask((await original()).der), NOW);
  assert.notEqual(other.keyPem, issued[0]!.keyPem);
});

test("When the cache is full, the least recently used certificate is removed", async () => {
  const mint = createSmallMint({ cacheSize: 2 });
  const [a, b, c] = [(await original()).der, (await original()).der, (await original()).der];
  const kept = await mint.issue(ask(a), NOW);
  await mint.issue(ask(b), NOW);
  await mint.issue(ask(a), NOW);
  await mint.issue(ask(c), NOW);
  assert.equal((await mint.issue(ask(a), NOW)).serial, kept.serial);
  const { entries, evicted, minted } = mint.counters();
  assert.deepEqual({ entries, evicted, minted }, { entries: 2, evicted: 1, minted: 3 });
  assert.equal(mint.flush(), 2);
  assert.notEqual((await mint.issue(ask(a), NOW)).serial, kept.serial);
});

test("The cache is bounded in bytes too: a server may have a certificate of 100 KB", async () => {
  const mint = createSmallMint({ cacheBytes: 30_000 });
  const names = Array.from({ length: 400 }, (_, index) => ["dns", `host-${index}.example.com`] as const);
  for (let count = 0; count < 4; count += 1) await mint.issue(ask((await original({ names })).der), NOW);
  const { entries, evicted } = mint.counters();
  assert.ok(entries > 0 && evicted > 0);
  assert.equal(entries + evicted, 4);
});

test("The OCSP response of a certificate counts in the cache too", async () => {
  const { der } = await original();
  const { certificatePem, keyPem } = await createSmallMint().issue(ask(der), NOW);
  const tight = createSmallMint({ cacheBytes: ENTRY_BYTES + certificatePem.length + keyPem.length + 100 });
  await tight.issue(ask(der), NOW);
  assert.equal(tight.counters().entries, 0);
});

test("After a failure the next request tries again", async () => {
  let broken = true;
  const failing: Authorities = {
    ...authorities,
    find(role, keyType) {
      const authority = authorities.find(role, keyType);
      return broken ? { ...authority, key: authority.certificate.publicKey } : authority;
    },
  };
  const mint = createMint(failing, {}, NOW);
  const { der } = await original();
  const both = await Promise.allSettled([mint.issue(ask(der), NOW), mint.issue(ask(der), NOW)]);
  assert.deepEqual(
    both.map(({ status }) => status),
    ["rejected", "rejected"],
  );
  broken = false;
  assert.equal((await mint.issue(ask(der), NOW)).authority, "primary");
  assert.deepEqual([mint.counters().failed, mint.counters().entries], [1, 1]);
});

test("A malformed certificate is a PeerError, and the cache stays empty", async () => {
  const mint = createSmallMint();
  await assert.rejects(mint.issue(ask(Buffer.from("3003020100", "hex")), NOW), PeerError);
  assert.deepEqual([mint.counters().failed, mint.counters().entries], [1, 0]);
});

test("A certificate with a date that cannot be parsed is a PeerError", async () => {
  const { der } = await original();
  // The serial before it is random: two bytes could be found in it.
  const at = der.indexOf(Buffer.from([0x30, 0x1e, 0x17, 0x0d]));
  assert.ok(at > 0);
  der.write("not a date at", at + 4, "latin1");
  await assert.rejects(createSmallMint().issue(ask(der), NOW), PeerError);
});

test("After a renewal the mint presents no certificate of the old CA", async (t) => {
  const renewable = await openAuthorities(emptyFolder(t), {}, NOW);
  const mint = createMint(renewable, { rsaPoolSize: 1 }, NOW);
  const { der } = await original();
  await mint.issue(ask(der), NOW);
  await renewable.renew("primary", NOW);
  const { certificatePem } = await mint.issue(ask(der), NOW);
  const { certificate } = renewable.find("primary", "ecdsa");
  assert.ok(new X509Certificate(certificatePem).verify(certificate.publicKey));
});

test("An RSA key of the pool is used for a number of certificates and a time, and then replaced", async () => {
  const mint = createSmallMint({ rsaPoolSize: 1, rsaKeyUses: 2, rsaKeyTime: DAY });
  const keys = [];
  for (const at of [0, 1, 2, 2 + DAY])
    keys.push((await mint.issue(ask((await original()).der, { keyType: "rsa" }), NOW + at)).keyPem);
  const [first, second, third, fourth] = keys;
  assert.equal(second, first);
  assert.notEqual(third, first);
  assert.notEqual(fourth, third);
});

test("A certificate for fewer names has these alone, and is another one than that for all", async () => {
  const mint = createSmallMint();
  const { der } = await original();
  const names = ["www.example.com", "192.0.2.1", "2001:db8::1"];
  const few = await mint.issue(ask(der, { names }), NOW);
  const issued = new X509Certificate(few.certificatePem);
  assert.equal(issued.subjectAltName, "DNS:www.example.com, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1");
  assert.equal(issued.subject?.includes("CN=www.example.com"), true);
  assert.equal((await mint.issue(ask(der, { names }), NOW)).serial, few.serial);
  const others = [await mint.issue(ask(der), NOW), await mint.issue(ask(der, { names: ["www.example.com"] }), NOW)];
  assert.equal(new Set([few, ...others].map(({ serial }) => serial)).size, 3);
  // A common name is a name to old clients.
  const without = new X509Certificate((await mint.issue(ask(der, { names: ["a.example.org"] }), NOW)).certificatePem);
  assert.equal(without.subject?.includes("CN="), false);
});
