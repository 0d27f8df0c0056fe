import { type Action, type Phase, VERSIONS } from "../vocabulary.ts";
import type { Policy } from "./evaluate.ts";
import type { Verdict } from "./facts.ts";
import type { PolicySource, Step } from "./rule.ts";
import { type KnownFacts, type View, viewOf } from "./view.ts";

/** What a policy would have decided about a past session, by the facts that its record has. */

/** Facts that records do not have, each with why, in a sentence. */
export const MISSING_FACTS = {
  hello: "It was decided on its connection, so what the client said is not in the record",
  versions: "The versions that the client offered are not in the record",
  alpn: "The protocols that the client offered by ALPN are not in the record",
  certificate: "The server's certificate was not seen",
  names: "The certificate has more names than the record",
} as const;
export type MissingFact = keyof typeof MISSING_FACTS;

export interface PastFlow {
  /** What the record has; what it implies is added here. */
  readonly facts: KnownFacts;
  /** What was seen of it. */
  readonly carried: "tls" | "http" | "other" | "nothing";
  /** The verdict, and the rule, list or built-in that decided; null: none did. */
  readonly action: Action | null;
  readonly rule: string | null;
  readonly phase: Phase | null;
  /** The versions that were agreed on with the client and with the server, as far as they were, as numbers on the wire. */
  readonly versions: readonly number[];
  /** The certificate has more names than the facts. */
  readonly moreNames: boolean;
}

export type Decided = Pick<Verdict, "action" | "phase" | "rule" | "reason">;

export type PastVerdict =
  /** null: nothing would be decided. `unless`: it could be otherwise by this. */
  | { readonly kind: "verdict"; readonly verdict: Decided | null; readonly unless?: MissingFact }
  /** What was recorded holds, whatever the policy says. */
  | { readonly kind: "stands"; readonly unless?: MissingFact }
  | { readonly kind: "unknown"; readonly missing: MissingFact };

/** What no policy changes. */
const FIXED: readonly string[] = ["reach", "startTls", "second hello"];

/** `running`: the policy that the node has now, by which the session was probably decided. */
export function judgePast(policy: Policy, flow: PastFlow, running: PolicySource): PastVerdict {
  const { rule, carried, facts } = flow;
  if (rule !== null && FIXED.includes(rule)) return { kind: "stands" };
  const network = policy.onNetwork(facts);
  if (network && network.action !== "decrypt") return { kind: "verdict", verdict: network };
  if (carried === "nothing") return rule === null ? { kind: "stands" } : { kind: "unknown", missing: "hello" };
  if (carried !== "tls") return { kind: "verdict", verdict: judgePlaintext(policy, flow) };
  return judgeTls(policy, { ...flow, facts: { ...facts, ...impliedBy(policy, flow) } }, running);
}

/** The record says what decided, and that says more of the flow. */
function impliedBy(policy: Policy, { rule, facts }: PastFlow): KnownFacts {
  const alpn = policy.source.rules.find(({ name }) => name === rule)?.match.alpn?.map(String);
  return {
    clientCertificateDemanded: facts.clientCertificateDemanded === true || rule === "client certificate",
    certificateRefused: facts.certificateRefused === true || rule === "learnt",
    ...(rule === "missing key" && { keyHeld: false }),
    ...(rule === "acme-tls/1" && { alpn: [rule] }),
    ...(alpn && facts.alpn === undefined && { alpn }),
  };
}

function judgePlaintext(policy: Policy, { facts, carried }: PastFlow): Decided | null {
  const named: KnownFacts =
    carried === "http"
      ? { ...facts, requestHost: facts.connectHost, connectHost: null, sni: null, upgraded: false, keyHeld: true }
      : facts;
  const asked = carried === "http" ? policy.onHello(named) : undefined;
  return (asked?.action === "drop" ? asked : policy.onNotTls(named)) ?? null;
}

