import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../../test/processes.ts";
import { LoopDelayMeter } from "./loop-delay.ts";

test("What holds up the event loop is in its delay, and the time between two samples is not", async () => {
  const meter = new LoopDelayMeter();
  await until("a first sample", async () => meter.read() !== undefined);
  for (const begun = performance.now(); performance.now() - begun < 150; );
  const { p50, max } = await until("the delay", async () => {
    const delay = meter.read();
    return delay !== undefined && delay.max >= 100 && delay;
  });
  assert.ok(p50 <= max);
});
