import assert from "node:assert/strict";
import { test } from "node:test";
import { createStrangers } from "./strangers.ts";

test("All strangers are counted; the first is logged at once, then one a minute with the number of those between", () => {
  const told: unknown[] = [];
  let time = 0;
  const strangers = createStrangers(
    "dlp",
    (about) => told.push(about),
    () => time,
  );
  for (time of [0, 1, 2_000, 59_999, 60_000, 60_001, 200_000, 400_000]) strangers.add("192.0.2.9", "not the tool's");
  const line = { tool: "dlp", from: "192.0.2.9", why: "not the tool's" };
  assert.deepEqual(told, [line, { ...line, notLogged: 3 }, { ...line, notLogged: 1 }, line]);
  assert.equal(strangers.count, 8);
});
