import assert from "node:assert/strict";
import { test } from "node:test";
import { type Answers, failure, runSession, verdict } from "./test-stages.ts";

const WHY = "The node is overloaded";
const bypass = () => ({ ...verdict("bypass", "sni", "overload"), reason: WHY });
const drop = () => ({ ...verdict("drop", "sni", "overload"), reason: WHY });

/** What happens after the verdict on the ClientHello, and whether any handshake begins. */
async function run(answers: Partial<Answers>) {
  const { steps, record } = await runSession({ onOverload: bypass, ...answers });
  return {
    after: steps.slice(steps.indexOf("policy.onHello") + 1),
    handshakes: steps.some((step) => step.startsWith("legs.")),
    record,
  };
}

test("An overloaded node bypasses the session on its ClientHello, before any handshake", async () => {
  const { after, handshakes, record } = await run({ overload: () => WHY });
  assert.equal(after[0], "count bypass");
  assert.ok(!handshakes, after.join("\n"));
  assert.partialDeepStrictEqual(record, { verdict: "bypass", phase: "sni", rule: "overload", reason: WHY });
});

test("With overload.action drop the client gets an alert, and no page, which would take a handshake", async () => {
  const { after, record } = await run({ overload: () => WHY, onOverload: drop, page: () => "shown" });
  assert.equal(after[0], "count drop");
  assert.ok(after.includes("legs.refuse client: internal_error"), after.join("\n"));
  assert.ok(!after.some((step) => step.startsWith("page")), after.join("\n"));
  assert.partialDeepStrictEqual(record, { verdict: "drop", rule: "overload" });
});

test("A drop rule holds: the node is not even asked for its load", async () => {
  const { record } = await run({ overload: () => assert.fail(), onHello: () => verdict("drop", "sni", "a rule") });
  assert.partialDeepStrictEqual(record, { verdict: "drop", rule: "a rule" });
});

test("A verdict of policy's own counts as no overload", async () => {
  const { after, record } = await run({ overload: () => WHY, onOverload: () => verdict("drop", "sni", "a rule") });
  assert.ok(!after.some((step) => step.startsWith("count")));
  assert.partialDeepStrictEqual(record, { verdict: "drop", rule: "a rule" });
});

test("What policy insists on is decrypted", async () => {
  const { handshakes, record } = await run({ overload: () => WHY, onOverload: () => undefined });
  assert.ok(handshakes);
  assert.equal(record.verdict, "decrypt");
});

test("A session that has waited for its turn is bypassed when all new ones are", async () => {
  const { after, handshakes } = await run({ overload: (waited) => (waited ? WHY : undefined) });
  assert.equal(after[0], "count bypass");
  assert.ok(!handshakes, after.join("\n"));
});

test("A session that is decrypted goes on: nothing asks for the load again", async () => {
  const asked: boolean[] = [];
  const { record } = await run({
    overload: (waited) => {
      asked.push(waited);
      return undefined;
    },
    serverLeg: () => (asked.length > 2 ? failure(40) : undefined),
  });
  assert.deepEqual(asked, [false, true]);
  assert.equal(record.verdict, "decrypt");
});
