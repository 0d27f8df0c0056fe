import type { Action } from "../vocabulary.ts";
import { type CONDITIONS, type ConditionName, type ConditionValue, readPorts } from "./conditions.ts";
import { addressEntries } from "./list-table.ts";
import { groupOf } from "./order.ts";
import { compileRule, GROUPS, type PolicySource, type RuleSource } from "./rule.ts";

/** One step of the network phase as plain data, for the kernel's packet filter. */
export interface NetworkRow {
  readonly name: string;
  readonly action: Action;
  /** Addresses, subnets and ranges; absent: any. */
  readonly client?: readonly string[];
  readonly server?: readonly string[];
  /** The first and last port of each range; absent: any. */
  readonly ports?: readonly PortRange[];
  readonly sourcePorts?: readonly PortRange[];
  /** Names of listeners; absent: any. */
  readonly listeners?: readonly string[];
  /** VLANs, by their names; "untagged": none. Absent: any. */
  readonly vlans?: readonly string[];
}

export type PortRange = readonly [first: number, last: number];

/** The steps of the network phase, in order: the first row that matches a flow decides. */
export function networkRows({ lists, rules, monitor }: PolicySource): NetworkRow[] {
  const ofLists = (["bypass", "decrypt"] as const).flatMap((action) => {
    const server = addressEntries(lists[action]);
    const row: NetworkRow = { name: `${action} list`, action, server };
    // A list without addresses matches nothing, but a row without servers would match everything.
    return server.length > 0 ? [{ group: `${action} list`, row }] : [];
  });
  const ofRules = rules.flatMap((rule) => {
    const compiled = compileRule(rule);
    return compiled.phase === "network" ? [{ group: groupOf(compiled), row: rowOf(rule) }] : [];
  });
  const rows = GROUPS.flatMap((group) => [...ofLists, ...ofRules].filter((one) => one.group === group));
  // In monitor mode the node carries, and records, what the kernel would drop.
  return rows.map(({ row }) => (monitor && row.action === "drop" ? { ...row, action: "decrypt" } : row));
}

type NetworkCondition = {
  [Name in ConditionName]: (typeof CONDITIONS)[Name]["phase"] extends "network" ? Name : never;
}[ConditionName];

/** Every condition of the network phase must be here: a row without it would match too much. */
const COLUMNS: {
  readonly [Name in NetworkCondition]: (values: readonly ConditionValue[]) => Partial<NetworkRow>;
} = {
  client: (values) => ({ client: values.map(String) }),
  server: (values) => ({ server: values.map(String) }),
  port: (values) => ({ ports: rangesOf(values) }),
  sourcePort: (values) => ({ sourcePorts: rangesOf(values) }),
  listener: (values) => ({ listeners: values.map(String) }),
  vlan: (values) => ({ vlans: values.map(String) }),
};

function rowOf({ name, action, match }: RuleSource): NetworkRow {
  const names = Object.keys(COLUMNS) as NetworkCondition[];
  return Object.assign({ name, action }, ...names.map((one) => match[one] && COLUMNS[one](match[one])));
}

function rangesOf(values: readonly ConditionValue[]): PortRange[] {
  return values.flatMap((value) => {
    const range = readPorts(value);
    return range ? [[range.first, range.last] as const] : [];
  });
}
