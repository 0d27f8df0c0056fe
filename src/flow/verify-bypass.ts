import type { Verdict } from "../policy/facts.ts";
import { bypassLate, bypassOnHello } from "./bypass.ts";
import { refuseHello } from "./refusal.ts";
import { openServerLeg } from "./server-leg.ts";
import { noteVerdict, type Story, type TlsLayer } from "./story.ts";
import { doubtAbout, isVerified, passingCertificate, unverified } from "./verification.ts";

/**
 * The sni phase says bypass, by the client's word. Where policy wants it looked into, the server's certificate is judged as it passes,
 * or, where it cannot be seen there, after a handshake of the node's own.
 */
export async function bypassVerified(story: Story, layer: TlsLayer, verdict: Verdict): Promise<string> {
  const isSeen = passingCertificate(layer) === "must" || isVerified(story, layer);
  if (isSeen || !story.node.policy.verifies(verdict)) return bypassOnHello(story, layer, verdict);
  const { leg } = await openServerLeg(story, layer, layer.received.hello);
  const doubt =
    leg.kind === "failed"
      ? unverified(`it showed no certificate. ${leg.reason}`)
      : await doubtAbout(story, layer, verdict, leg);
  if (!doubt) return bypassLate(story, layer, verdict);
  noteVerdict(story.session, doubt);
  return refuseHello(story, layer, doubt);
}
