import assert from "node:assert/strict";
import { test } from "node:test";
import { needs } from "../needs.ts";
import { plot } from "../soak/plot.ts";
import { soak } from "../soak/soak.ts";

/** Seconds that the machine has for it, and the most sessions. `npm run soak` does more. */
const [SECONDS, MOST] = [10, 2_000];

test(
  "Mixed sessions, some of them killed, come to their ends and leave nothing in the workers",
  needs("openssl"),
  async () => {
    const { sessions, faults, samples, changes } = await soak({
      ...{ sessions: MOST, atOnce: 32, longest: 65_536, seconds: SECONDS },
      pace: { reload: 2, renewal: 3 },
    });
    assert.deepEqual(faults, []);
    assert.ok(sessions > 100, `${sessions} sessions`);
    assert.ok(Math.min(changes.reloads, changes.authorities, changes.identities) > 0, JSON.stringify(changes));
    const [first, last] = [samples[0]!, samples.at(-1)!];
    assert.deepEqual([last.connections, last.ends], [0, first.ends]);
    // Each of the two workers has opened a file of each of three feeds.
    assert.ok(
      last.descriptors <= first.descriptors + 6,
      `${first.descriptors} and then ${last.descriptors} descriptors`,
    );
    assert.match(plot(samples), /^<svg [^>]*>[\s\S]*<polyline points="[\d., ]+"/);
  },
);
