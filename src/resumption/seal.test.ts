import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createSealer } from "./seal.ts";

const SECRET = Buffer.alloc(32, 7);
const sealer = createSealer(SECRET);
const bytes = fc.uint8Array({ maxLength: 500 });

test("Sealed bytes open with the same seal, made from the same secret", () => {
  fc.assert(
    fc.property(fc.string(), bytes, (part, content) => {
      const opened = createSealer(Buffer.from(SECRET))("test", [part]).open(sealer("test", [part]).seal(content));
      assert.deepEqual(opened, Buffer.from(content));
    }),
  );
});

test("Sealed bytes do not open with another seal or secret, when they are cut short, or when one bit has changed", () => {
  fc.assert(
    fc.property(bytes, fc.nat(), (content, at) => {
      const { seal, open } = sealer("test", ["a"]);
      const sealed = seal(content);
      assert.equal(sealer("test", ["b"]).open(sealed), undefined);
      assert.equal(createSealer(Buffer.alloc(32, 8))("test", ["a"]).open(sealed), undefined);
      assert.equal(open(sealed.subarray(0, at % sealed.length)), undefined);
      const bit = at % (sealed.length * 8);
      sealed[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal(open(sealed), undefined);
    }),
  );
});

test("Two seals have the same name only when their kind and all parts are the same, however the parts are split", () => {
  const names = [
    sealer("a", ["b", "c"]),
    sealer("a", ["bc"]),
    sealer("a", ['b","c']),
    sealer("ab", ["c"]),
    sealer("a", ["b", "c", ""]),
    sealer("a", []),
    sealer("a", ["1"]),
    sealer("a", [1]),
    createSealer(Buffer.alloc(32, 8))("a", ["b", "c"]),
  ].map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  assert.equal(sealer("a", ["b", 2]).name, createSealer(SECRET)("a", ["b", 2]).name);
});

test("The same bytes are sealed differently each time, and cannot be read in it", () => {
  const { seal } = sealer("test", []);
  const content = Buffer.from("a master secret, in the clear");
  const [one, two] = [seal(content), seal(content)];
  assert.notDeepEqual(one, two);
  assert.ok(!one.includes("master"));
});
