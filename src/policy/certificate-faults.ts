import { ACTIONS, type Action, FAULT_TEXTS, type Fault } from "../vocabulary.ts";
import type { Verdict } from "./facts.ts";
import type { PolicySource, Step } from "./rule.ts";
import type { View } from "./view.ts";

/**
 * The verdict for a flow that `verdict` would decrypt and whose server's certificate has faults: the strictest action of
 * all faults. A decrypt rule that matches excuses the faults that it names and no others. `steps` are those of the phase.
 */
export function judgeFaults(source: PolicySource, steps: readonly Step[], view: View, verdict: Verdict): Verdict {
  const faults = view.certificate?.faults ?? [];
  if (strictest(source, faults) === "decrypt") return verdict;
  const excuses = steps.filter((step) => step.excuses?.(view) === true);
  const excused = (fault: Fault) => excuses.some((step) => step.faults.includes(fault));
  const action = strictest(
    source,
    faults.filter((fault) => !excused(fault)),
  );
  if (action !== "decrypt") {
    const named = faults.filter((fault) => !excused(fault) && source.certificate[fault] === action);
    const reason = `The server's certificate is ${named.map((fault) => `${FAULT_TEXTS[fault]} (${fault})`).join(", ")}`;
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
  return ACTIONS[Math.max(0, ...faults.map((fault) => ACTIONS.indexOf(source.certificate[fault])))] ?? "drop";
}
