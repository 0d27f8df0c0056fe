import assert from "node:assert/strict";
import { test } from "node:test";
import { NetworkError } from "../errors.ts";
import { watchTools } from "./heartbeat.ts";

const HEARTBEAT = { enabled: true, period: 1, timeout: 1_000, retries: 2, recovery: 1 };

test("A heartbeat that the node could not send is no failure; one that did not come through is", async () => {
  let beats = 0;
  const changed = Promise.withResolvers<string | undefined>();
  const probe = async () => {
    beats += 1;
    const code = beats <= 10 ? "EMFILE" : "ECONNREFUSED";
    throw new NetworkError(`heartbeat ${beats}: ${code}`, code);
  };
  const mend = async () => false;
  const tool = { name: "ips", heartbeat: HEARTBEAT, probe, mend };
  const watch = watchTools([tool], (_, { reason }) => changed.resolve(reason));
  assert.equal(await changed.promise, "heartbeat 12: ECONNREFUSED");
  watch.close();
});

test("When the node restores settings after a failed heartbeat, the heartbeat is sent again at once", async () => {
  const told: string[] = [];
  const went = Promise.withResolvers<void>();
  let broken = true;
  const probe = async () => {
    told.push(broken ? "lost" : "through");
    if (broken) throw new NetworkError("no route", "EHOSTUNREACH");
    went.resolve();
  };
  const mend = async () => {
    broken = false;
    return true;
  };
  const heartbeat = { ...HEARTBEAT, retries: 1 };
  const watch = watchTools([{ name: "ips", heartbeat, probe, mend }], () => told.push("changed"));
  await went.promise;
  watch.close();
  assert.deepEqual(told.slice(0, 2), ["lost", "through"]);
  assert.ok(!told.includes("changed"));
});
