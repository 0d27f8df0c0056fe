import type { Phase } from "../vocabulary.ts";
import { type ConditionValue, readPorts } from "./conditions.ts";
import type { Verdict } from "./facts.ts";
import { decidingSteps, type Order } from "./order.ts";
import type { PolicySource, PortException, Step, Untreated } from "./rule.ts";
import { type KnownFacts, viewOf } from "./view.ts";

/**
 * The verdict for a flow that is not TLS. Undefined: it passes. Drop rules hold for it, as far as their conditions are known; then
 * counts what the deciding rule says, then the server's port, then the general setting. A flow that is bypassed passes unless
 * its own rule says otherwise.
 */
export function refuseNotTls(source: PolicySource, order: Order, facts: KnownFacts): Verdict | undefined {
  const { steps, view, deciding } = judge(order, { ...facts, sni: facts.sni ?? null });
  if (deciding?.action === "drop") return { ...dropped(deciding.phase, deciding.name), reason: deciding.reason(view) };
  const ruled = steps.findLast(({ notTls }) => notTls !== undefined);
  if (ruled) return ruled.notTls === "drop" ? refusal(ruled.name, "The rule drops what is not TLS") : undefined;
  if (deciding?.action === "bypass") return undefined;
  const port = portOf(source, "notTls", facts);
  if (port) return port.notTls === "drop" ? refusal("notTls", "policy.ports drops what is not TLS") : undefined;
  return source.notTls === "drop" ? refusal("notTls", "policy.notTls is drop") : undefined;
}

function refusal(rule: string, says: string): Verdict {
  return { ...dropped("sni", rule), reason: `Not TLS: ${says}` };
}

function dropped(phase: Phase, rule: string): Omit<Verdict, "reason"> {
  return { action: "drop", phase, rule, provisional: false };
}

/** The verdict for TLS that policy would decrypt and the node cannot. `why`: the beginning of a sentence, without its end. */
export function judgeUndecryptable(source: PolicySource, order: Order, facts: KnownFacts, why: string): Verdict {
  const { steps } = judge(order, facts);
  const ruled = steps.findLast(({ undecryptable }) => undecryptable !== undefined);
  const port = portOf(source, "undecryptable", facts);
  const [action, rule, says] = ruled
    ? ([ruled.undecryptable, ruled.name, "its rule says"] as const)
    : port
      ? ([port.undecryptable, "undecryptable", "policy.ports says"] as const)
      : ([source.undecryptable, "undecryptable", "policy.undecryptable is"] as const);
  const decided = action ?? "bypass";
  return { action: decided, phase: "sni", rule, reason: `${why}; ${says} ${decided}`, provisional: false };
}

function judge(order: Order, facts: KnownFacts) {
  const view = viewOf(facts, true);
  const steps = decidingSteps(order, view);
  return { view, steps, deciding: steps.at(-1) satisfies Step | undefined };
}

function portOf({ ports = [] }: PolicySource, key: keyof Untreated, { server }: KnownFacts): PortException | undefined {
  const port = server?.port;
  if (port === undefined) return undefined;
  return ports.find((one) => one[key] !== undefined && one.ports.some((value) => covers(value, port)));
}

function covers(value: ConditionValue, port: number): boolean {
  const range = readPorts(value);
  return range !== undefined && range.first <= port && port <= range.last;
}
