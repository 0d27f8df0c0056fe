import assert from "node:assert/strict";
import { test } from "node:test";
import { addressOf } from "../linux/syscalls.ts";
import { newPages, PAGE } from "./block.ts";

test("Blocks begin at pages, and no two share memory", () => {
  // More than one large page has room for, and one whose rest is too small for the next.
  const sizes = [512, 512, 1024, 768, 512, 1024, 2048, 4].map((kib) => kib * 1024);
  const blocks = sizes.map(newPages);
  for (const [index, { bytes, words, view }] of blocks.entries()) {
    assert.equal(addressOf(bytes) % BigInt(PAGE), 0n);
    assert.deepEqual([bytes.length, words.byteLength, view.byteLength], Array(3).fill(sizes[index]));
    assert.ok(bytes.every((byte) => byte === 0));
    bytes.fill(index + 1);
  }
  for (const [index, { bytes }] of blocks.entries()) assert.ok(bytes.every((byte) => byte === index + 1));
});
