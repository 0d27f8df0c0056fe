import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Shares } from "./shares.ts";

test("The owner of the largest share is the one that a count of all members finds", () => {
  const step = fc.record({ owner: fc.constantFrom("a", "b", "c"), member: fc.nat(5), adds: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const shares = new Shares<number>();
      const model = new Map<string, Set<number>>();
      for (const { owner, member, adds } of steps) {
        const own = model.get(owner) ?? new Set();
        model.set(owner, own);
        if (adds) {
          shares.add(owner, member);
          own.add(member);
        } else {
          shares.delete(owner, member);
          own.delete(member);
        }
        const most = Math.max(0, ...[...model.values()].map(({ size }) => size));
        const largest = shares.largest();
        assert.equal(largest === undefined ? 0 : shares.of(largest).size, most);
        assert.deepEqual([...shares.of(owner)], [...own]);
      }
      assert.equal(
        [...shares.all()].length,
        [...model.values()].reduce((sum, { size }) => sum + size, 0),
      );
    }),
  );
});
