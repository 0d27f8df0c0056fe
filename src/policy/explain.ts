import { type Action, FAULTS, type Fault, type Phase } from "../vocabulary.ts";
import { isAcme } from "./acme.ts";
import type { Policy } from "./evaluate.ts";
import { REVOCATION_FAULTS, type Verdict } from "./facts.ts";
import { refuseMissingKey } from "./missing-key.ts";
import type { Step } from "./rule.ts";
import type { Truth } from "./truth.ts";
import { refuseVersions } from "./version-limits.ts";
import { type KnownFacts, type View, viewOf } from "./view.ts";

/** One step of the order in which a policy is evaluated. */
export interface OrderedStep {
  readonly phase: Phase;
  readonly group: string;
  readonly name: string;
  readonly action: Action;
}

interface ExplainedStep extends OrderedStep {
  /** Whether it is true of the flow; "unknown": it needs a fact that is not known. */
  readonly truth: Truth;
  /** Of a bypass that is true of the flow: who bypasses what, until when and why. */
  readonly reason?: string;
}

export interface Explanation {
  /** In the order in which they are judged for this flow. The first that is true decides its phase. */
  readonly entries: readonly ExplainedStep[];
  readonly verdict: Verdict;
}

/** Explains the verdict of a policy for a flow. Facts that are left out count as unknown. */
export function explain(policy: Policy, facts: KnownFacts): Explanation {
  // The certificate comes after the ClientHello: once it is known, all hosts of the flow are.
  const view = viewOf(facts, facts.certificate !== undefined);
  const entries = linesOf(policy, view.late).map(({ judge, tell, ...line }) => {
    const truth = judge(facts, view);
    return { ...line, truth, ...(truth === true && tell?.(view)) };
  });
  const verdict = facts.overload === undefined ? undefined : policy.onOverload(facts);
  return { entries, verdict: verdict ?? policy.verdictSoFar(facts) };
}

/** The order for a flow that begins with a ClientHello and names its host. */
export function order(policy: Policy): readonly OrderedStep[] {
  return linesOf(policy, false).map(({ judge: _, tell: __, ...line }) => line);
}

interface Line extends OrderedStep {
  judge(facts: KnownFacts, view: View): Truth;
  /** Of a step that several entries share: which one is true of the flow, and why. */
  tell?(view: View): { readonly name: string; readonly reason: string };
}

function linesOf({ source, order: stages }: Policy, late: boolean): Line[] {
  const { belowMin, aboveMax } = source.versions;
  const lines = (steps: readonly Step[]) => steps.filter(({ isEmpty }) => !isEmpty?.()).map(lineOf);
  const hosts = lines(stages.sni.steps);
  return [
    ...lines(stages.network.steps),
    ...(late ? [] : hosts),
    ...[...new Set([belowMin, aboveMax])].map((action) => versionsLine(source, action)),
    ...(late ? [] : acmeLines(source, "sni")),
    ...missingKeyLines(source),
    clientCertificateLine(source, "sni"),
    ...channelBindingLines(source, "sni"),
    overloadLine(source),
    ...(late
      ? lines(stages.late.steps).map((line) => ({ ...line, phase: "certificate" as const }))
      : lines(stages.certificate.steps)),
    ...(late ? acmeLines(source, "certificate") : []),
    ...FAULTS.map((fault) => faultLine(source, fault)),
    clientCertificateLine(source, "certificate"),
    ...channelBindingLines(source, "certificate"),
    { phase: "certificate", group: "default", name: "default", action: source.default, judge: () => true },
  ];
}

function lineOf({ phase, group, name, nameFor, action, judge, reason }: Step): Line {
  return {
    ...{ phase, group, name, action },
    judge: (_, view) => judge(view),
    ...(nameFor && { tell: (view) => ({ name: nameFor(view), reason: reason(view) }) }),
  };
}

function versionsLine(source: Policy["source"], action: "bypass" | "drop"): Line {
  return {
    phase: "sni",
    group: "version limits",
    name: "versions",
    action,
    judge: ({ versions }) => (versions === undefined ? "unknown" : refuseVersions(source, versions)?.action === action),
  };
}

/** Only where no rule or list has decided. */
function acmeLines(source: Policy["source"], phase: Phase): Line[] {
  const line = { phase, group: "domain validation", name: "acme-tls/1", action: "bypass" } as const;
  const judge = (facts: KnownFacts) => (facts.alpn === undefined ? "unknown" : isAcme(facts));
  return source.default === "decrypt" ? [{ ...line, judge }] : [];
}

function missingKeyLines(source: Policy["source"]): Line[] {
  return [...new Set(Object.values(source.onMissingKey ?? {}))].map((action) => ({
    phase: "sni",
    group: "missing key",
    name: "missing key",
    action,
    judge: (facts) =>
      facts.listener === undefined || facts.keyHeld === undefined
        ? "unknown"
        : refuseMissingKey(source, facts, "sni")?.action === action,
  }));
}

function clientCertificateLine(source: Policy["source"], phase: Phase): Line {
  return {
    phase,
    group: "client certificate",
    name: "client certificate",
    action: source.clientCertificate.action,
    judge: ({ clientCertificateDemanded }) => clientCertificateDemanded ?? "unknown",
  };
}

/** Of the sessions that would be decrypted, those that are not on the decrypt list. */
function overloadLine({ overload = "bypass" }: Policy["source"]): Line {
  const line = { phase: "sni", group: "overload", name: "overload", action: overload } as const;
  return { ...line, judge: (facts) => facts.overload !== undefined };
}

function channelBindingLines(source: Policy["source"], phase: Phase): Line[] {
  if (source.channelBinding?.action !== "bypass") return [];
  const line = { phase, group: "channel binding", name: "channel binding", action: "bypass" } as const;
  return [{ ...line, judge: ({ channelBound }) => channelBound ?? "unknown" }];
}

function faultLine(source: Policy["source"], fault: Fault): Line {
  return {
    phase: "certificate",
    group: `certificate faults: ${fault}`,
    name: "certificate fault",
    action: source.certificate[fault],
    judge({ certificate }) {
      if (certificate === undefined) return "unknown";
      const open = certificate.revocationOpen === true && REVOCATION_FAULTS.includes(fault);
      return certificate.faults.includes(fault) || (open ? "unknown" : false);
    },
  };
}
