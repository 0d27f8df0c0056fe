import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createPieceReader } from "./worker-links.ts";

function written(blocks: Uint8Array, packets: number): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt32LE(blocks.length, 0);
  head.writeUInt32LE(packets, 4);
  return Buffer.concat([head, blocks]);
}

function read(chunks: readonly Buffer[]) {
  const pieces: (readonly [string, number])[] = [];
  let refused = 0;
  const take = createPieceReader(
    (blocks, packets) => {
      pieces.push([blocks.toString("hex"), packets]);
      return false;
    },
    () => {
      refused += 1;
    },
  );
  for (const chunk of chunks) take(chunk);
  return { pieces, refused };
}

test("Pieces are joined again wherever they were cut", () => {
  const piece = fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.nat(100));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), fc.array(fc.nat(2000), { maxLength: 20 }), (wanted, cuts) => {
      const all = Buffer.concat(wanted.map(([blocks, packets]) => written(blocks, packets)));
      const places = [0, ...cuts.map((cut) => Math.min(cut, all.length)).sort((a, b) => a - b), all.length];
      const chunks = places.slice(1).map((end, index) => all.subarray(places[index], end));
      assert.deepEqual(read(chunks), {
        pieces: wanted.map(([blocks, packets]) => [Buffer.from(blocks).toString("hex"), packets]),
        refused: 0,
      });
    }),
  );
});

test("Bytes that are not a piece are refused once, and no later bytes are read", () => {
  for (const length of [0, 256 * 1024 + 1, 0xffffffff]) {
    const head = Buffer.alloc(12);
    head.writeUInt32LE(length, 0);
    const good = written(Buffer.from("good"), 1);
    assert.deepEqual(read([good, head, good, good]), {
      pieces: [[Buffer.from("good").toString("hex"), 1]],
      refused: 1,
    });
  }
});
