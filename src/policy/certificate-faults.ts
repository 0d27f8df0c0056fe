import type { Fault } from "../vocabulary.ts";
import type { Action, Verdict } from "./facts.ts";
import type { Entry, PolicySource } from "./rule.ts";
import type { View } from "./view.ts";

/** What a fault is called in a sentence that begins with "The server's certificate is". */
const DESCRIPTIONS: Readonly<Record<Fault, string>> = {
  expired: "expired or not yet valid",
  selfSigned: "signed by itself",
  unknownIssuer: "from an issuer that is not trusted",
  hostMismatch: "for another host",
  invalid: "invalid",
  revoked: "revoked",
  revocationUnknown: "one whose revocation could not be ruled out",
};

const STRICTNESS: readonly Action[] = ["decrypt", "bypass", "drop"];

/**
 * What becomes of a flow that would be decrypted by `verdict`, when its server's certificate has faults: the strictest
 * action of all of them. A fault that a matching decrypt rule names is excused, the others are not: a rule for expired
 * certificates says nothing of one that is expired and signed by itself. `entries` are those of the phase.
 */
export function judgeFaults(source: PolicySource, entries: readonly Entry[], view: View, verdict: Verdict): Verdict {
  const faults = view.certificate?.faults ?? [];
  if (strictest(source, faults) === "decrypt") return verdict;
  const excuses = entries.filter(
    (entry) => entry.action === "decrypt" && entry.faults.length > 0 && entry.judge(view) === true,
  );
  const excused = (fault: Fault) => excuses.some((entry) => entry.faults.includes(fault));
  const action = strictest(
    source,
    faults.filter((fault) => !excused(fault)),
  );
  if (action !== "decrypt") {
    const named = faults.filter((fault) => !excused(fault) && source.certificate[fault] === action);
    const reason = `The server's certificate is ${named.map((fault) => `${DESCRIPTIONS[fault]} (${fault})`).join(", ")}`;
    return { action, phase: "certificate", rule: "certificate fault", reason, provisional: false };
  }
  const [excuse] = excuses;
  if (excuse === undefined) return verdict;
  const reason = `The rule excuses the certificate's faults: ${faults.filter(excused).join(", ")}`;
  const { name: rule, tools, alpn } = excuse;
  const treatment = { ...(tools && { tools }), ...(alpn && { alpn }) };
  return { action, phase: "certificate", rule, reason, provisional: false, ...treatment };
}

function strictest(source: PolicySource, faults: readonly Fault[]): Action {
  return STRICTNESS[Math.max(0, ...faults.map((fault) => STRICTNESS.indexOf(source.certificate[fault])))] ?? "drop";
}
