import type { Phase } from "../vocabulary.ts";
import { type Bypasses, NO_BYPASSES, reasonOfBypass, ruleOfBypass } from "./bypass.ts";
import { matchHosts } from "./host-match.ts";
import { type ListSource, listedAddresses, listedHosts, tablesOf } from "./list-table.ts";
import { compileRule, GROUPS, type Group, type PolicySource, type Rule, type Step } from "./rule.ts";
import { createStage, type Stage } from "./stage.ts";
import type { View } from "./view.ts";

export interface Order {
  readonly network: Stage;
  readonly sni: Stage;
  readonly certificate: Stage;
  /** The sni and certificate phases together, for flows whose hosts are judged in the certificate phase. */
  readonly late: Stage;
  /** Whether a rule, a list or a bypass looks at the server's address now. */
  readsServer(): boolean;
}

/** Sorts rules and lists by group. Within a group they keep the order of the file. */
export function arrange({ rules, lists }: PolicySource, bypasses: Bypasses = NO_BYPASSES): Order {
  const steps = [
    ...listSteps("bypass", lists.bypass),
    ...bypassSteps(bypasses),
    ...listSteps("decrypt", lists.decrypt),
    ...rules.map((rule) => ruleStep(compileRule(rule))),
  ].sort((a, b) => GROUPS.indexOf(a.group) - GROUPS.indexOf(b.group));
  const readers = steps.filter(({ readsServer, match }) => readsServer ?? match?.server !== undefined);
  const of = (phase: Phase) => createStage(steps.filter((step) => step.phase === phase));
  return {
    network: of("network"),
    sni: of("sni"),
    certificate: of("certificate"),
    late: createStage(steps.filter(({ phase }) => phase !== "network")),
    readsServer: () => readers.some(({ isEmpty }) => !isEmpty?.()),
  };
}

/** The first true step of each phase, until one is final: the last of them decides. Unknown is not true. */
export function decidingSteps(order: Order, view: View): readonly Step[] {
  const stages = view.late ? [order.network, order.late] : [order.network, order.sni, order.certificate];
  const steps: Step[] = [];
  for (const stage of stages) {
    const step = stage.first(view);
    if (step) steps.push(step);
    if (step && step.action !== "decrypt") break;
  }
  return steps;
}

function ruleStep({ reason, ...rule }: Rule): Step {
  return { ...rule, group: groupOf(rule), reason: () => reason };
}

export function groupOf({ action, namesIssuer }: Pick<Rule, "action" | "namesIssuer">): Group {
  if (action === "drop") return "drop rules";
  if (namesIssuer) return "issuer rules";
  return action === "bypass" ? "bypass rules" : "decrypt rules";
}

/** A list is judged twice: its addresses in the network phase, its hosts in the sni phase. */
function listSteps(action: "bypass" | "decrypt", list: ListSource): Step[] {
  const tables = tablesOf(list);
  const addresses = listedAddresses(tables);
  const hosts = listedHosts(tables);
  const common = { group: `${action} list`, name: `${action} list`, action, faults: [] } as const;
  const addressIn = ({ serverAddress }: View) => (serverAddress ? addresses.find(serverAddress)[0] : undefined);
  const hostIn = ({ hosts: { names } }: View) => firstOf(names, (name) => hosts.reach(name)[0]);
  const byAddress: Step = {
    ...common,
    phase: "network",
    readsServer: true,
    judge: (view) => (view.serverAddress === undefined ? "unknown" : addressIn(view) !== undefined),
    reason: (view) => `The server's address is on the ${action} list: ${addressIn(view)}`,
  };
  const byHost: Step = {
    ...common,
    phase: "sni",
    hosts,
    judge: (view) => matchHosts(hosts, common, view),
    reason: (view) => `The host is on the ${action} list: ${hostIn(view)}`,
  };
  return [...(addresses.size > 0 ? [byAddress] : []), ...(hosts.size > 0 ? [byHost] : [])];
}

/** Like the bypass list, they are judged twice. They change while the policy is in force, so nothing of them is kept here. */
function bypassSteps(bypasses: Bypasses): Step[] {
  const common = { group: "bypasses", name: "bypass", action: "bypass", faults: [] } as const;
  const byAddress = ({ serverAddress }: View) =>
    serverAddress ? bypasses.addresses.find(serverAddress)[0] : undefined;
  const byHost = ({ hosts: { names } }: View) => firstOf(names, (name) => bypasses.hosts.find(name)[0]);
  const told = (find: typeof byHost) => ({
    nameFor(view: View) {
      const bypass = find(view);
      return bypass ? ruleOfBypass(bypass) : common.name;
    },
    reason(view: View) {
      const bypass = find(view);
      return bypass ? reasonOfBypass(bypass) : "The bypass has ended meanwhile";
    },
  });
  return [
    {
      ...common,
      ...told(byAddress),
      phase: "network",
      readsServer: true,
      judge(view) {
        if (bypasses.addresses.size === 0) return false;
        return view.serverAddress === undefined ? "unknown" : byAddress(view) !== undefined;
      },
      isEmpty: () => bypasses.addresses.size === 0,
    },
    {
      ...common,
      ...told(byHost),
      phase: "sni",
      hosts: { find: (host) => bypasses.hosts.find(host), below: (...name) => bypasses.hosts.below(...name) },
      judge: (view) => bypasses.hosts.size > 0 && matchHosts(bypasses.hosts, common, view),
      isEmpty: () => bypasses.hosts.size === 0,
    },
  ];
}

function firstOf<From, To>(values: readonly From[], read: (value: From) => To | undefined): To | undefined {
  for (const value of values) {
    const found = read(value);
    if (found !== undefined) return found;
  }
  return undefined;
}
