import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";

const OFFER = {
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.3",
  ciphers: "one",
  ecdhCurve: "two",
  alpn: [],
  serverName: "a",
};

/** What stands for the offer in a process of its own that has met these texts before. */
async function bondAfter(texts: readonly string[], isShared: boolean): Promise<unknown> {
  const at = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);
  const program = `
    import { parentPort } from "node:worker_threads";
    import { bondOf } from ${at("server-session.ts")};
    import { numberOf } from ${at("text-numbers.ts")};
    for (const text of ${JSON.stringify(texts)}) numberOf(text);
    parentPort.postMessage(bondOf(${JSON.stringify(OFFER)}, ${isShared}));
  `;
  const [bond] = await once(new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`)), "message");
  return bond;
}

test("A session that workers share has the same name in each of them, whatever they have met before", async () => {
  const met = [[], ["another", "two"], ["a"]];
  const [first, ...others] = await Promise.all(met.map((texts) => bondAfter(texts, true)));
  for (const other of others) assert.deepEqual(other, first);
  // Numbers of a process's own are shorter, and mean nothing elsewhere.
  const [own, foreign] = await Promise.all(met.map((texts) => bondAfter(texts, false)));
  assert.notDeepEqual(own, foreign);
});
