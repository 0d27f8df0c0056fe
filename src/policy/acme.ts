import type { Phase } from "../vocabulary.ts";
import type { Verdict } from "./facts.ts";
import type { PolicySource } from "./rule.ts";
import type { KnownFacts } from "./view.ts";

/** RFC 8737: a CA makes sure that a server is in control of its domain. */
const ACME = "acme-tls/1";

/** Whether the client offers nothing else, as a CA that validates a domain does. */
export function isAcme({ alpn }: KnownFacts): boolean {
  return alpn?.length === 1 && alpn[0] === ACME;
}

/**
 * The verdict for a CA's validation, when no rule or list has decided: it compares the server's own certificate, so nobody else's will
 * do. The connection carries no data. Undefined: it is none, or the policy drops or bypasses by default anyway.
 */
export function passAcme(source: PolicySource, facts: KnownFacts, phase: Phase): Verdict | undefined {
  if (source.default !== "decrypt" || !isAcme(facts)) return undefined;
  const reason = `The client offers ${ACME} alone: a CA validates the domain by the server's own certificate`;
  return { action: "bypass", phase, rule: ACME, reason, provisional: false };
}
