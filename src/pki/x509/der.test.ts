import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PeerError } from "../../errors.ts";
import { readCertificate, readExtensions } from "./certificate.ts";
import { encodeExtension } from "./certificate-writing.ts";
import { encode, encodeInteger, encodeOid, encodeTime, readElements, readInside, readTime, TAG } from "./der.ts";
import { dottedOid } from "./oid.ts";
import { make } from "./test-chain.ts";

test("readElements() reads the elements of encode(), at every length", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 0, max: 70_000 }), (tag, length) => {
      const content = Buffer.alloc(length, 7);
      const [element, ...more] = readElements(encode(tag, content));
      assert.equal(more.length, 0);
      assert.equal(element?.tag, tag);
      assert.ok(element.content.equals(content));
    }),
    { numRuns: 50 },
  );
});

test("readElements() answers elements or throws a PeerError, whatever the bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        readElements(Buffer.from(bytes));
      } catch (error) {
        assert.ok(error instanceof PeerError);
        assert.equal(error.alert, 42);
      }
    }),
  );
});

const REFUSED: readonly (readonly [string, string])[] = [
  ["an indefinite length", "3080"],
  ["a length with more bytes than necessary", "30820001ff"],
  ["a short length in the long form", "308105"],
  ["contents that are too short", "3005ff"],
  ["a tag in the long form", "1f8101ff"],
  ["a tag without a length", "30"],
];
for (const [what, hex] of REFUSED) {
  test(`readElements() refuses ${what}`, () => {
    assert.throws(() => readElements(Buffer.from(hex, "hex")), PeerError);
  });
}

test("readInside() refuses another tag and more elements, and names the field", () => {
  assert.throws(() => readInside(encode(TAG.set), TAG.sequence, "certs"), /certs is not a SEQUENCE/);
  assert.throws(
    () => readInside(Buffer.concat([encode(TAG.sequence), encode(TAG.set)]), TAG.sequence, "certs"),
    /certs is followed/,
  );
});

test("encodeInteger() writes the shortest form of a positive number", () => {
  const written = (hex: string) => encodeInteger(Buffer.from(hex, "hex")).toString("hex");
  assert.equal(written("00"), "020100");
  assert.equal(written("007f"), "02017f");
  assert.equal(written("80"), "02020080");
  assert.equal(written("0000ff01"), "020300ff01");
});

test("encodeTime() writes UTCTime until 2049 and GeneralizedTime from 2050", () => {
  const written = (time: string) => encodeTime(Date.parse(time)).subarray(2).toString();
  assert.equal(written("2049-12-31T23:59:59Z"), "491231235959Z");
  assert.equal(written("2050-01-01T00:00:00Z"), "20500101000000Z");
  assert.equal(written("1949-12-31T23:59:59Z"), "19491231235959Z");
  assert.equal(encodeTime(Date.parse("2050-01-01T00:00:00Z"))[0], TAG.generalizedTime);
});

test("readTime() reads UTCTime and GeneralizedTime in UTC, and names the field that is neither", () => {
  const read = (tag: number, text: string) => {
    const [element] = readElements(encode(tag, Buffer.from(text)));
    return readTime(element, "thisUpdate");
  };
  assert.equal(read(TAG.utcTime, "491231235959Z"), Date.parse("2049-12-31T23:59:59Z"));
  assert.equal(read(TAG.utcTime, "500101000000Z"), Date.parse("1950-01-01T00:00:00Z"));
  assert.equal(read(TAG.generalizedTime, "20500101000000Z"), Date.parse("2050-01-01T00:00:00Z"));
  for (const text of ["20500101000000", "20500101000000.5Z", "20500101000000+0100", "205001010000Z"]) {
    assert.throws(() => read(TAG.generalizedTime, text), /thisUpdate is not a UTCTime or GeneralizedTime/);
  }
  assert.throws(() => read(TAG.generalizedTime, "20501301000000Z"), /thisUpdate is not a date: 20501301000000Z/);
  assert.throws(() => readTime(undefined, "thisUpdate"), PeerError);
});

test("readExtensions() names the extension that is malformed or repeated", () => {
  const extension = encodeExtension("551d0f", true, Buffer.from([5, 0]));
  const read = (...extensions: readonly Buffer[]) => readExtensions(encode(TAG.sequence, ...extensions));
  assert.equal(read(extension).size, 1);
  assert.throws(() => read(extension, encode(TAG.set)), /extension 2 is not a SEQUENCE/);
  assert.throws(() => read(encode(TAG.sequence)), /extnID of extension 1 is not an OBJECT IDENTIFIER/);
  assert.throws(
    () => read(encode(TAG.sequence, encodeOid("551d0f"))),
    /extnValue of extension 1 is not an OCTET STRING/,
  );
  assert.throws(() => read(extension, extension), /extension 2 repeats an earlier one/);
});

test("dottedOid() decodes arcs of several bytes, and a first arc above 79", () => {
  assert.equal(dottedOid("551d0f"), "2.5.29.15");
  assert.equal(dottedOid("2a864886f70d01010b"), "1.2.840.113549.1.1.11");
  assert.equal(dottedOid("8837"), "2.999");
});

test("readCertificate() reads the parts or throws a PeerError, whatever byte of a certificate is changed", async () => {
  const { der } = await make({ subject: "CN=a, O=b", names: [["dns", "a.example"]], usages: 1 });
  fc.assert(
    fc.property(fc.nat(der.length - 1), fc.integer({ min: 0, max: 255 }), fc.nat(der.length), (at, value, end) => {
      const changed = Buffer.from(der.subarray(0, Math.max(end, der.length >> 1)));
      if (at < changed.length) changed[at] = value;
      try {
        assert.ok(Buffer.isBuffer(readCertificate(changed).subject));
      } catch (error) {
        assert.ok(error instanceof PeerError);
      }
    }),
    { numRuns: 2000 },
  );
});
