import type { SessionExplanation } from "../control/api.ts";
import { explain } from "../policy/explain.ts";
import { judgePast, MISSING_FACTS, type PastVerdict } from "../policy/past.ts";
import type { KnownFacts } from "../policy/view.ts";
import type { Session } from "../sessions/record.ts";
import { nameVersion } from "../vocabulary.ts";
import { pastFlow } from "./past-flow.ts";
import type { NodeState } from "./state.ts";

/** What was decided about a session that is on record, by what policy saw then, and what the policy of now makes of the same. */
export function explainSession({ active }: Pick<NodeState, "active">, session: Session): SessionExplanation {
  const { policy } = active;
  const flow = pastFlow(session);
  const { verdict, phase, rule, reason, monitored, outcome, cause, blame, closeReason } = session;
  const judged = judgePast(policy, flow, policy.source);
  // Without monitor mode: that is what a policy decides.
  const recorded = { verdict, phase, rule, reason, ...monitored };
  const today = decidedNow(judged, recorded);
  const { entries } = explain(policy, flow.facts);
  const missing = judged.kind === "unknown" ? judged.missing : judged.unless;
  return {
    session: session.id,
    start: session.start,
    decided: { ...{ verdict, phase, rule, reason }, monitored, ...{ outcome, cause, blame, closeReason } },
    facts: shownFacts(flow.facts),
    today: today && { ...today, entries },
    differs: today !== null && (today.verdict !== recorded.verdict || today.rule !== recorded.rule),
    unsure: missing ? MISSING_FACTS[missing] : null,
  };
}

type Decided = Omit<NonNullable<SessionExplanation["today"]>, "entries">;

function decidedNow(judged: PastVerdict, recorded: Decided): Decided | null {
  if (judged.kind === "unknown") return null;
  if (judged.kind === "stands") return recorded;
  if (judged.verdict === null) return { verdict: null, phase: null, rule: null, reason: "Nothing decides" };
  const { action, phase, rule, reason } = judged.verdict;
  return { verdict: action, phase, rule, reason };
}

function shownFacts(facts: KnownFacts): SessionExplanation["facts"] {
  const { client, server, certificate, alpn, versions } = facts;
  const yes = (value: boolean | undefined) => (value === undefined ? undefined : value ? "yes" : "no");
  const given: Readonly<Record<string, string | null | undefined>> = {
    listener: facts.listener,
    vlan: facts.vlan,
    client: client?.address,
    server: server && `${server.address} port ${server.port}`,
    sni: facts.sni ?? (facts.versions && "none"),
    connectHost: facts.connectHost,
    upgraded: yes(facts.upgraded),
    versions: versions?.map(nameVersion).join(", "),
    alpn: alpn && (alpn.join(", ") || "none"),
    keyHeld: yes(facts.keyHeld),
    clientCertificateDemanded: yes(facts.clientCertificateDemanded),
    channelBound: yes(facts.channelBound),
    certificateRefused: yes(facts.certificateRefused),
    certificateNames: certificate?.names.join(", "),
    certificateIssuer: certificate?.issuer,
    certificateFaults: certificate && (certificate.faults.join(", ") || "none"),
  };
  return Object.entries(given).flatMap(([name, value]) => (value ? [{ name, value }] : []));
}
