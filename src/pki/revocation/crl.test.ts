import "reflect-metadata";
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { PeerError } from "../../errors.ts";
import { readCertificate } from "../x509/certificate.ts";
import { encodeExtension } from "../x509/certificate-writing.ts";
import { encode, TAG } from "../x509/der.ts";
import { OID } from "../x509/oid.ts";
import { make } from "../x509/test-chain.ts";
import { lookUp, openRevocationList, readCrl } from "./crl.ts";
import { indexSerials } from "./serial-index.ts";
import { signerOf, type WantedList, writeCrl } from "./test-answers.ts";

const HOUR = 3_600_000;
const NOW = Date.now();
const URL_A = "http://crl.example/a.crl";
const ROOT = await make({ subject: "CN=root", ca: true });
const OTHER = await make({ subject: "CN=root", ca: true });
const LEAF = await make({ subject: "CN=leaf", issuer: ROOT });
const MIDDLE = await make({ subject: "CN=middle", issuer: ROOT, ca: true });
const ISSUER = new X509Certificate(ROOT.pem);
const subjectOf = ({ pem }: { pem: string }) => ({ certificate: new X509Certificate(pem), issuer: ISSUER });
const serialOf = ({ der }: { der: Buffer }) => readCertificate(der).serial;

const write = (wanted: Partial<WantedList> = {}) =>
  writeCrl({ signer: signerOf(ROOT), serials: [], thisUpdate: NOW - HOUR, nextUpdate: NOW + HOUR, ...wanted });
async function ask(wanted: Partial<WantedList> = {}, made = LEAF, names = [URL_A]) {
  return lookUp(await openRevocationList(write(wanted), ISSUER, NOW), subjectOf(made), names);
}

const reason = (code: number) => encodeExtension(OID.reasonCode, false, encode(TAG.enumerated, Buffer.from([code])));
const flag = (tag: number) => encode(tag, Buffer.from([0xff]));
const point = (...parts: readonly Buffer[]) => [
  encodeExtension(OID.issuingDistributionPoint, true, encode(TAG.sequence, ...parts)),
];
const named = (url: string) => encode(0xa0, encode(0xa0, encode(0x86, Buffer.from(url))));

test("A certificate is good unless the list has its serial number; then the answer has the reason", async () => {
  const neighbours = Array.from({ length: 500 }, (_, index) => Buffer.from([1, index >> 8, index & 0xff]));
  assert.equal((await ask()).status, "good");
  assert.equal((await ask({ serials: neighbours })).status, "good");
  const revoked = await ask({ serials: [...neighbours, serialOf(LEAF)], entryExtensions: [reason(1)] });
  assert.deepEqual([revoked.status, revoked.reason], ["revoked", "keyCompromise"]);
  assert.deepEqual(await ask({ serials: [serialOf(LEAF)] }).then(({ reason: why }) => why), null);
});

test("The index finds the serial numbers of the list and no others", async () => {
  const serial = fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => Buffer.from([1, ...bytes]));
  await fc.assert(
    fc.asyncProperty(
      fc.array(serial, { maxLength: 60 }),
      fc.array(serial, { maxLength: 10 }),
      async (inside, outside) => {
        const { serials } = await openRevocationList(write({ serials: inside }), ISSUER, NOW);
        for (const one of inside) assert.ok(serials.find(one));
        for (const one of outside)
          assert.equal(
            serials.find(one) !== undefined,
            inside.some((other) => other.equals(one)),
          );
      },
    ),
    { numRuns: 100 },
  );
});

test("A partial list is used only for the certificates that it covers", async () => {
  const other = named("http://crl.example/b.crl");
  assert.equal((await ask({ extensions: point(named(URL_A)) })).status, "good");
  assert.equal((await ask({ extensions: point(flag(0x81)) })).status, "good");
  assert.equal((await ask({ extensions: point(flag(0x82)) }, MIDDLE)).status, "good");
  const why = /does not cover this certificate/;
  await assert.rejects(ask({ extensions: point(other) }), why);
  await assert.rejects(ask({ extensions: point(flag(0x81)) }, MIDDLE), why);
  await assert.rejects(ask({ extensions: point(flag(0x82)) }), why);
});

const REFUSED: readonly (readonly [string, Partial<WantedList>, RegExp])[] = [
  ["with a signature of another CA of the same name", { signer: signerOf(OTHER) }, /the issuer did not sign it/],
  ["that has expired", { thisUpdate: NOW - 3 * HOUR, nextUpdate: NOW - HOUR }, /it expired at/],
  ["from the future", { thisUpdate: NOW + HOUR, nextUpdate: NOW + 2 * HOUR }, /is in the future/],
  [
    "that is a delta CRL",
    { extensions: [encodeExtension(OID.deltaCrlIndicator, true, encode(TAG.integer, Buffer.from([1])))] },
    /it is a delta CRL/,
  ],
  [
    "with a critical extension",
    { extensions: [encodeExtension("551d63", true, Buffer.from([5, 0]))] },
    /critical extension 2\.5\.29\.99, which is not supported/,
  ],
  ["of some reasons", { extensions: point(encode(0x83, Buffer.from([1, 0x40]))) }, /onlySomeReasons/],
  ["of several issuers", { extensions: point(flag(0x84)) }, /indirectCRL/],
  ["of attribute certificates", { extensions: point(flag(0x85)) }, /onlyContainsAttributeCerts/],
  [
    "with an entry of another issuer",
    { serials: [Buffer.from([9])], entryExtensions: [reason(1), encodeExtension("551d1d", true, Buffer.from([5, 0]))] },
    /an entry of the list has a critical extension/,
  ],
];
for (const [what, wanted, why] of REFUSED) {
  test(`A list ${what} is not used`, async () => {
    await assert.rejects(ask(wanted), (error) => error instanceof PeerError && why.test(error.message));
  });
}

test("readCrl() reads a list or throws a PeerError, whatever the bytes", async () => {
  const bytes = write({ serials: [serialOf(LEAF), Buffer.from([5])], entryExtensions: [reason(1)] });
  const refused = (error: unknown) => assert.ok(error instanceof PeerError, String(error));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (some) => {
      try {
        readCrl(Buffer.from(some));
      } catch (error) {
        refused(error);
      }
    }),
  );
  for (let end = 0; end < bytes.length; end += 1) {
    assert.throws(() => readCrl(bytes.subarray(0, end)), PeerError);
  }
});

test("indexSerials() throws no error but PeerError, whatever byte of an entry is changed or missing", async () => {
  const entry = writeCrlEntry();
  await fc.assert(
    fc.asyncProperty(fc.nat(entry.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      const changed = Buffer.from(entry);
      changed[at]! ^= change;
      await indexSerials(changed).catch((error) => assert.ok(error instanceof PeerError, String(error)));
    }),
    { numRuns: 500 },
  );
  for (let end = 1; end < entry.length; end += 1) await assert.rejects(indexSerials(entry.subarray(0, end)), PeerError);
});

function writeCrlEntry(): Buffer {
  return readCrl(write({ serials: [serialOf(LEAF)], entryExtensions: [reason(4)] })).revoked;
}
