import { isAddressEntry } from "./address-set.ts";
import { type ConditionValue, readPorts } from "./conditions.ts";
import type { Action } from "./facts.ts";
import { groupOf } from "./order.ts";
import { compileRule, GROUPS, type PolicySource, type RuleSource } from "./rule.ts";

/** One step of the network phase as a table that something else than the policy can judge: the kernel's packet filter. */
export interface NetworkRow {
  readonly name: string;
  readonly action: Action;
  /** Addresses, subnets, ranges; absent: any. */
  readonly client?: readonly string[];
  readonly server?: readonly string[];
  /** First and last of each range; absent: any. */
  readonly ports?: readonly PortRange[];
  readonly sourcePorts?: readonly PortRange[];
  /** Names; absent: any. */
  readonly listeners?: readonly string[];
}

type PortRange = readonly [first: number, last: number];

/** The network phase in the order in which it is judged: of the rows that match a flow the first decides. */
export function networkRows({ lists, rules }: PolicySource): NetworkRow[] {
  const ofLists = (["bypass", "decrypt"] as const).flatMap((action) => {
    const server = lists[action].filter(isAddressEntry);
    const row: NetworkRow = { name: `${action} list`, action, server };
    // A list without an address matches nothing, while a row without servers matches all.
    return server.length > 0 ? [{ group: `${action} list`, row }] : [];
  });
  const ofRules = rules.flatMap((rule) => {
    const compiled = compileRule(rule);
    return compiled.phase === "network" ? [{ group: groupOf(compiled), row: rowOf(rule) }] : [];
  });
  return GROUPS.flatMap((group) => [...ofLists, ...ofRules].filter((one) => one.group === group).map(({ row }) => row));
}

function rowOf({ name, action, match }: RuleSource): NetworkRow {
  return {
    name,
    action,
    ...(match.client && { client: match.client.map(String) }),
    ...(match.server && { server: match.server.map(String) }),
    ...(match.port && { ports: rangesOf(match.port) }),
    ...(match.sourcePort && { sourcePorts: rangesOf(match.sourcePort) }),
    ...(match.listener && { listeners: match.listener.map(String) }),
  };
}

function rangesOf(values: readonly ConditionValue[]): PortRange[] {
  return values.flatMap((value) => {
    const range = readPorts(value);
    return range ? [[range.first, range.last] as const] : [];
  });
}
