import pc from "picocolors";
import type { Pki } from "../test/pki.ts";
import { claimsFor, openStage, type Scenario } from "./claim.ts";
import type { Topology } from "./network.ts";
import { ordinary, SPECIAL } from "./scenarios.ts";

const LOAD_SECONDS = 30;

/** Tries every claim and prints a line about each. Resolves with the number of false claims. */
export async function checkClaims(topology: Topology, pki: Pki, print: (line: string) => void): Promise<number> {
  let failures = 0;
  for (const scenario of [ordinary(LOAD_SECONDS), ...Object.values<Scenario>(SPECIAL)]) {
    const claims = claimsFor(scenario, topology);
    if (claims.length === 0) continue;
    print(`\n${pc.bold(scenario.about)} (${topology})`);
    await using stage = await openStage(topology, scenario, pki);
    for (const claim of claims) {
      try {
        const seen = await claim.check(stage);
        print(`${pc.green("✓")} ${claim.says} ${pc.dim(`— ${seen}`)}`);
      } catch (error) {
        failures++;
        print(`${pc.red("✗")} ${claim.says}\n  ${(error as Error).message.replaceAll("\n", "\n  ")}`);
      }
    }
  }
  return failures;
}