function judgeTls(policy: Policy, flow: PastFlow, running: PolicySource): PastVerdict {
  const { facts, rule, phase } = flow;
  const overloaded = rule === "overload" ? policy.onOverload(facts) : undefined;
  if (overloaded) return withDoubt(policy, flow, overloaded);
  const hello = policy.onHello(facts);
  if (hello && hello.action !== "decrypt") {
    if (rule === "verifyBypass" && policy.verifies(hello)) return { kind: "stands" };
    return withDoubt(policy, flow, hello);
  }
  const sameVersions = JSON.stringify(policy.source.versions) === JSON.stringify(running.versions);
  // What the client offered may be known, and this policy takes it; what the server speaks is not.
  const isClients = phase === "sni" && facts.versions !== undefined;
  if (rule === "versions" && !isClients)
    return sameVersions ? asRecorded(policy, flow) : { kind: "unknown", missing: "versions" };
  const verdict = facts.certificate ? policy.onCertificate(facts) : policy.verdictSoFar(facts);
  if (verdict.action !== "decrypt") return withDoubt(policy, flow, verdict);
  if (isUndecryptable(running, flow))
    return withDoubt(policy, flow, policy.onUndecryptable(facts, "The node cannot decrypt it"));
  if (!sameVersions && !isWithin(policy.source, flow.versions)) return { kind: "unknown", missing: "versions" };
  return withDoubt(policy, flow, verdict);
}

/** The node could not decrypt it, whatever the policy wants: a general setting decided, or one of its rule. */
function isUndecryptable({ rules }: PolicySource, { rule, action }: PastFlow): boolean {
  if (rule === "undecryptable") return true;
  return rules.some((one) => one.name === rule && one.action === "decrypt" && one.undecryptable === action);
}

/** Both legs agreed on versions that this policy allows, so they would again. */
function isWithin({ versions: { min, max } }: PolicySource, agreed: readonly number[]): boolean {
  return agreed.length > 0 && agreed.every((version) => version >= VERSIONS[min] && version <= VERSIONS[max]);
}

function withDoubt(policy: Policy, { facts, moreNames }: PastFlow, verdict: Verdict): PastVerdict {
  const view = viewOf(facts, true);
  const byNames = view.hosts.from === "certificate";
  const open = facts.certificate === undefined && (verdict.action === "decrypt" || byNames);
  const byAlpn = () => alpnSteps(policy).some((step) => step.action !== verdict.action && mayApply(step, view));
  const unless = open ? "certificate" : byNames && moreNames ? "names" : byAlpn() ? "alpn" : undefined;
  return { kind: "verdict", verdict, ...(unless && { unless }) };
}

/** The versions that the client offered decided, unless a rule comes first. */
function asRecorded(policy: Policy, { facts }: PastFlow): PastVerdict {
  const view = viewOf(facts, true);
  const byAlpn = alpnSteps(policy).some((step) => step.action !== "decrypt" && mayApply(step, view));
  return { kind: "stands", ...(byAlpn && { unless: "alpn" }) };
}

function mayApply(step: Step, view: View): boolean {
  return step.judge(view) === "unknown";
}

const known = new WeakMap<Policy, readonly Step[]>();

function alpnSteps(policy: Policy): readonly Step[] {
  const steps = known.get(policy) ?? policy.order.late.steps.filter(({ match }) => match?.alpn !== undefined);
  known.set(policy, steps);
  return steps;
}

/** The facts by which two policies may differ although they give the same verdict by all others. */
export function differingFacts(one: PolicySource, other: PolicySource): ReadonlySet<MissingFact> {
  const differs = (read: (source: PolicySource) => unknown) =>
    JSON.stringify(read(one)) !== JSON.stringify(read(other));
  const rulesOn =
    (...conditions: readonly string[]) =>
    ({ rules }: PolicySource) =>
      rules.filter(({ match }) => conditions.some((name) => name in match));
  const certificate = differs(({ certificate }) => certificate) || differs(rulesOn("issuer", "fault"));
  return new Set<MissingFact>([
    ...(certificate ? (["certificate"] as const) : []),
    ...(differs(rulesOn("alpn")) ? (["alpn"] as const) : []),
  ]);
}
