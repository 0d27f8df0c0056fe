import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HANDSHAKE_TYPES } from "./numbers.ts";
import { REFUSED_EXTENSION, searchExtensions } from "./unknown-extension.ts";
import { u8, u16, vector8, vector16, vector24 } from "./writer.ts";

const block = (...types: readonly number[]) => vector16(...types.flatMap((type) => [u16(type), vector16(u8(7))]));
const message = (type: number, ...body: readonly Uint8Array[]) => Buffer.concat([u8(type), vector24(...body)]);
const hello = (...types: readonly number[]) =>
  message(
    HANDSHAKE_TYPES.server_hello,
    Buffer.alloc(34),
    vector8(Buffer.alloc(32)),
    Buffer.alloc(3),
    types.length > 0 ? block(...types) : Buffer.alloc(0),
  );
const certificate = (...entries: readonly (readonly number[])[]) =>
  message(
    HANDSHAKE_TYPES.certificate,
    vector8(),
    vector24(...entries.flatMap((types) => [vector24(u8(1)), block(...types)])),
  );

const CASES: readonly [what: string, bytes: Buffer, unknown: number | undefined, goesOn: boolean][] = [
  ["a ServerHello without extensions", hello(), undefined, false],
  ["a ServerHello of TLS 1.2 with known ones", hello(0xff01, 23, 16), undefined, false],
  ["a ServerHello of TLS 1.2 with an unknown one", hello(0xff01, 15, 16), 15, false],
  ["a ServerHello of TLS 1.3", hello(43, 51), undefined, true],
  ["a ServerHello of TLS 1.3 with two unknown ones", hello(43, 0x1a1a, 51, 15), 0x1a1a, true],
  ["the one that stands for others is found first", hello(15, REFUSED_EXTENSION), REFUSED_EXTENSION, false],
  ["EncryptedExtensions", message(HANDSHAKE_TYPES.encrypted_extensions, block(16, 15)), 15, true],
  ["a Certificate", certificate([5], []), undefined, false],
  ["a Certificate with an unknown one in its second entry", certificate([5], [18, 4000]), 4000, false],
  ["a CertificateRequest", message(HANDSHAKE_TYPES.certificate_request, vector8(), block(15)), undefined, true],
  ["a message that is cut off", hello(15).subarray(0, -1), undefined, true],
  ["nothing", Buffer.alloc(0), undefined, true],
];

for (const [what, bytes, unknown, goesOn] of CASES) {
  test(`Unknown extensions are found: ${what}`, () => {
    const found = searchExtensions(bytes);
    assert.equal(found.unknown?.type, unknown);
    assert.equal(found.goesOn, goesOn);
    if (found.unknown) assert.equal(bytes.readUInt16BE(found.unknown.at), unknown);
  });
}

test("Any bytes are searched without an error, and what is found is in them", () => {
  fc.assert(
    fc.property(fc.constantFrom(2, 8, 11), fc.uint8Array({ maxLength: 120 }), (type, body) => {
      const bytes = message(type, body);
      const { unknown } = searchExtensions(bytes);
      if (unknown) assert.equal(bytes.readUInt16BE(unknown.at), unknown.type);
    }),
  );
});
