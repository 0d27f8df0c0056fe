import { isAddressEntry } from "./address-set.ts";
import { type ConditionValue, readPorts } from "./conditions.ts";
import type { Action } from "./facts.ts";
import { GROUPS, groupOf } from "./order.ts";
import { compileRule, type PolicySource, type RuleSource } from "./rule.ts";

/** One step of the network phase as a table that something else than the policy can judge: the kernel's packet filter. */
export interface NetworkRow {
  readonly name: string;
  readonly action: Action;
  /** Addresses, subnets, ranges; undefined: any. */
  readonly client: readonly string[] | undefined;
  readonly server: readonly string[] | undefined;
  /** First and last of each range; undefined: any. */
  readonly ports: readonly (readonly [first: number, last: number])[] | undefined;
  readonly sourcePorts: readonly (readonly [first: number, last: number])[] | undefined;
}

/**
 * The network phase for one listener, in the order in which it is judged: of the rows that match a flow the first decides.
 * The condition on the listener is judged here, so that no row has one.
 */
export function networkRows({ lists, rules }: PolicySource, listener: string): NetworkRow[] {
  const rows = [
    ...(["bypass", "decrypt"] as const).map((action) => ({
      group: `${action} list` as const,
      row: { ...ANY, name: `${action} list`, action, server: lists[action].filter(isAddressEntry) },
    })),
    ...rules
      .filter((rule) => compileRule(rule).phase === "network" && concerns(rule, listener))
      .map((rule) => ({ group: groupOf(compileRule(rule)), row: rowOf(rule) })),
  ];
  return GROUPS.flatMap((group) => rows.filter((one) => one.group === group).map(({ row }) => row)).filter(
    // An empty list matches nothing, while a condition that is not there matches everything.
    ({ server }) => server === undefined || server.length > 0,
  );
}

const ANY = { client: undefined, server: undefined, ports: undefined, sourcePorts: undefined } as const;

function concerns({ match }: RuleSource, listener: string): boolean {
  return match.listener === undefined || match.listener.map(String).includes(listener);
}

function rowOf({ name, action, match }: RuleSource): NetworkRow {
  const ranges = (values: readonly ConditionValue[] | undefined) =>
    values?.flatMap((value) => {
      const range = readPorts(value);
      return range ? [[range.first, range.last] as const] : [];
    });
  return {
    name,
    action,
    client: match.client?.map(String),
    server: match.server?.map(String),
    ports: ranges(match.port),
    sourcePorts: ranges(match.sourcePort),
  };
}
