import { nameVersion, VERSIONS } from "../vocabulary.ts";
import type { Verdict } from "./facts.ts";
import type { PolicySource } from "./rule.ts";

/**
 * The verdict for a client whose versions are all below the minimum, or all above the maximum. Undefined: one of them is
 * within the limits, or they are not known.
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

/** The verdict for a server that speaks only versions below the minimum. */
export function refuseServerVersions({ versions: { belowMin, min } }: PolicySource): Verdict {
  return refusal(belowMin, "certificate", `The server speaks only versions below the minimum ${min}`);
}

/** Whether a flow that passes because of its versions may not agree on this one: the limits allow it, or it would be dropped. */
export function forbidsPassing({ versions: { min, max, belowMin, aboveMax } }: PolicySource, version: number): boolean {
  if (version < VERSIONS[min]) return belowMin === "drop";
  return version <= VERSIONS[max] || aboveMax === "drop";
}

function refusal(action: "bypass" | "drop", phase: "sni" | "certificate", reason: string): Verdict {
  return { action, phase, rule: "versions", reason, provisional: false };
}
