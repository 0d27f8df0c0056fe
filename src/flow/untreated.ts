import type { Facts, Verdict } from "../policy/facts.ts";
import { type Layer, noteVerdict, type Story, type TlsLayer } from "./story.ts";

/** The part of a session's story in which the node cannot treat what it carries: it is not TLS, or TLS that it cannot decrypt. */

/** The verdict of drop for a session that is not TLS. Undefined: it passes; monitor mode records what would have been. */
export function unwantedNotTls({ node, session }: Story, facts: Facts): Verdict | undefined {
  const verdict = node.policy.onNotTls(facts);
  if (verdict?.action === "drop") return verdict;
  if (verdict) noteVerdict(session, verdict);
  return undefined;
}

/** The policy drops a session that is not TLS. */
export function dropNotTls({ session }: Story, layer: Layer, verdict: Verdict): string {
  noteVerdict(session, verdict);
  return resetBoth(layer, verdict);
}

/** There is no alert to send to peers that do not speak TLS with the node: both are reset. */
export function resetBoth({ client, server }: Pick<Layer, "client" | "server">, { reason }: Verdict): string {
  client.reset();
  server.reset();
  return `Dropped: ${reason}`;
}

/** The verdict on the ClientHello. One that the node could not decrypt is judged here, before its server is asked for anything. */
export function verdictOnHello({ node }: Story, { received, facts, found }: TlsLayer): Verdict | undefined {
  const verdict = node.policy.onHello(facts);
  if (verdict && verdict.action !== "decrypt") return verdict;
  if (found) {
    // What was found cannot be bypassed later, and need not be told from what began with TLS.
    const early = node.policy.verdictSoFar(facts);
    if (early.action === "bypass") return early;
  }
  const why = node.legs.whyUndecryptable(received.hello, facts.keyHeld ?? false);
  if (why === undefined) return verdict;
  const soFar = node.policy.verdictSoFar(facts);
  return isDecrypt(soFar) ? node.policy.onUndecryptable(facts, why) : soFar;
}

/** Also in monitor mode, in which nothing is decrypted. */
export function isDecrypt(verdict: Verdict): boolean {
  return (verdict.instead ?? verdict).action === "decrypt";
}
