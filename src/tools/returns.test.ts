import assert from "node:assert/strict";
import { test } from "node:test";
import { loop } from "../engine/test-ends.ts";
import { createReturns, createReturnsDirectory, portKey, type Returns, type ReturnsFromWorker } from "./returns.ts";

const AWAITED = { take() {} };

test("A message to the supervisor keeps its keys, even if the caller adds keys while it waits", () => {
  const told: ReturnsFromWorker[] = [];
  const returns = createReturns(loop, false, async (news) => void told.push(news));
  const keys = ["the session's identifier"];
  void returns.expect(AWAITED, keys);
  keys.push("the tool's own connection");
  void returns.expect(AWAITED, keys.slice(1));
  returns.forget(AWAITED, keys);
  assert.deepEqual(told, [
    { kind: "expect", request: 1, keys: ["the session's identifier"] },
    { kind: "expect", request: 2, keys: ["the tool's own connection"] },
    { kind: "forget", keys: ["the session's identifier", "the tool's own connection"] },
  ]);
});

/** Two workers and the supervisor between them. */
function pair(): readonly [Returns, Returns] {
  const office = createReturnsDirectory(loop, (worker, answer) => workers[worker]!.hear(answer, undefined));
  const workers = [0, 1].map((number) =>
    createReturns(loop, false, async (news) => office.hear(news, number, undefined)),
  );
  return [workers[0]!, workers[1]!];
}

test("A session is known to every worker once it may be announced to its tool, and to none after its end", async () => {
  const [one, other] = pair();
  assert.equal(await other.awaitsPort(40_000), false);
  await one.expect(AWAITED, [portKey(40_000)]);
  assert.deepEqual([await one.awaitsPort(40_000), await other.awaitsPort(40_000)], [true, true]);
  one.forget(AWAITED, [portKey(40_000)]);
  assert.deepEqual([await one.awaitsPort(40_000), await other.awaitsPort(40_000)], [false, false]);
});
