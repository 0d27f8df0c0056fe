import type { Verdict } from "./facts.ts";
import { decidingSteps, type Order } from "./order.ts";
import type { PolicySource } from "./rule.ts";
import { judgeUndecryptable } from "./untreated.ts";
import { type KnownFacts, viewOf } from "./view.ts";

/**
 * The verdict for a session for which the overloaded node makes no handshake. Undefined: it is on the decrypt list, so it is decrypted
 * all the same. What is known decides where it can: drop rules, and bypasses that the certificate could not change. The other
 * sessions get `overload.action`, or are dropped where policy says so of TLS that is not decrypted.
 * `soFar`: the verdict by the facts that are known. `isOpen`: the certificate may still lead to another one.
 */
export function judgeOverload(
  source: PolicySource,
  order: Order,
  facts: KnownFacts,
  { soFar, isOpen }: { readonly soFar: Verdict; readonly isOpen: boolean },
): Verdict | undefined {
  if (soFar.action === "drop" || (soFar.action === "bypass" && !isOpen)) return soFar;
  const view = viewOf(facts, true);
  if (decidingSteps(order, view).some(({ group }) => group === "decrypt list")) return undefined;
  const common = { phase: view.late ? "certificate" : "sni", rule: "overload", provisional: false } as const;
  const why = facts.overload ?? "The node is overloaded";
  const undecryptable = judgeUndecryptable(source, order, facts, why);
  if (undecryptable.action === "drop") return { ...common, action: "drop", reason: undecryptable.reason };
  const action = source.overload ?? "bypass";
  return { ...common, action, reason: `${why}; overload.action is ${action}` };
}
