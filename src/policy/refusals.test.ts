import assert from "node:assert/strict";
import { test } from "node:test";
import { createRefusals } from "./refusals.ts";

const FLOW = { client: "192.0.2.1", host: "pinned.example", port: 443 };
const WEEK = 7 * 86_400_000;

test("Refusals of one client for one host are counted, with how and when", () => {
  const refusals = createRefusals();
  refusals.note({ ...FLOW, how: "unknown_ca", at: 1 });
  refusals.note({ ...FLOW, how: "left", at: 2 });
  const third = refusals.note({ ...FLOW, how: "unknown_ca", at: 3 });
  assert.deepEqual(third, { ...FLOW, refusals: 3, how: { unknown_ca: 2, left: 1 }, first: 1, last: 3 });
  assert.deepEqual(refusals.list(3), [third]);
  assert.deepEqual(refusals.list(4), []);
});

test("Another client, host or port is another matter", () => {
  const refusals = createRefusals();
  for (const other of [
    FLOW,
    { ...FLOW, client: "192.0.2.2" },
    { ...FLOW, host: "a.example" },
    { ...FLOW, port: 8443 },
  ]) {
    assert.equal(refusals.note({ ...other, how: "left", at: 1 }).refusals, 1);
  }
  assert.equal(refusals.size, 4);
});

test("A session that works makes the refusals before it count no more", () => {
  const refusals = createRefusals();
  for (const at of [1, 2]) refusals.note({ ...FLOW, how: "left", at });
  refusals.accept(FLOW.client, FLOW.host, FLOW.port);
  assert.equal(refusals.note({ ...FLOW, how: "left", at: 3 }).refusals, 1);
});

test("Refusals without another one for a week are forgotten", () => {
  const refusals = createRefusals();
  refusals.note({ ...FLOW, how: "left", at: 1 });
  assert.equal(refusals.note({ ...FLOW, how: "left", at: 1 + WEEK }).refusals, 1);
});
