import assert from "node:assert/strict";
import { test } from "node:test";
import { loop } from "../engine/test-ends.ts";
import { createReturns, type ReturnsFromWorker } from "./returns.ts";

test("A message to the supervisor keeps its keys, even if the caller adds keys while it waits", () => {
  const told: ReturnsFromWorker[] = [];
  const returns = createReturns(loop, false, async (news) => void told.push(news));
  const awaited = { take() {} };
  const keys = ["the session's identifier"];
  returns.expect(awaited, keys);
  keys.push("the tool's own connection");
  returns.expect(awaited, keys.slice(1));
  returns.forget(awaited, keys);
  assert.deepEqual(told, [
    { kind: "expect", keys: ["the session's identifier"] },
    { kind: "expect", keys: ["the tool's own connection"] },
    { kind: "forget", keys: ["the session's identifier", "the tool's own connection"] },
  ]);
});
