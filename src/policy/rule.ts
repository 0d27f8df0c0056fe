import { type Action, type Fault, PHASES, type Phase, type Version } from "../vocabulary.ts";
import { CONDITION_NAMES, CONDITIONS, type ConditionName, type ConditionValue, type Judge } from "./conditions.ts";
import type { HostPurpose } from "./host-match.ts";
import type { HostSet } from "./host-set.ts";
import type { ListSource } from "./list-table.ts";
import { all } from "./truth.ts";
import type { View } from "./view.ts";

/** What policy does with sessions that the node cannot treat: those that are not TLS, and TLS that it cannot decrypt. */
export interface Untreated {
  /** Sessions that are not TLS. */
  readonly notTls?: "pass" | "drop" | undefined;
  /** TLS that the node cannot decrypt: by what it offers, or because it was seen too late. */
  readonly undecryptable?: "bypass" | "drop" | undefined;
}

/** Other actions for these ports of servers. */
export interface PortException extends Untreated {
  readonly ports: readonly ConditionValue[];
}

/** A rule as the user wrote it. All its conditions must hold; a condition holds for any of its values. Without conditions it always holds. */
export interface RuleSource extends Untreated {
  readonly name: string;
  readonly match: { readonly [Name in ConditionName]?: readonly ConditionValue[] | undefined };
  readonly action: Action;
  /** The inline tools for its sessions, in order; undefined: all that take this flow class. */
  readonly tools?: readonly string[] | undefined;
  /** "http/1.1": its sessions never use HTTP/2. */
  readonly alpn?: "http/1.1" | undefined;
}

/** Everything that makes a policy, as plain data. */
export interface PolicySource extends Untreated {
  readonly default: Action;
  /** Judge everything, and decrypt and drop nothing. */
  readonly monitor?: boolean;
  /** A bypass for a host needs a server that holds its certificate. */
  readonly verifyBypass?: boolean;
  readonly versions: {
    readonly min: Version;
    readonly max: Version;
    readonly belowMin: "bypass" | "drop";
    readonly aboveMax: "bypass" | "drop";
    /** The cipher suites of SSL 3.0: "rc4" leaves out those that POODLE breaks; undefined: all. */
    readonly ssl3Suites?: "all" | "rc4";
    /** For the legs: how weak a server may be in TLS 1.2. */
    readonly weakTls12?: boolean;
  };
  readonly lists: { readonly bypass: ListSource; readonly decrypt: ListSource };
  readonly rules: readonly RuleSource[];
  readonly certificate: { readonly [Name in Fault]: Action };
  readonly clientCertificate: {
    readonly action: "bypass" | "drop";
    /** How long a server that demands one is remembered, in ms. */
    readonly for: number;
  };
  /** The action for a server at which clients bind their log-in to the TLS channel; undefined: none. */
  readonly channelBinding?: { readonly action: "bypass" | "tell"; readonly for: number } | undefined;
  /** The action for a server whose key the node does not hold, by listener. A listener that is not here re-signs. */
  readonly onMissingKey?: Readonly<Record<string, "bypass" | "drop">>;
  /** The action for new sessions that would be decrypted while the node is overloaded; undefined: bypass. */
  readonly overload?: "bypass" | "drop";
  /** Other actions for what is not TLS or cannot be decrypted, by the server's port. The first that names the port counts. */
  readonly ports?: readonly PortException[];
}

/** The order within a phase, which docs/guide/policy.md explains. The first step that is true decides the phase. */
export const GROUPS = [
  "drop rules",
  "bypass list",
  "bypasses",
  "decrypt list",
  "bypass rules",
  "decrypt rules",
  "issuer rules",
] as const;
export type Group = (typeof GROUPS)[number];

/** A compiled rule. */
export interface Rule extends Pick<RuleSource, "tools" | "alpn" | keyof Untreated> {
  readonly name: string;
  readonly action: Action;
  readonly match: RuleSource["match"];
  /** The latest phase that one of its conditions needs. */
  readonly phase: Phase;
  readonly judge: Judge;
  /** One sentence that says why it matched. */
  readonly reason: string;
  /** Whether it names an issuer: such rules come last in their phase. */
  readonly namesIssuer: boolean;
  /** The certificate faults that it names. */
  readonly faults: readonly Fault[];
  /** Of a decrypt rule that names faults: whether it excuses them. */
  readonly excuses?: Judge | undefined;
}

export function compileRule({ name, match, action, tools, alpn, notTls, undecryptable }: RuleSource): Rule {
  const named = CONDITION_NAMES.filter((condition) => match[condition] !== undefined);
  const faults = (match.fault ?? []) as readonly Fault[];
  const compile = (purpose: HostPurpose): Judge => {
    const judges = named.map((condition) => CONDITIONS[condition].compile(match[condition] ?? [], purpose));
    return (view) => all(judges, view);
  };
  const needed = Math.max(0, ...named.map((condition) => PHASES.indexOf(CONDITIONS[condition].phase)));
  return {
    name,
    action,
    ...(tools && { tools }),
    ...(alpn && { alpn }),
    ...(notTls && { notTls }),
    ...(undecryptable && { undecryptable }),
    match,
    phase: PHASES[needed] ?? "network",
    judge: compile({ action, faults }),
    // To excuse a fault is to be as lenient as a bypass.
    ...(action === "decrypt" && faults.length > 0 && { excuses: compile({ action: "bypass", faults }) }),
    reason: named.length === 0 ? "The rule matches every session" : `The rule's conditions hold: ${named.join(", ")}`,
    namesIssuer: match.issuer !== undefined,
    faults,
  };
}

/** One step of the order: a rule, or a whole list. */
export interface Step extends Untreated {
  readonly phase: Phase;
  readonly group: Group;
  readonly name: string;
  /** Where several entries share a step: the name of the one that is true of this flow. */
  readonly nameFor?: (view: View) => string;
  readonly action: Action;
  readonly judge: Judge;
  /** One sentence that says why it is true of this flow. */
  readonly reason: (view: View) => string;
  /** Of a list, and of bypasses: their hosts. */
  readonly hosts?: Pick<HostSet<unknown>, "find" | "below"> | undefined;
  /** Of a list, and of bypasses: they look at the server's address. */
  readonly readsServer?: true;
  /** Whether it has no entry now, so that it need not be shown. */
  readonly isEmpty?: () => boolean;
  /** The conditions of a rule, as the user wrote them; a list has none. */
  readonly match?: RuleSource["match"];
  /** The certificate faults that it names. */
  readonly faults: readonly Fault[];
  /** Of a decrypt rule that names faults: whether it excuses them. */
  readonly excuses?: Judge | undefined;
  readonly tools?: Rule["tools"];
  readonly alpn?: Rule["alpn"];
}
