import assert from "node:assert/strict";
import { test } from "node:test";
import { createDemanding } from "./demanding.ts";

test("A server that demanded a certificate is known until its time is over", () => {
  const demanding = createDemanding(10);
  demanding.learn("a.example:443", 1000);
  assert.equal(demanding.has("a.example:443", 999), true);
  assert.equal(demanding.has("b.example:443", 999), false);
  assert.equal(demanding.has("a.example:443", 1000), false);
  assert.equal(demanding.size, 0, "and forgotten then");
});

test("Beyond the limit the one that was learnt longest ago goes", () => {
  const demanding = createDemanding(2);
  for (const server of ["a", "b", "a", "c"]) demanding.learn(server, 1000);
  assert.deepEqual(demanding.entries(), [
    ["a", 1000],
    ["c", 1000],
  ]);
  assert.equal(demanding.flush(), 2);
  assert.equal(demanding.has("a", 0), false);
});
