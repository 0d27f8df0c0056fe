import type { Verdict } from "../policy/facts.ts";
import { bypassLate } from "./bypass.ts";
import { refuseHello } from "./refusal.ts";
import { noteVerdict, type Story, type TlsLayer } from "./story.ts";
import { bypassVerified } from "./verify-bypass.ts";

/**
 * The part of a session's story in which the node is overloaded. It decides before the handshakes, which cost the most of what a session
 * costs. A session whose handshakes have begun is a live one, and goes on.
 */

/** The verdict on the ClientHello. Of a session that would be decrypted it may be another one while the node is overloaded. */
export function judgeLoad(story: Story, layer: TlsLayer, verdict: Verdict | undefined): Verdict | undefined {
  // Behind TLS that is decrypted there may be another ClientHello.
  if (story.isDecrypting || (verdict && verdict.action !== "decrypt")) return verdict;
  if (story.overload === undefined) story.overload = story.node.overload.judge(false) ?? null;
  return underLoad(story, layer) ?? verdict;
}

/** The session has waited for its client's turn, and its handshakes would begin now. Undefined: they may. */
export function judgeAgain(story: Story, layer: TlsLayer): Verdict | undefined {
  if (!story.isDecrypting && story.overload === null) story.overload = story.node.overload.judge(true) ?? null;
  const verdict = story.isDecrypting ? undefined : underLoad(story, layer);
  if (!verdict) story.isDecrypting = true;
  return verdict;
}

/** Carries on with a verdict of `judgeAgain`. Answers why the session is over. */
export function spare(story: Story, layer: TlsLayer, verdict: Verdict): Promise<string> {
  story.endTurn?.();
  noteVerdict(story.session, verdict);
  if (verdict.action === "drop") return refuseHello(story, layer, verdict);
  return layer.kept ? bypassLate(story, layer, verdict) : bypassVerified(story, layer, verdict);
}

function underLoad({ node, overload }: Story, { facts }: TlsLayer): Verdict | undefined {
  if (!overload) return undefined;
  const verdict = node.policy.onOverload({ ...facts, overload });
  const { action, rule } = verdict?.instead ?? verdict ?? {};
  if (rule === "overload" && (action === "bypass" || action === "drop")) node.overload.count(action);
  return verdict;
}
