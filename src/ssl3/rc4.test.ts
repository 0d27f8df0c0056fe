import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createRc4 } from "./rc4.ts";

/** RFC 6229: keys, with the stream at some offsets. */
const VECTORS: readonly (readonly [key: string, at: readonly (readonly [offset: number, stream: string])[]])[] = [
  [
    "0102030405",
    [
      [0, "b2396305f03dc027ccc3524a0a1118a8"],
      [16, "6982944f18fc82d589c403a47a0d0919"],
      [240, "28cb1132c96ce286421dcaadb8b69eae"],
    ],
  ],
  [
    "0102030405060708090a0b0c0d0e0f10",
    [
      [0, "9ac7cc9a609d1ef7b2932899cde41b97"],
      [16, "5248c4959014126a6e8a84f11d1a9e1c"],
      [240, "065902e4b620f6cc36c8589f66432f2b"],
    ],
  ],
];

for (const [key, places] of VECTORS) {
  test(`RC4 with ${key.length * 4} bits gives the stream of RFC 6229`, () => {
    const stream = Buffer.alloc(256);
    createRc4(Buffer.from(key, "hex"))(stream);
    for (const [offset, expected] of places) assert.equal(stream.toString("hex", offset, offset + 16), expected);
  });
}

test("RC4 agrees with a second implementation however its input is cut", () => {
  const property = fc.property(
    fc.uint8Array({ minLength: 1, maxLength: 32 }),
    fc.uint8Array({ maxLength: 600 }),
    fc.array(fc.nat(100), { maxLength: 10 }),
    (key, bytes, cuts) => {
      const expected = plainRc4([...key], [...bytes]);
      const apply = createRc4(key);
      const own = Uint8Array.from(bytes);
      let at = 0;
      for (const cut of [...cuts, own.length]) {
        apply(own.subarray(at, at + cut));
        at = Math.min(at + cut, own.length);
      }
      assert.deepEqual([...own], expected);
    },
  );
  fc.assert(property);
});

/** The textbook form: swaps in an array, one byte at a time. */
function plainRc4(key: readonly number[], input: readonly number[]): number[] {
  const s = [...Array(256).keys()];
  const swap = (i: number, j: number) => {
    [s[i], s[j]] = [s[j]!, s[i]!];
  };
  for (let i = 0, j = 0; i < 256; i += 1) {
    j = (j + s[i]! + key[i % key.length]!) % 256;
    swap(i, j);
  }
  let i = 0;
  let j = 0;
  return input.map((byte) => {
    i = (i + 1) % 256;
    j = (j + s[i]!) % 256;
    swap(i, j);
    return byte ^ s[(s[i]! + s[j]!) % 256]!;
  });
}
