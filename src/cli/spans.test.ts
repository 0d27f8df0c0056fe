import assert from "node:assert/strict";
import { test } from "node:test";
import { readSince, readSpan } from "./spans.ts";

test("Spans and dates are read, and anything else is refused", () => {
  assert.deepEqual(["45s", "30m", "24h", "90d"].map(readSpan), [45_000, 1_800_000, 86_400_000, 7_776_000_000]);
  for (const text of ["", "5", "1w", "-1h", "1.5h", "9999999d", "1h 2m"]) assert.throws(() => readSpan(text), text);
  assert.equal(readSince("2026-11-28T14:00:00Z"), Date.UTC(2026, 10, 28, 14));
  assert.equal(readSince("2026-11-28 14:00"), new Date(2026, 10, 28, 14).getTime());
  assert.equal(readSince("2026-11-28"), new Date(2026, 10, 28).getTime());
  assert.ok(Math.abs(readSince("1h") - (Date.now() - 3_600_000)) < 5000);
  for (const text of ["2026", "2026-13-01", "yesterday", "28.11.2026"]) assert.throws(() => readSince(text), text);
});
