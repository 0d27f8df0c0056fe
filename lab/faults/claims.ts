import type { Claim, Scenario } from "../claim.ts";
import { openStage } from "../claim.ts";
import { CLOSED_NODE, CLOSED_WORKERS, OPEN_NODE, OPEN_WORKERS } from "../claims/failure.ts";
import { failsOpen, hangs, TOOL_FAILURE } from "../claims/tool-failure.ts";
import type { Topology } from "../network.ts";
import { missingRequirement } from "../requirements.ts";
import { type Fault, Skipped } from "./fault.ts";

const OPEN = { about: "Failure, open", listener: { failure: "open" } };
const CLOSED = { about: "Failure, closed", listener: { failure: "closed" } };
const [FAILS_CLOSED, RECOVERS] = TOOL_FAILURE as readonly [Claim, Claim];

/** Faults that the lab has claims about. */
export const CLAIMED: readonly Fault[] = [
  claimed("inline-workers-killed", "bridge", OPEN, OPEN_WORKERS),
  claimed("inline-workers-killed-closed", "routed", CLOSED, CLOSED_WORKERS),
  claimed("inline-node-killed", "bridge", OPEN, OPEN_NODE),
  claimed("inline-node-killed-closed", "routed", CLOSED, CLOSED_NODE),
  claimed("inline-tool-cut", "bridge", { about: "A tool", tools: [{ name: "ips" }] }, FAILS_CLOSED, RECOVERS),
  claimed("inline-tool-hung", "bridge", { about: "A tool", tools: [{ name: "ips" }] }, hangs()),
  claimed(
    "inline-tool-cut-bypass",
    "routed",
    { about: "Two tools", tools: [{ name: "ips" }, { name: "dlp", onFailure: "bypass" }] },
    failsOpen(),
  ),
];

function aboutOf(name: string): string {
  if (name.includes("hung")) return "An inline tool takes packets and passes none on; its cables stay up";
  return name.includes("tool") ? "The cable of an inline tool is cut" : "SIGKILL under load";
}

function claimed(name: string, topology: Topology, scenario: Omit<Scenario, "claims">, ...claims: Claim[]): Fault {
  const promises = claims.map(({ says }) => says);
  return {
    name,
    about: aboutOf(name),
    promise: promises.join(". "),
    over: `inline ${topology === "bridge" ? "bridge" : "router"}${scenario.tools ? ", inline tool" : ""}`,
    async run(pki) {
      const obstacle = missingRequirement();
      if (obstacle !== undefined) throw new Skipped(`it ${obstacle}`);
      await using stage = await openStage(topology, { ...scenario, claims }, pki);
      const seen: string[] = [];
      for (const claim of claims) seen.push(await claim.check(stage));
      return seen.join("; ");
    },
  };
}
