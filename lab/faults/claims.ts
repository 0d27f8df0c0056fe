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

const ONE_TOOL = { about: "A tool", tools: [{ name: "ips" }] };
const CHAIN = { about: "A chain of two tools", tools: [{ name: "ips" }, { name: "dlp" }] };
const LOOSE = { about: "Two tools", tools: [{ name: "ips" }, { name: "dlp", onFailure: "bypass" }] };

/** Faults that the lab has claims about. */
export const CLAIMED: readonly Fault[] = [
  ...claimed("inline-workers-killed", ["bridge", "routed"], OPEN, OPEN_WORKERS),
  ...claimed("inline-workers-killed-closed", ["routed", "bridge"], CLOSED, CLOSED_WORKERS),
  ...claimed("inline-node-killed", ["bridge", "routed"], OPEN, OPEN_NODE),
  ...claimed("inline-node-killed-closed", ["routed", "bridge"], CLOSED, CLOSED_NODE),
  ...claimed("inline-tool-cut", ["bridge", "routed"], ONE_TOOL, FAILS_CLOSED, RECOVERS),
  ...claimed("inline-tool-hung", ["bridge", "routed"], ONE_TOOL, hangs()),
  ...claimed("inline-chain-cut", ["routed"], CHAIN, FAILS_CLOSED),
  ...claimed("inline-chain-hung", ["bridge"], CHAIN, hangs()),
  ...claimed("inline-tool-cut-bypass", ["routed", "bridge"], LOOSE, failsOpen()),
];

function aboutOf(name: string): string {
  if (name.startsWith("inline-chain"))
    return `The first tool of two is ${name.includes("hung") ? "up, and passes nothing on" : "cut off"}`;
  if (name.includes("hung")) return "An inline tool takes packets and passes none on; its cables stay up";
  return name.includes("tool") ? "The cable of an inline tool is cut" : "SIGKILL under load";
}

/** The fault in each of these topologies: in the first by its own name. */
function claimed(
  name: string,
  topologies: readonly Topology[],
  scenario: Omit<Scenario, "claims">,
  ...claims: Claim[]
): readonly Fault[] {
  return topologies.map((topology, at) => {
    const mode = topology === "bridge" ? "bridge" : "router";
    return {
      name: at === 0 ? name : `${name}-${mode}`,
      about: aboutOf(name),
      promise: claims.map(({ says }) => says).join(". "),
      over: `inline ${mode}${scenario.tools ? ", inline tool" : ""}${(scenario.tools?.length ?? 0) > 1 ? "s" : ""}`,
      async run(pki) {
        const obstacle = missingRequirement();
        if (obstacle !== undefined) throw new Skipped(`it ${obstacle}`);
        await using stage = await openStage(topology, { ...scenario, claims }, pki);
        const seen: string[] = [];
        for (const claim of claims) seen.push(await claim.check(stage));
        return seen.join("; ");
      },
    };
  });
}
