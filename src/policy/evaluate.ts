import type { Phase } from "../vocabulary.ts";
import { passAcme } from "./acme.ts";
import type { Address } from "./address-set.ts";
import { namesAlike, type OtherHost } from "./alike.ts";
import { type Bypasses, bypassOfRule, NO_BYPASSES } from "./bypass.ts";
import { judgeFaults } from "./certificate-faults.ts";
import type { Facts, Verdict } from "./facts.ts";
import { refuseMissingKey } from "./missing-key.ts";
import { arrange, decidingSteps, type Order } from "./order.ts";
import { judgeOverload } from "./overload.ts";
import type { PolicySource, Step } from "./rule.ts";
import { judgeUndecryptable, refuseNotTls } from "./untreated.ts";
import { forbidsPassing, refuseServerVersions, refuseVersions } from "./version-limits.ts";
import { type KnownFacts, type View, viewOf } from "./view.ts";

/**
 * The three phases as pure functions of the known facts. docs/guide/policy.md explains the order. A `bypass` or `drop` is
 * final. A `decrypt` of an earlier phase is provisional: it stands unless a later phase decides otherwise.
 */
export interface Policy {
  readonly source: PolicySource;
  readonly order: Order;
  /** On the SYN. Undefined: nothing is decided yet. */
  onNetwork(facts: KnownFacts): Verdict | undefined;
  /**
   * On the ClientHello. Undefined: nothing is decided yet. Flows that began in plaintext and flows that name no host are
   * decided here only if they cannot be decrypted: because of their versions, a missing key, or a client certificate that
   * the server demands.
   */
  onHello(facts: KnownFacts): Verdict | undefined;
  /** On the server's certificate: the final verdict. It judges the earlier phases again, so no state is kept between phases. */
  onCertificate(facts: KnownFacts): Verdict;
  /** The verdict on the facts known so far, for a server leg that fails before its certificate comes. */
  verdictSoFar(facts: KnownFacts): Verdict;
  /** Whether this bypass is for a host, and holds only if the server has a certificate for it. */
  verifies(verdict: Verdict): boolean;
  /** Of the certificate's names, those whose sessions would be treated as this one, which is decrypted; undefined: all. */
  namesAlike(facts: Facts, learnt: (host: string) => OtherHost): readonly string[] | undefined;
  /** Whether a rule or list that drops or decrypts may still match once the certificate is known. */
  isOpen(facts: KnownFacts): boolean;
  /** What must stay true while a flow passes by this verdict; undefined: nothing, because nothing is to be dropped. */
  whilePassing(verdict: Verdict): PassingCondition | undefined;
  /** The verdict for a server that speaks only versions below the minimum. */
  serverBelowMin(facts: KnownFacts): Verdict;
  /** The verdict of drop for a flow that is not TLS. Undefined: it passes. */
  onNotTls(facts: KnownFacts): Verdict | undefined;
  /** The verdict for TLS that would be decrypted, and cannot be. `why`: the beginning of a sentence. */
  onUndecryptable(facts: KnownFacts, why: string): Verdict;
  /** On the ClientHello, while the node is overloaded. Undefined: the session is decrypted all the same. */
  onOverload(facts: KnownFacts): Verdict | undefined;
}

export interface PassingCondition {
  /** The flow passes because of its versions: the peers may not agree on one of these. */
  readonly isForbidden?: (version: number) => boolean;
  /** The flow passes because the server refused the node: it may choose nothing that the node can do. */
  readonly beyondNode?: boolean;
}

/** Compiles a policy. Values that the configuration's checks refuse match nothing. `bypasses` may change later. */
export function compilePolicy(source: PolicySource, bypasses: Bypasses = NO_BYPASSES): Policy {
  const compiled: Compiled = { source, order: arrange(source, bypasses) };
  const onCertificate = (facts: KnownFacts) => final(judgeHello(compiled, facts, false)) ?? conclude(compiled, facts);
  const verdictSoFar = (facts: KnownFacts) => final(judgeHello(compiled, facts, true)) ?? conclude(compiled, facts);
  return {
    ...compiled,
    onNetwork: (facts) => judgeNetwork(compiled, facts),
    onHello: (facts) => judgeHello(compiled, facts, true),
    onCertificate,
    verdictSoFar,
    verifies: (verdict) => verifies(source, verdict),
    namesAlike: (facts, learnt) => namesAlike(compiled.order, onCertificate, facts, learnt),
    isOpen: (facts) => isOpen(compiled, facts),
    whilePassing: ({ rule, beyondNode }) => ({
      ...(rule === "versions" && { isForbidden: (version) => forbidsPassing(source, version) }),
      ...(beyondNode && { beyondNode }),
    }),
    serverBelowMin(facts) {
      const verdict = verdictSoFar(facts);
      return verdict.action === "decrypt" ? refuseServerVersions(source) : verdict;
    },
    onNotTls: (facts) => refuseNotTls(source, compiled.order, facts),
    onUndecryptable: (facts, why) => judgeUndecryptable(source, compiled.order, facts, why),
    onOverload(facts) {
      const known = { soFar: verdictSoFar(facts), isOpen: isOpen(compiled, facts) };
      return judgeOverload(source, compiled.order, facts, known);
    },
  };
}

interface Compiled {
  readonly source: PolicySource;
  readonly order: Order;
}

