import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { FAULTS } from "../../lab/faults/all.ts";
import { runFault } from "../../lab/faults/fault.ts";
import { page, readRows } from "../../lab/faults/page.ts";
import { needs } from "../needs.ts";
import { makePki, type Pki } from "../pki.ts";

/** The short form of `npm run faults`. */
describe("Under a fault", needs("openssl"), () => {
  let pki: Pki;
  before(async () => {
    pki = await makePki();
  });
  for (const fault of FAULTS.filter(({ quick }) => quick)) {
    test(`${fault.name}: ${fault.promise}`, async () => {
      const { outcome, measured } = await runFault(fault, pki);
      assert.equal(outcome, "held", measured);
    });
  }
});

test("Each fault has a name of its own, and the page keeps the results of those that did not run", () => {
  assert.equal(new Set(FAULTS.map(({ name }) => name)).size, FAULTS.length);
  const results = FAULTS.map(({ name }, at) => ({
    fault: { name },
    outcome: (["held", "broken", "skipped"] as const)[at % 3]!,
    measured: `a | b,\n  ${at}`,
  }));
  const text = page(results, "a machine");
  assert.equal(page([...readRows(text)], "a machine"), text);
  const [first] = FAULTS;
  const again = page([...readRows(text), { fault: first!, outcome: "held", measured: "anew" }], "a machine");
  assert.ok(again.includes("held: anew |") && again.includes(`a \\| b, ${FAULTS.length - 1} |`));
});
