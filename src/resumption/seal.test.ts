import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createSealer } from "./seal.ts";

const SECRET = Buffer.alloc(32, 7);
const sealer = createSealer(SECRET);
const bytes = fc.uint8Array({ maxLength: 500 });

test("What was sealed is opened under the same name, by whoever has the same secret", () => {
  fc.assert(
    fc.property(fc.string(), bytes, (part, content) => {
      const name = sealer.name("test", [part]);
      const opened = createSealer(Buffer.from(SECRET)).open(name, sealer.seal(name, content));
      assert.deepEqual(opened, Buffer.from(content));
    }),
  );
});

test("What was sealed does not open under another name or another secret, cut short, or with one bit changed", () => {
  fc.assert(
    fc.property(bytes, fc.nat(), (content, at) => {
      const [name, other] = [sealer.name("test", ["a"]), sealer.name("test", ["b"])];
      const sealed = sealer.seal(name, content);
      assert.equal(sealer.open(other, sealed), undefined);
      assert.equal(createSealer(Buffer.alloc(32, 8)).open(name, sealed), undefined);
      assert.equal(sealer.open(name, sealed.subarray(0, at % sealed.length)), undefined);
      const bit = at % (sealed.length * 8);
      sealed[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal(sealer.open(name, sealed), undefined);
    }),
  );
});

test("Two names are the same only when kind and parts are, however the parts are cut", () => {
  const names = [
    sealer.name("a", ["b", "c"]),
    sealer.name("a", ["bc"]),
    sealer.name("ab", ["c"]),
    sealer.name("a", ["b", "c", ""]),
    sealer.name("a", []),
    createSealer(Buffer.alloc(32, 8)).name("a", ["b", "c"]),
  ];
  assert.equal(new Set(names).size, names.length);
  assert.equal(sealer.name("a", ["1", 2]), sealer.name("a", [1, Buffer.from("2")]));
});

test("The same is never sealed twice in the same way, and nothing of it shows", () => {
  const name = sealer.name("test", []);
  const content = Buffer.from("a master secret, in the clear");
  const [one, two] = [sealer.seal(name, content), sealer.seal(name, content)];
  assert.notDeepEqual(one, two);
  assert.ok(!one.includes("master"));
});
