import "reflect-metadata";
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { PeerError } from "../../errors.ts";
import { encode, encodeOid, TAG } from "../x509/der.ts";
import { type Made, make } from "../x509/test-chain.ts";
import { judgeOcspResponse, writeOcspRequest } from "./ocsp.ts";
import { readOcspResponse } from "./ocsp-response.ts";
import { signerOf, type WantedAnswer, writeOcspResponse } from "./test-answers.ts";

const HOUR = 3_600_000;
const NOW = Date.now();
const SIGNING = { purposes: ["1.3.6.1.5.5.7.3.9"] };
const ROOT = await make({ subject: "CN=root", ca: true });
const OTHER = await make({ subject: "CN=root", ca: true });
const LEAF = await make({ subject: "CN=leaf", issuer: ROOT });
const NEIGHBOUR = await make({ subject: "CN=neighbour", issuer: ROOT });
const DELEGATE = await make({ subject: "CN=delegate", issuer: ROOT, ...SIGNING });
const SUBJECT = { certificate: new X509Certificate(LEAF.pem), issuer: new X509Certificate(ROOT.pem) };

const answer = (wanted: Partial<WantedAnswer> = {}) =>
  writeOcspResponse({ ...SUBJECT, signer: signerOf(ROOT), thisUpdate: NOW - HOUR, nextUpdate: NOW + HOUR, ...wanted });
const judge = (wanted: Partial<WantedAnswer> = {}, now = NOW) => judgeOcspResponse(answer(wanted), SUBJECT, now);
const by = (made: Made) => ({ signer: signerOf(made), certificates: [made.der] });

test("A response is used when the issuer or its delegated responder signed it", async () => {
  const good = { status: "good", reason: null, thisUpdate: second(NOW - HOUR), nextUpdate: second(NOW + HOUR) };
  for (const wanted of [
    {},
    { hash: "sha256" },
    { byKey: true },
    by(DELEGATE),
    { ...by(DELEGATE), byKey: true },
  ] as const) {
    assert.deepEqual(await judge(wanted), { ...good, until: second(NOW + HOUR) });
  }
  assert.equal((await judge({ status: "unknown" })).status, "unknown");
  const revoked = await judge({ status: "revoked", reason: 1 });
  assert.deepEqual([revoked.status, revoked.reason], ["revoked", "keyCompromise"]);
  assert.equal((await judge({ status: "revoked" })).reason, null);
});

const second = (ms: number) => Math.floor(ms / 1000) * 1000;

const CLIENT_ONLY = { purposes: ["1.3.6.1.5.5.7.3.2"] };
const REFUSED: readonly (readonly [string, () => Promise<Partial<WantedAnswer>>, RegExp])[] = [
  [
    "about another certificate",
    async () => ({ certificate: new X509Certificate(NEIGHBOUR.pem) }),
    /another certificate/,
  ],
  [
    "about a certificate of another issuer with the same name",
    async () => ({ issuer: new X509Certificate(OTHER.pem) }),
    /another certificate/,
  ],
  ["with a signature of another CA of the same name", async () => ({ signer: signerOf(OTHER) }), /not authorised/],
  ["of another issuer's delegate", async () => by(await make({ issuer: OTHER, ...SIGNING })), /not authorised/],
  [
    "of a delegate with another purpose",
    async () => by(await make({ issuer: ROOT, ...CLIENT_ONLY })),
    /not authorised/,
  ],
  ["of a delegate without a purpose", async () => by(await make({ issuer: ROOT })), /not authorised/],
  [
    "of an expired delegate",
    async () => by(await make({ issuer: ROOT, from: -9, to: -2, ...SIGNING })),
    /not authorised/,
  ],
  [
    "of a delegate with a weak key",
    async () => by(await make({ issuer: ROOT, algorithm: "rsa-1024", ...SIGNING })),
    /not authorised/,
  ],
  ["with a signature of the certificate itself", async () => by(LEAF), /not authorised/],
  ["from the future", async () => ({ thisUpdate: NOW + HOUR, nextUpdate: NOW + 2 * HOUR }), /is in the future/],
  ["that has expired", async () => ({ thisUpdate: NOW - 3 * HOUR, nextUpdate: NOW - HOUR }), /it expired at/],
  [
    "with a critical extension",
    async () => ({ critical: ["2b0601"] }),
    /critical extension 1\.3\.6\.1, which is not supported/,
  ],
];
for (const [what, wanted, why] of REFUSED) {
  test(`A response ${what} is not used`, async () => {
    const given = await wanted();
    await assert.rejects(judge(given), (error) => error instanceof PeerError && why.test(error.message));
  });
}

test("A response without nextUpdate is used for an hour", async () => {
  const { nextUpdate: _, ...endless } = { ...SUBJECT, signer: signerOf(ROOT), thisUpdate: NOW, nextUpdate: 0 };
  const bytes = writeOcspResponse(endless);
  assert.equal((await judgeOcspResponse(bytes, SUBJECT, NOW)).until, second(NOW) + HOUR);
  await assert.rejects(judgeOcspResponse(bytes, SUBJECT, NOW + 2 * HOUR), PeerError);
});

test("A response that was changed never gives another answer", async () => {
  const bytes = answer({ status: "revoked", reason: 1 });
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      const changed = Buffer.from(bytes);
      changed[at]! ^= change;
      const told = await judgeOcspResponse(changed, SUBJECT, NOW).catch((error) => {
        assert.ok(error instanceof PeerError, String(error));
      });
      assert.notEqual(told?.status, "good");
    }),
    { numRuns: 500 },
  );
});

test("readOcspResponse() reads a response or throws a PeerError, whatever the bytes", () => {
  const bytes = answer(by(DELEGATE));
  const read = (some: Buffer) => {
    try {
      readOcspResponse(some);
    } catch (error) {
      assert.ok(error instanceof PeerError, String(error));
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (some) => read(Buffer.from(some))));
  for (let end = 0; end < bytes.length; end += 1) {
    assert.throws(() => readOcspResponse(bytes.subarray(0, end)), PeerError);
  }
});

test("The error for a malformed response names the field", () => {
  const read = (...parts: readonly Buffer[]) => readOcspResponse(encode(TAG.sequence, ...parts));
  const successful = encode(TAG.enumerated, Buffer.from([0]));
  const basic = encode(TAG.sequence, encodeOid("2b0601050507300101"));
  assert.throws(() => read(), /responseStatus is not an ENUMERATED/);
  assert.throws(() => read(successful), /responseBytes is missing/);
  assert.throws(() => read(successful, encode(0xa0, encode(TAG.set))), /responseBytes is not a SEQUENCE/);
  assert.throws(() => read(successful, encode(0xa0, encode(TAG.sequence))), /responseType is not id-pkix-ocsp-basic/);
  assert.throws(() => read(successful, encode(0xa0, basic)), /response is not an OCTET STRING/);
});

test("The error for a response without an answer has its responseStatus", () => {
  const refuse = (status: number) => readOcspResponse(Buffer.from([0x30, 3, 0x0a, 1, status]));
  assert.throws(() => refuse(3), /tryLater/);
  assert.throws(() => refuse(6), /unauthorized/);
});

test("A request has the certificate's serial number and fits into a GET", () => {
  const request = writeOcspRequest(SUBJECT);
  assert.ok(request.length < 192);
  assert.ok(request.toString("hex").includes(SUBJECT.certificate.serialNumber.toLowerCase()));
});
