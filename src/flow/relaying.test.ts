import assert from "node:assert/strict";
import { test } from "node:test";
import { endPair } from "../engine/test-ends.ts";
import { until } from "../engine/wait.ts";
import { NetworkError } from "../errors.ts";
import { endWithTools } from "./relaying.ts";

test("A tool that fails before its session's relay begins ends the wait for a silent client; one that is released does not", async (t) => {
  const pairs = await Promise.all(Array.from({ length: 5 }, () => endPair(t)));
  const [client, other, ta, released, tb] = pairs.map(([end]) => end!);
  endWithTools(client!, { hops: [{ tool: "ips", ta: ta!, tb: Promise.resolve(tb!) }] });
  endWithTools(other!, { hops: [{ tool: "ips", ta: released!, tb: Promise.resolve(tb!) }] });
  const waiting = until([client!], () => undefined, { timeout: 10_000, late: "Nobody told who waits for the client" });
  ta!.reset(new NetworkError("The tool ips has failed: no heartbeat came back", "ETOOL"));
  released!.close();
  await assert.rejects(waiting, { code: "ETOOL", message: "The tool ips has failed: no heartbeat came back" });
  assert.deepEqual([client!.isOpen, other!.isOpen], [false, true]);
});