function judgeNetwork({ order }: Compiled, facts: KnownFacts): Verdict | undefined {
  const view = viewOf(facts, true);
  const judge = (one: View) => {
    const step = order.network.first(one);
    return step && verdictOf(step, one);
  };
  const verdict = judge(view);
  const reached = view.serverAddress && reachedBy(view.serverAddress);
  return reached && verdict?.action !== "drop" ? judge({ ...view, serverAddress: reached }) : verdict;
}

/** A connection to the unspecified address reaches the machine itself: connect(2) on Linux. Undefined: another address. */
function reachedBy({ family, value }: Address): Address | undefined {
  if (BigInt(value) !== 0n) return undefined;
  return family === 4 ? { family, value: 0x7f000001 } : { family, value: 1n };
}

/** `demand`: also check whether the server is known to demand a client certificate. */
function judgeHello({ source, order }: Compiled, facts: KnownFacts, demand: boolean): Verdict | undefined {
  // Without the certificate, so that this phase gives the same answer when it is judged again later.
  const view = viewOf(facts.certificate === undefined ? facts : { ...facts, certificate: undefined }, true);
  const step = decidingStep(order, view);
  const committed = step !== undefined && (step.phase === "network" || !view.late);
  if (step !== undefined && step.action !== "decrypt") return committed ? verdictOf(step, view) : undefined;

  const refusal = refuseVersions(source, facts.versions);
  if (refusal !== undefined) return refusal;
  const acme = step || view.late ? undefined : passAcme(source, facts, "sni");
  if (acme !== undefined) return acme;
  const inclined = step?.action ?? source.default;
  const missing = inclined === "decrypt" ? refuseMissingKey(source, facts, "sni") : undefined;
  if (missing !== undefined) return missing;
  if (demand && inclined === "decrypt" && facts.clientCertificateDemanded) return clientCertificate(source, "sni");
  if (demand && inclined === "decrypt" && isBound(source, order, view, facts)) return bound("sni");
  if (demand && inclined === "decrypt" && isLearnt(order, view, facts)) return learnt("sni");
  return committed && step.phase === "sni" ? verdictOf(step, view) : undefined;
}

/** Other bypasses do not go by the client's word. */
function verifies({ verifyBypass = false, rules }: PolicySource, { action, rule, phase }: Verdict): boolean {
  if (!verifyBypass || action !== "bypass" || phase === "network") return false;
  if (rule === "bypass list" || bypassOfRule(rule) !== undefined) return true;
  return rules.some(({ name, match }) => name === rule && match.host !== undefined);
}

function isOpen({ order }: Compiled, facts: KnownFacts): boolean {
  const view = viewOf(facts, true);
  const stages = view.late ? [order.late] : [order.sni, order.certificate];
  return stages.some(({ steps }) => steps.some((step) => step.action !== "bypass" && step.judge(view) === "unknown"));
}

/** The verdict after the last phase. */
function conclude({ source, order }: Compiled, facts: KnownFacts): Verdict {
  const view = viewOf(facts, true);
  const step = decidingStep(order, view);
  const verdict = step ? verdictOf(step, view) : (passAcme(source, facts, "certificate") ?? byDefault(source));
  if (verdict.action !== "decrypt") return verdict;

  const { steps } = view.late ? order.late : order.certificate;
  const judged = judgeFaults(source, steps, view, verdict);
  if (judged.action !== "decrypt") return judged;
  // The sni phase did not check this if it expected a bypass that the certificate has ruled out.
  const missing = refuseMissingKey(source, facts, "certificate");
  if (missing !== undefined) return missing;
  if (facts.clientCertificateDemanded) return clientCertificate(source, "certificate");
  if (isBound(source, order, view, facts)) return bound("certificate");
  if (isLearnt(order, view, facts)) return learnt("certificate");
  return { ...judged, provisional: view.certificate === undefined };
}

function decidingStep(order: Order, view: View): Step | undefined {
  return decidingSteps(order, view).at(-1);
}

function verdictOf({ name, nameFor, action, phase, reason, tools, alpn }: Step, view: View): Verdict {
  const committedLate = view.late && phase === "sni";
  return {
    action,
    phase: committedLate ? "certificate" : phase,
    rule: nameFor ? nameFor(view) : name,
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

/** What is on the decrypt list stays decrypted, whatever clients do. */
function isLearnt(order: Order, view: View, { certificateRefused }: KnownFacts): boolean {
  return certificateRefused === true && !isListed(order, view);
}

function isBound({ channelBinding }: PolicySource, order: Order, view: View, { channelBound }: KnownFacts): boolean {
  return channelBound === true && channelBinding?.action === "bypass" && !isListed(order, view);
}

function isListed(order: Order, view: View): boolean {
  return decidingSteps(order, view).some(({ group }) => group === "decrypt list");
}

function bound(phase: Phase): Verdict {
  const reason = "Clients bind their log-in at this server to the TLS channel: policy.channelBinding";
  return { action: "bypass", phase, rule: "channel binding", reason, provisional: false };
}

function learnt(phase: Phase): Verdict {
  const reason = "This client has refused the node's certificate for this host again and again: policy.learn";
  return { action: "bypass", phase, rule: "learnt", reason, provisional: false };
}

function final(verdict: Verdict | undefined): Verdict | undefined {
  return verdict?.provisional ? undefined : verdict;
}
