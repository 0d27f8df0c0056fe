import type { Fault, Version } from "../vocabulary.ts";
import { CONDITION_NAMES, CONDITIONS, type ConditionName, type ConditionValue, type Judge } from "./conditions.ts";
import type { Action, Phase } from "./facts.ts";
import { all } from "./truth.ts";
import type { View } from "./view.ts";

/** A rule as the user wrote it: all its conditions must hold; of the values of one condition, any. No condition at all holds always. */
export interface RuleSource {
  readonly name: string;
  readonly match: { readonly [Name in ConditionName]?: readonly ConditionValue[] | undefined };
  readonly action: Action;
  /** The inline tools that its sessions go through, in order; undefined: all that take this class of flow. */
  readonly tools?: readonly string[] | undefined;
  /** "http/1.1": HTTP/2 is kept out of its sessions. */
  readonly alpn?: "http/1.1" | undefined;
}

/** Everything a policy is made of: plain data that crosses process borders as JSON. */
export interface PolicySource {
  readonly default: Action;
  readonly versions: {
    readonly min: Version;
    readonly max: Version;
    readonly belowMin: "bypass" | "drop";
    readonly aboveMax: "bypass" | "drop";
    /** The cipher suites of SSL 3.0: "rc4" leaves out those that POODLE breaks; undefined is all. */
    readonly ssl3Suites?: "all" | "rc4";
  };
  /** The entries of the files, as `readList` gives them. */
  readonly lists: { readonly bypass: readonly string[]; readonly decrypt: readonly string[] };
  readonly rules: readonly RuleSource[];
  readonly certificate: { readonly [Name in Fault]: Action };
  readonly clientCertificate: {
    readonly action: "bypass" | "drop";
    /** For how long a server that demands one is remembered, in ms. */
    readonly for: number;
  };
  /** By listener: what becomes of a server whose key the node does not hold. A listener that is not here re-signs. */
  readonly onMissingKey?: Readonly<Record<string, "bypass" | "drop">>;
}

/** What is judged one after the other in each phase: product.md's order. The first that is true decides the phase. */
export const GROUPS = [
  "drop rules",
  "bypass list",
  "decrypt list",
  "bypass rules",
  "decrypt rules",
  "issuer rules",
] as const;
export type Group = (typeof GROUPS)[number];

/** A rule, ready to be judged. */
export interface Rule extends Pick<RuleSource, "tools" | "alpn"> {
  readonly name: string;
  readonly action: Action;
  readonly match: RuleSource["match"];
  /** The latest phase that one of its conditions needs. */
  readonly phase: Phase;
  readonly judge: Judge;
  /** Why it matched, for people. */
  readonly reason: string;
  /** It names an issuer: such rules come last in their phase. */
  readonly namesIssuer: boolean;
  /** The faults that it names. */
  readonly faults: readonly Fault[];
}

const PHASES: readonly Phase[] = ["network", "sni", "certificate"];

export function compileRule({ name, match, action, tools, alpn }: RuleSource): Rule {
  const named = CONDITION_NAMES.filter((condition) => match[condition] !== undefined);
  const judges = named.map((condition) => CONDITIONS[condition].compile(match[condition] ?? []));
  const needed = Math.max(0, ...named.map((condition) => PHASES.indexOf(CONDITIONS[condition].phase)));
  return {
    name,
    action,
    ...(tools && { tools }),
    ...(alpn && { alpn }),
    match,
    phase: PHASES[needed] ?? "network",
    judge: (view) => all(judges, view),
    reason: named.length === 0 ? "The rule matches every session" : `The rule's conditions hold: ${named.join(", ")}`,
    namesIssuer: match.issuer !== undefined,
    faults: (match.fault ?? []) as readonly Fault[],
  };
}

/** One step of an evaluation: a rule, or a list as a whole. */
export interface Entry {
  readonly phase: Phase;
  readonly group: Group;
  readonly name: string;
  readonly action: Action;
  readonly judge: Judge;
  /** Why it is true of this flow, in one sentence. */
  readonly reason: (view: View) => string;
  /** A rule's conditions as they were written; a list has none. */
  readonly match?: RuleSource["match"];
  /** The faults that it names. */
  readonly faults: readonly Fault[];
  readonly tools?: Rule["tools"];
  readonly alpn?: Rule["alpn"];
}
