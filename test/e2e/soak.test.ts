import assert from "node:assert/strict";
import { test } from "node:test";
import { needs } from "../needs.ts";
import { plot, soak } from "../soak.ts";

/** Seconds that the machine has for it, and the most sessions. `npm run soak` does more. */
const [SECONDS, MOST] = [10, 2_000];

test(
  "Mixed sessions, some of them killed, come to their ends and leave nothing in the workers",
  needs("openssl"),
  async () => {
    const { sessions, faults, samples } = await soak({ sessions: MOST, atOnce: 32, longest: 65_536, seconds: SECONDS });
    assert.deepEqual(faults, []);
    assert.ok(sessions > 100, `${sessions} sessions`);
    const [first, last] = [samples[0]!, samples.at(-1)!];
    assert.deepEqual([last.connections, last.ends], [0, first.ends]);
    // Each worker has opened a file of the feed.
    assert.ok(
      last.descriptors <= first.descriptors + 2,
      `${first.descriptors} and then ${last.descriptors} descriptors`,
    );
    assert.match(plot(samples), /^<svg [^>]*>[\s\S]*<polyline points="[\d., ]+"/);
  },
);
