import type { ServerLeg } from "../legs/leg.ts";
import type { Verdict } from "../policy/facts.ts";
import { FAULT_TEXTS } from "../vocabulary.ts";
import { readHost } from "../wire/host-name.ts";
import { bypassLate, bypassOnHello } from "./bypass.ts";
import { refuseHello } from "./refusal.ts";
import { openServerLeg } from "./server-leg.ts";
import { noteVerdict, type Story, serverKeyOf, type TlsLayer } from "./story.ts";
import { unverified } from "./unverified.ts";

/**
 * The part of a session's story in which a bypass by the client's word is looked into (`policy.verifyBypass`): the server must hold a
 * certificate for the host that the client names.
 */

/** The sni phase says bypass. A server that is not known to hold the certificate is asked by a handshake of the node's own. */
export async function bypassVerified(story: Story, layer: TlsLayer, verdict: Verdict): Promise<string> {
  const { policy, servers } = story.node;
  if (!policy.verifies(verdict) || servers.verified.has(keyOf(layer))) return bypassOnHello(story, layer, verdict);
  const { leg } = await openServerLeg(story, layer, layer.received.hello);
  const doubt =
    leg.kind === "failed"
      ? unverified(`it showed no certificate. ${leg.reason}`)
      : await doubtAbout(story, layer, verdict, leg);
  if (!doubt) return bypassLate(story, layer, verdict);
  noteVerdict(story.session, doubt);
  return refuseHello(story, layer, doubt);
}

/** Why a bypass is not believed, now that the server has shown its certificate. Undefined: it is, or need not be looked into. */
export async function doubtAbout(
  { node, session }: Story,
  layer: TlsLayer,
  verdict: Verdict,
  leg: ServerLeg,
): Promise<Verdict | undefined> {
  if (!node.policy.verifies(verdict)) return undefined;
  for (const host of namesOf(layer)) {
    const { record, facts } = await node.pki.judge(leg, host, layer.endpoint.address);
    session.note({ certificate: record });
    const [fault] = facts.faults;
    if (fault) return unverified(`its certificate is ${FAULT_TEXTS[fault]} (${fault}), and the bypass is for ${host}`);
  }
  node.servers.verified.learn(keyOf(layer));
  return undefined;
}

/** The names that the client has given: by SNI, by CONNECT. */
function namesOf({ received: { hello }, destination: { connectHost } }: TlsLayer): readonly string[] {
  const names = [hello.serverName, connectHost].filter((name) => name && readHost(name)?.kind === "name");
  return [...new Set(names as string[])];
}

function keyOf(layer: TlsLayer): string {
  return serverKeyOf(namesOf(layer).join(" "), layer.endpoint);
}
