import { judgeFaults } from "./certificate-faults.ts";
import type { Phase, Verdict } from "./facts.ts";
import { refuseMissingKey } from "./missing-key.ts";
import { arrange, type Order } from "./order.ts";
import type { Entry, PolicySource } from "./rule.ts";
import { refuseServerVersions, refuseVersions } from "./version-limits.ts";
import { type KnownFacts, type View, viewOf } from "./view.ts";

/**
 * The three phases, as pure functions of what is known. A `bypass` or `drop` is final. A `decrypt` of an earlier phase
 * is provisional: a later phase may still bypass or drop, and one that has nothing to say leaves it standing.
 */
export interface Policy {
  readonly source: PolicySource;
  readonly order: Order;
  /** On the SYN. Undefined: nothing is decided yet, go on. */
  onNetwork(facts: KnownFacts): Verdict | undefined;
  /**
   * On the ClientHello. Undefined: nothing is decided yet, go on. Flows that began in plaintext and flows that name no
   * host are decided here only when they cannot be decrypted at all: by their versions, by a key that is missing, or by what
   * the server demands.
   */
  onHello(facts: KnownFacts): Verdict | undefined;
  /** On the server's certificate: the whole verdict. The earlier phases are judged again, so that nothing need be remembered. */
  onCertificate(facts: KnownFacts): Verdict;
  /** The verdict if nothing more ever became known: what holds when the server leg fails before its certificate came. */
  lean(facts: KnownFacts): Verdict;
  /** The verdict for a server that speaks only versions below the minimum. */
  serverBelowMin(facts: KnownFacts): Verdict;
}

/** Makes a policy of a source that the configuration's checks have passed. Values they would refuse match nothing. */
export function compilePolicy(source: PolicySource): Policy {
  const compiled: Compiled = { source, order: arrange(source) };
  const lean = (facts: KnownFacts) => final(judgeHello(compiled, facts, true)) ?? conclude(compiled, facts);
  return {
    ...compiled,
    onNetwork: (facts) => judgeNetwork(compiled, facts),
    onHello: (facts) => judgeHello(compiled, facts, true),
    onCertificate: (facts) => final(judgeHello(compiled, facts, false)) ?? conclude(compiled, facts),
    lean,
    serverBelowMin(facts) {
      const verdict = lean(facts);
      return verdict.action === "decrypt" ? refuseServerVersions(source) : verdict;
    },
  };
}

interface Compiled {
  readonly source: PolicySource;
  readonly order: Order;
}

function judgeNetwork({ order }: Compiled, facts: KnownFacts): Verdict | undefined {
  const view = viewOf(facts, true);
  const entry = order.network.first(view);
  return entry && verdictOf(entry, view);
}

/** `demand`: also look whether the server is known to demand a client certificate. */
function judgeHello({ source, order }: Compiled, facts: KnownFacts, demand: boolean): Verdict | undefined {
  // Judged again once the certificate is known, this phase must still say what it said before.
  const view = viewOf({ ...facts, certificate: undefined }, true);
  const entry = standing(order, view);
  const committed = entry !== undefined && (entry.phase === "network" || !view.late);
  if (entry !== undefined && entry.action !== "decrypt") return committed ? verdictOf(entry, view) : undefined;

  const refusal = refuseVersions(source, facts.versions);
  if (refusal !== undefined) return refusal;
  const inclined = entry?.action ?? source.default;
  const missing = inclined === "decrypt" ? refuseMissingKey(source, facts, "sni") : undefined;
  if (missing !== undefined) return missing;
  if (demand && inclined === "decrypt" && facts.clientCertificateDemanded) return clientCertificate(source, "sni");
  return committed && entry.phase === "sni" ? verdictOf(entry, view) : undefined;
}

/** The verdict after the last phase. */
function conclude({ source, order }: Compiled, facts: KnownFacts): Verdict {
  const view = viewOf(facts, true);
  const entry = standing(order, view);
  const verdict = entry ? verdictOf(entry, view) : byDefault(source);
  if (verdict.action !== "decrypt") return verdict;

  const { entries } = view.late ? order.late : order.certificate;
  const judged = judgeFaults(source, entries, view, verdict);
  if (judged.action !== "decrypt") return judged;
  // The sni phase passed over it when the flow leant to a bypass that the certificate then spoke against.
  const missing = refuseMissingKey(source, facts, "certificate");
  if (missing !== undefined) return missing;
  if (facts.clientCertificateDemanded) return clientCertificate(source, "certificate");
  return { ...judged, provisional: view.certificate === undefined };
}

/** The entry that decides as far as is known: each phase's first true one, until one is final. What is unknown is not true. */
function standing(order: Order, view: View): Entry | undefined {
  const stages = view.late ? [order.network, order.late] : [order.network, order.sni, order.certificate];
  let entry: Entry | undefined;
  for (const stage of stages) {
    entry = stage.first(view) ?? entry;
    if (entry !== undefined && entry.action !== "decrypt") return entry;
  }
  return entry;
}

function verdictOf({ name, action, phase, reason, tools, alpn }: Entry, view: View): Verdict {
  const committedLate = view.late && phase === "sni";
  return {
    action,
    phase: committedLate ? "certificate" : phase,
    rule: name,
    reason: reason(view),
    provisional: action === "decrypt",
    ...(tools && { tools }),
    ...(alpn && { alpn }),
  };
}

function byDefault(source: PolicySource): Verdict {
  const reason = `No rule or list decided; the default is ${source.default}`;
  return {
    action: source.default,
    phase: "certificate",
    rule: "default",
    reason,
    provisional: source.default === "decrypt",
  };
}

function clientCertificate({ clientCertificate: { action } }: PolicySource, phase: Phase): Verdict {
  const reason = "The server demands a client certificate, which only the client has";
  return { action, phase, rule: "client certificate", reason, provisional: false };
}

function final(verdict: Verdict | undefined): Verdict | undefined {
  return verdict?.provisional ? undefined : verdict;
}
