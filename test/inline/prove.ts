import { after, before, describe, test } from "node:test";
import { claimsFor, openStage, type Scenario, type Stage } from "../../lab/claim.ts";
import { TOPOLOGIES } from "../../lab/network.ts";
import { missingRequirement } from "../../lab/requirements.ts";
import { makePki, type Pki } from "../pki.ts";

/** Makes a test of every claim of a scenario, for the bridge and for the router. */
export function prove(scenario: Scenario): void {
  const problem = missingRequirement();
  let pki: Pki | undefined;
  for (const topology of TOPOLOGIES) {
    const claims = claimsFor(scenario, topology);
    if (claims.length === 0) continue;
    describe(`${scenario.about} (${topology})`, { skip: problem ?? false }, () => {
      let stage: Stage;
      before(async () => {
        pki ??= await makePki();
        stage = await openStage(topology, scenario, pki);
      });
      after(() => stage?.[Symbol.asyncDispose]());
      for (const claim of claims) {
        test(claim.says, async (t) => t.diagnostic(await claim.check(stage)));
      }
    });
  }
}
