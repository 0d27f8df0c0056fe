import assert from "node:assert/strict";
import { test } from "node:test";
import { createHealthChanges } from "./health-changes.ts";
import { createFeedWatch } from "./watches.ts";

test("A feed's stops and starts are kept, the newest first, at most 20 of each feed", () => {
  let time = 0;
  const changes = createHealthChanges(() => (time += 1));
  const watch = createFeedWatch(() => {}, changes);
  changes.note("tool", "ids", { works: false, reason: "It shares its name with a feed" });
  for (let turn = 0; turn < 15; turn += 1) {
    watch.look([{ name: "ids", state: "stopped", reason: `${turn}` }]);
    watch.look([{ name: "ids", state: "stopped", reason: `${turn}` }]);
    watch.look([{ name: "ids", state: "running" }]);
  }
  const kept = changes.of("feed", "ids");
  assert.equal(kept.length, 20);
  assert.deepEqual(kept.slice(0, 2), [
    { at: 31, works: true, reason: null },
    { at: 30, works: false, reason: "14" },
  ]);
  assert.equal(changes.of("tool", "ids").length, 1);
  assert.deepEqual(changes.of("feed", "other"), []);
});
