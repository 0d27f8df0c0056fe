import type { Phase } from "../vocabulary.ts";
import type { Verdict } from "./facts.ts";
import type { PolicySource } from "./rule.ts";
import type { KnownFacts } from "./view.ts";

/**
 * The verdict for a server whose key the node does not hold, on a listener that never re-signs. Undefined: the node holds
 * the key, the listener re-signs, or one of these is not known.
 */
export function refuseMissingKey(
  { onMissingKey = {} }: PolicySource,
  { listener, keyHeld }: KnownFacts,
  phase: Phase,
): Verdict | undefined {
  if (listener === undefined || keyHeld !== false || !Object.hasOwn(onMissingKey, listener)) return undefined;
  const action = onMissingKey[listener];
  if (action === undefined) return undefined;
  const none =
    phase === "sni" ? "holds no key for this server" : "holds no key that clients of this server may be shown";
  const reason = `The node ${none}, and listener ${listener} does not re-sign`;
  return { action, phase, rule: "missing key", reason, provisional: false };
}
