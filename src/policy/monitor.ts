import type { Policy } from "./evaluate.ts";
import type { Verdict } from "./facts.ts";

/**
 * Monitor mode: everything is judged, and nothing is decrypted or dropped. What would have been is beside the verdict, and
 * in the session's record. A session that would be decrypted is bypassed after the node has seen the server's certificate.
 */
export function monitor(policy: Policy): Policy {
  return {
    source: policy.source,
    order: policy.order,
    onNetwork: (facts) => passOn(policy.onNetwork(facts)),
    onHello: (facts) => passOn(policy.onHello(facts)),
    onCertificate: (facts) => pass(policy.onCertificate(facts)),
    // Both are asked about a server leg that failed: nothing is left to wait for.
    verdictSoFar: (facts) => pass(policy.verdictSoFar(facts)),
    verifies: () => false,
    // Nothing is decrypted, so nothing is issued.
    namesAlike: () => undefined,
    isOpen: () => false,
    whilePassing: () => undefined,
    serverBelowMin: (facts) => pass(policy.serverBelowMin(facts)),
    onNotTls: (facts) => passOn(policy.onNotTls(facts)),
    onUndecryptable: (facts, why) => pass(policy.onUndecryptable(facts, why)),
    onOverload: (facts) => passOn(policy.onOverload(facts)),
  };
}

/** A later phase may still decide otherwise, so what is provisional stays. */
function passOn(verdict: Verdict | undefined): Verdict | undefined {
  return verdict && (verdict.provisional ? verdict : pass(verdict));
}

function pass(verdict: Verdict): Verdict {
  const { action, phase, rule, reason } = verdict;
  if (action === "bypass") return verdict;
  return {
    ...verdict,
    action: "bypass",
    rule: "monitor",
    reason: `Monitor mode: without it, the verdict would be ${action}`,
    provisional: false,
    instead: { action, phase, rule, reason },
  };
}
