import assert from "node:assert/strict";
import { createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { PeerError } from "../../errors.ts";
import { recordCertificate } from "./certificate-record.ts";
import { encodeExtension, issueCertificate, randomSerial } from "./certificate-writing.ts";
import { encode, encodeOid, TAG } from "./der.ts";
import { OID } from "./oid.ts";
import { publicKeyOf } from "./public-key.ts";
import { make } from "./test-chain.ts";

const NOW = 1_800_000_000_000;
const KEY = createPrivateKey((await make()).keyPem);

/** A certificate with exactly these bytes in its common names and GeneralNames. */
async function craft(
  commonNames: readonly string[],
  names?: readonly (readonly [tag: number, bytes: Buffer | string])[],
) {
  const sets = commonNames.map((value) =>
    encode(TAG.set, encode(TAG.sequence, encodeOid(OID.commonName), encode(TAG.utf8String, Buffer.from(value)))),
  );
  const list =
    names && encode(TAG.sequence, ...names.map(([tag, bytes]) => encode(tag, Buffer.from(bytes as string, "latin1"))));
  const extensions = list
    ? [encodeExtension(OID.subjectAltName, false, list)]
    : [encodeExtension("2a0304", false, Buffer.from([5, 0]))];
  const name = encode(TAG.sequence, ...sets);
  const content = {
    serial: randomSerial(),
    issuer: name,
    subject: name,
    notBefore: NOW,
    notAfter: NOW + 1000,
    publicKey: publicKeyOf(KEY),
    extensions,
  };
  return new X509Certificate(await issueCertificate(content, KEY));
}

test("recordCertificate() reads subject, issuer, names, fingerprint and dates", async () => {
  const ca = await make({ subject: "C=US, O=Let's Trust, CN=R3", ca: true });
  const { der } = await make({
    subject: "C=DE, O=Müller\\, Söhne, CN=www.example.com",
    issuer: ca,
    names: [
      ["dns", "WWW.Example.com"],
      ["dns", "*.example.org"],
      ["ip", "192.0.2.1"],
      ["ip", "2001:db8:0:0::1"],
      ["dns", "www.example.com"],
    ],
  });
  const certificate = new X509Certificate(der);
  assert.deepEqual(recordCertificate(certificate), {
    subject: "CN=www.example.com, O=Müller\\, Söhne, C=DE",
    issuer: "CN=R3, O=Let's Trust, C=US",
    names: ["www.example.com", "*.example.org", "192.0.2.1", "2001:db8::1"],
    sha256: createHash("sha256").update(der).digest("hex"),
    sha1: createHash("sha1").update(der).digest("hex"),
    serial: certificate.serialNumber.toLowerCase(),
    notBefore: certificate.validFromDate.getTime(),
    notAfter: certificate.validToDate.getTime(),
  });
});

const COMMON: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ["a host", ["www.example.com"], ["www.example.com"]],
  ["the last of several", ["example.com", "www.example.com"], ["www.example.com"]],
  ["an address", ["2001:DB8::0:1"], ["2001:db8::1"]],
  ["words", ["Example Server"], []],
  ["a number", ["10"], ["10"]],
  ["a NUL", ["good.example\0.evil.example"], []],
  ["nothing", [], []],
];
for (const [what, commonNames, names] of COMMON) {
  test(`Without subjectAltName the common name counts if it can be a host: ${what}`, async () => {
    assert.deepEqual(recordCertificate(await craft(commonNames)).names, names);
  });
}

test("With subjectAltName the common name does not count, even if the extension has no host", async () => {
  assert.deepEqual(recordCertificate(await craft(["www.example.com"], [[0x81, "mail@example.com"]])).names, []);
});

test("A name that forges a list, has a NUL or the wrong length is omitted", async () => {
  const forged = await craft(
    ["x"],
    [
      [0x82, "good.example, DNS:bank.example"],
      [0x82, 'good.example", DNS:"bank.example'],
      [0x82, "bank.example\0.evil.example"],
      [0x82, "bank.example\n"],
      [0x82, "b\xe4nk.example"],
      [0x87, "\x01\x02\x03\x04\x05"],
      [0x82, "*.*.example"],
      [0x82, "honest.example."],
    ],
  );
  assert.deepEqual(recordCertificate(forged).names, ["honest.example"]);
});

test("A subject is one line with control and format characters escaped", async () => {
  const { subject } = recordCertificate(await craft(["a\nCN=bank.example", "\u202egnp.exe", "a, O=Bank", "\u001b[2J"]));
  assert.doesNotMatch(subject, /[\p{Cc}\p{Cf}]/u);
  assert.match(subject, /a\\0ACN=bank\.example/);
  assert.match(subject, /CN=\\u\{202e\}gnp\.exe/);
  assert.match(subject, /a\\, O=Bank/);
  assert.equal(recordCertificate(await craft([])).subject, "");
});

test("A very long subject is cut", async () => {
  const names = Array.from({ length: 100 }, () => "x".repeat(60));
  assert.equal(recordCertificate(await craft(names)).subject.length, 1025);
});

test("recordCertificate() answers a record or throws a PeerError, whatever bytes the names have", async () => {
  const names = fc.array(fc.tuple(fc.integer({ min: 0x80, max: 0x9e }), fc.uint8Array({ maxLength: 24 })), {
    minLength: 1,
    maxLength: 4,
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ unit: "binary", maxLength: 20 }), { maxLength: 3 }),
      names,
      async (commonNames, list) => {
        const certificate = await craft(
          commonNames,
          list.map(([tag, bytes]) => [tag, Buffer.from(bytes)] as const),
        );
        try {
          const record = recordCertificate(certificate);
          for (const name of record.names) assert.match(name, /^[a-z0-9_.:*-]+$/);
          assert.doesNotMatch(record.subject, /[\p{Cc}\p{Cf}]/u);
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error;
          assert.ok(error instanceof PeerError);
        }
      },
    ),
    { numRuns: 100 },
  );
});

test("A date that cannot be parsed is null", async () => {
  const { der } = await make();
  const dates = Buffer.from([0x30, 0x1e, 0x17, 0x0d]);
  der.write("not a date at", der.indexOf(dates) + dates.length, "latin1");
  const { notBefore, notAfter } = recordCertificate(new X509Certificate(der));
  assert.equal(notBefore, null);
  assert.equal(typeof notAfter, "number");
});
