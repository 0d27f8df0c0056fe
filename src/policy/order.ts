import { createAddressSet } from "./address-set.ts";
import type { Phase } from "./facts.ts";
import { createHostSet } from "./host-set.ts";
import { compileRule, type Entry, GROUPS, type Group, type PolicySource, type Rule } from "./rule.ts";
import { createStage, type Stage } from "./stage.ts";
import type { View } from "./view.ts";

export interface Order {
  readonly network: Stage;
  readonly sni: Stage;
  readonly certificate: Stage;
  /** The sni and certificate phases in one, for flows whose hosts are judged in the certificate phase. */
  readonly late: Stage;
}

/** Puts rules and lists in the order in which they are judged; within a group they stay as written. */
export function arrange({ rules, lists }: PolicySource): Order {
  const entries = [
    ...listEntries("bypass", lists.bypass),
    ...listEntries("decrypt", lists.decrypt),
    ...rules.map((rule) => ruleEntry(compileRule(rule))),
  ].sort((a, b) => GROUPS.indexOf(a.group) - GROUPS.indexOf(b.group));
  const of = (phase: Phase) => createStage(entries.filter((entry) => entry.phase === phase));
  return {
    network: of("network"),
    sni: of("sni"),
    certificate: of("certificate"),
    late: createStage(entries.filter(({ phase }) => phase !== "network")),
  };
}

function ruleEntry({ reason, ...rule }: Rule): Entry {
  return { ...rule, group: groupOf(rule), reason: () => reason };
}

export function groupOf({ action, namesIssuer }: Pick<Rule, "action" | "namesIssuer">): Group {
  if (action === "drop") return "drop rules";
  if (namesIssuer) return "issuer rules";
  return action === "bypass" ? "bypass rules" : "decrypt rules";
}

/** A list is judged twice: its addresses in the network phase, its hosts in the sni phase. */
function listEntries(action: "bypass" | "decrypt", list: readonly string[]): Entry[] {
  const addresses = createAddressSet(list.map((entry) => [entry, entry]));
  const hosts = createHostSet(list.map((entry) => [entry, entry]));
  const common = { group: `${action} list`, name: `${action} list`, action, faults: [] } as const;
  const addressIn = ({ serverAddress }: View) => (serverAddress ? addresses.find(serverAddress)[0] : undefined);
  const hostIn = ({ hosts: { names } }: View) => firstOf(names, (name) => hosts.find(name)[0]);
  const byAddress: Entry = {
    ...common,
    phase: "network",
    judge: (view) => (view.serverAddress === undefined ? "unknown" : addressIn(view) !== undefined),
    reason: (view) => `The server's address is on the ${action} list: ${addressIn(view)}`,
  };
  const byHost: Entry = {
    ...common,
    phase: "sni",
    judge: (view) => hostIn(view) !== undefined || (view.hosts.open ? "unknown" : false),
    reason: (view) => `The host is on the ${action} list: ${hostIn(view)}`,
  };
  return [...(addresses.size > 0 ? [byAddress] : []), ...(hosts.size > 0 ? [byHost] : [])];
}

function firstOf<From, To>(values: readonly From[], read: (value: From) => To | undefined): To | undefined {
  for (const value of values) {
    const found = read(value);
    if (found !== undefined) return found;
  }
  return undefined;
}
