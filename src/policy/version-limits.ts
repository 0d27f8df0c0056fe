import { nameVersion, VERSIONS } from "../vocabulary.ts";
import type { Verdict } from "./facts.ts";
import type { PolicySource } from "./rule.ts";

/**
 * The verdict for a client that the node could not shake hands with: all it offers is too old, or all of it too new.
 * Undefined: the limits say nothing, or what it offers is not known.
 */
export function refuseVersions(
  { versions: limits }: PolicySource,
  offered: readonly number[] | undefined,
): Verdict | undefined {
  if (offered === undefined || offered.length === 0) return undefined;
  const highest = Math.max(...offered);
  if (highest < VERSIONS[limits.min]) {
    return refusal(
      limits.belowMin,
      "sni",
      `The client offers at most ${nameVersion(highest)}, below the minimum ${limits.min}`,
    );
  }
  const lowest = Math.min(...offered);
  if (lowest > VERSIONS[limits.max]) {
    return refusal(
      limits.aboveMax,
      "sni",
      `The client offers at least ${nameVersion(lowest)}, above the maximum ${limits.max}`,
    );
  }
  return undefined;
}

/** The verdict for a server that refused every version the policy allows, because it speaks older ones only. */
export function refuseServerVersions({ versions: { belowMin, min } }: PolicySource): Verdict {
  return refusal(belowMin, "certificate", `The server speaks only versions below the minimum ${min}`);
}

function refusal(action: "bypass" | "drop", phase: "sni" | "certificate", reason: string): Verdict {
  return { action, phase, rule: "versions", reason, provisional: false };
}
