import assert from "node:assert/strict";
import { test } from "node:test";
import { NetworkError } from "../errors.ts";
import { watchTools } from "./heartbeat.ts";

const HEARTBEAT = { enabled: true, period: 1, timeout: 1_000, retries: 2, recovery: 1 };

test("Heartbeats that the node could not send say nothing of the tool, those that did not come through do", async () => {
  let beats = 0;
  const changed = Promise.withResolvers<string | undefined>();
  const probe = async () => {
    beats += 1;
    const code = beats <= 10 ? "EMFILE" : "ECONNREFUSED";
    throw new NetworkError(`heartbeat ${beats}: ${code}`, code);
  };
  const watch = watchTools([{ name: "ips", heartbeat: HEARTBEAT, probe }], (_, { reason }) => changed.resolve(reason));
  assert.equal(await changed.promise, "heartbeat 12: ECONNREFUSED");
  watch.close();
});
