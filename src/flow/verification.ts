import type { ShownCertificate } from "../pki/verify/judge.ts";
import type { Verdict } from "../policy/facts.ts";
import { FAULT_TEXTS, VERSIONS } from "../vocabulary.ts";
import { readHost } from "../wire/host-name.ts";
import { type Story, serverKeyOf, type TlsLayer } from "./story.ts";

/** What `policy.verifyBypass` asks of a server: that it holds a certificate for every host that the client names. */

/** Why a bypass is not believed, now that the server has shown its certificate. Undefined: it is, or need not be looked into. */
export async function doubtAbout(
  { node, session }: Story,
  layer: TlsLayer,
  verdict: Verdict,
  shown: ShownCertificate,
): Promise<Verdict | undefined> {
  if (!node.policy.verifies(verdict)) return undefined;
  for (const host of namesOf(layer)) {
    const { record, facts } = await node.pki.judge(shown, host, layer.endpoint.address);
    session.note({ certificate: record });
    const [fault] = facts.faults;
    if (fault) return unverified(`its certificate is ${FAULT_TEXTS[fault]} (${fault}), and the bypass is for ${host}`);
  }
  node.servers.verified.learn(keyOf(layer));
  return undefined;
}

/** The server has shown its certificate before. */
export function isVerified({ node }: Story, layer: TlsLayer): boolean {
  return node.servers.verified.has(keyOf(layer));
}

/**
 * How the certificate can be looked at in the passing bytes. "must": it will be there, unencrypted. "may": TLS 1.3 would encrypt it, or
 * the client may go back to an earlier session, in which the server shows none.
 */
export function passingCertificate({ received: { hello } }: TlsLayer): "must" | "may" {
  const newest = hello.versions[0] ?? 0;
  return newest > VERSIONS["TLSv1.2"] || hello.sessionId.length > 0 || hello.sessionTicket ? "may" : "must";
}

/** The verdict on a bypass for a host whose server did not show a certificate for it. `what` ends the sentence. */
export function unverified(what: string): Verdict {
  const reason = `The server was not verified: ${what}`;
  return { action: "drop", phase: "certificate", rule: "verifyBypass", reason, provisional: false };
}

/** The names that the client has given: by SNI, by CONNECT. */
function namesOf({ received: { hello }, destination: { connectHost } }: TlsLayer): readonly string[] {
  const names = [hello.serverName, connectHost].filter((name) => name && readHost(name)?.kind === "name");
  return [...new Set(names as string[])];
}

function keyOf(layer: TlsLayer): string {
  return serverKeyOf(namesOf(layer).join(" "), layer.endpoint);
}
