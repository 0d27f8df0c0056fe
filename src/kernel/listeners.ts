import { existsSync } from "node:fs";
import { join } from "node:path";
import { ConfigError } from "../errors.ts";
import { requireBpf } from "../linux/capabilities.ts";
import { loadRules, probeFeatures, readCountedSet, readCounters } from "../linux/nftables.ts";
import { readUnjoined } from "../linux/reassembly.ts";
import { type Link, readLink } from "../linux/routes.ts";
import { canKeepTags } from "../linux/tag-memory.ts";
import type { VlanTags } from "../linux/vlan-programs.ts";
import { type ConditionValue, readPorts } from "../policy/conditions.ts";
import { networkRows } from "../policy/network-rows.ts";
import type { PolicySource } from "../policy/rule.ts";
import { applyPlan, undoPlan } from "./apply.ts";
import { type Counted, carryCounts } from "./listener/counters.ts";
import type { InlineListener, LiveConnection, Plan, PlannedCounter } from "./listener/lane.ts";
import { carryPassing, namePassing, type PassingVlan } from "./listener/passing-vlans.ts";
import { planInline } from "./listener/plan.ts";
import { deviationsLeft } from "./standing.ts";

/** The kernel's part of the inline listeners: bridges, routes, settings and rules. The supervisor calls these. */

/** The parts of the configuration that the kernel is set up from. */
export interface ListenersConfig {
  readonly config: {
    readonly console: { readonly address: { readonly port: number } };
    readonly listeners: readonly AnyListener[];
  };
  readonly policy: PolicySource;
}

/** A listener of the configuration, of any mode. */
type AnyListener = ConfiguredInline | { readonly mode: string };

interface ConfiguredInline
  extends Omit<InlineListener, "path" | "addresses" | "gateways" | "routes" | "ports" | "direction" | "vlan">,
    ConfiguredNetwork {
  readonly direction?: InlineListener["direction"] | undefined;
  readonly vlans: readonly ConfiguredVlan[];
  readonly ports: "all" | readonly ConditionValue[];
}

/** The node's place in the network of a bridge, or of one of its VLANs. */
interface ConfiguredNetwork {
  readonly address?: string | readonly string[] | undefined;
  readonly gateway?: string | readonly string[] | undefined;
  readonly routes: InlineListener["routes"];
}

interface ConfiguredVlan extends ConfiguredNetwork {
  readonly id: number;
  readonly outer?: number | undefined;
  readonly outerType: NonNullable<VlanTags["outer"]>["type"];
}

/**
 * The ports, queues, marks and tables that the node uses on this machine. Clients never see them. The ports are below the range from
 * which the kernel chooses ports by itself.
 */
const NUMBERS = {
  basePort: 17_001,
  baseQueue: 4_700,
  markShift: 16,
  routingTable: 4_700,
  rulePriority: 4_700,
} as const;

/**
 * Plans what the inline listeners need. Undefined: there are none, and the kernel stays as it is. `live`: both legs of the live
 * sessions, which continue whatever the new rules say. Throws ConfigError.
 */
export function planListeners(
  { config, policy }: ListenersConfig,
  workers: number,
  live?: readonly LiveConnection[],
): Plan | undefined {
  const inline = config.listeners.flatMap((listener, index) =>
    "networkA" in listener ? [{ listener, path: `listeners[${index}]` }] : [],
  );
  if (inline.length === 0) return undefined;
  // A bridge takes the hardware address of its first port; if it has it from the start, it never changes.
  for (const { listener, path } of inline) if (listener.vlans.length > 0) requireBpf(`${path}.vlans`);
  const wires = inline.map((one) => ({ ...one, links: linksOf(one.listener, one.path) }));
  const bridgeMacs = Object.fromEntries(wires.map(({ listener, links: [a] }) => [listener.name, a.mac]));
  const common = (listener: ConfiguredInline) => ({
    ...listener,
    ports: listener.ports === "all" ? listener.ports : rangesOf(listener.ports),
    direction: listener.direction ?? (listener.topology === "bridge" ? ("both" as const) : ("aToB" as const)),
    // After a reload the kernel no longer knows which connections it saw begin.
    midStream: live === undefined ? listener.midStream : ("pass" as const),
  });
  return planInline({
    ...NUMBERS,
    apiPort: config.console.address.port,
    workers,
    // The VLANs come last, so that the bridges of the wires have the same names with and without them.
    listeners: [
      ...wires.map(({ listener, path }) => ({
        ...common(listener),
        ...placeOf(listener),
        path,
        // Frames without a tag cross a bridge that has no address for them.
        ...(listener.topology === "bridge" && listener.address === undefined && { ports: [] }),
      })),
      ...wires.flatMap(({ listener, path, links }) => vlansOf(common(listener), path, links)),
    ],
    features: { ...probeFeatures(), tagMemory: canKeepTags() },
    bridgeMacs,
    rows: networkRows(policy),
    live: live ?? [],
  });
}

function placeOf({ address, gateway, routes }: ConfiguredNetwork) {
  return { addresses: [address ?? []].flat(), gateways: [gateway ?? []].flat(), routes };
}

/** The VLANs of a wire, those with two tags first: of two that match a frame, the first takes it. */
function vlansOf(
  listener: Omit<InlineListener, "path" | "addresses" | "gateways"> & Pick<ConfiguredInline, "vlans">,
  path: string,
  links: readonly [Link, Link],
): InlineListener[] {
  const mtu = Math.min(...links.map((link) => link.mtu));
  const planned = listener.vlans.map((vlan, index): InlineListener => {
    const { id, outer, outerType } = vlan;
    const tags = outer === undefined ? { id } : { id, outer: { id: outer, type: outerType } };
    return { ...listener, ...placeOf(vlan), path: `${path}.vlans[${index}]`, vlan: { tags, mtu } };
  });
  const isDouble = ({ vlan }: InlineListener) => vlan?.tags.outer !== undefined;
  return [...planned.filter(isDouble), ...planned.filter((one) => !isDouble(one))];
}

/** Both interfaces must exist. */
function linksOf({ networkA, networkB }: ConfiguredInline, path: string): [Link, Link] {
  return [networkA, networkB].map((name): Link => {
    const link = readLink(name);
    if (link) return link;
    const message = `Cannot stand between ${networkA} and ${networkB} (${path}): there is no interface ${name}`;
    throw new ConfigError(path, message);
  }) as [Link, Link];
}

function rangesOf(ports: readonly ConditionValue[]): [first: number, last: number][] {
  return ports.flatMap((value): [number, number][] => {
    const range = readPorts(value);
    return range ? [[range.first, range.last]] : [];
  });
}

/** The kernel counts since the machine started. */
let unjoinedAtStart: number | undefined;

/**
 * Does what was planned. What an earlier run left is taken over if it is the same, and taken down first otherwise. Returns one
 * sentence for each thing that could not be taken down. Throws ConfigError, and then nothing is changed.
 */
export function setUpListeners(plan: Plan, dataDir: string): readonly string[] {
  unjoinedAtStart = readUnjoined();
  return applyPlan(plan, journalOf(dataDir));
}

/** Undoes exactly what was set up. Returns one sentence for each thing that could not be undone. Throws ConfigError while another process needs it. */
export function takeDownListeners(dataDir: string): readonly string[] {
  return undoPlan(journalOf(dataDir));
}

/** Whether something was set up that has not been taken down. */
export function areListenersSetUp(dataDir: string): boolean {
  return existsSync(journalOf(dataDir));
}

/** What of that no longer stands, while no node runs: one sentence each. */
export function listenersLeft(dataDir: string): Promise<string[]> {
  return deviationsLeft(journalOf(dataDir));
}

/** Replaces the rules in one transaction, while traffic flows. Throws ConfigError when more than the rules has changed. */
export async function changeListeners(before: Plan | undefined, after: Plan | undefined): Promise<void> {
  const withoutRules = (plan: Plan | undefined) =>
    JSON.stringify(plan?.steps.map((step) => (step.kind === "command" && step.input === plan.nft ? "rules" : step)));
  if (withoutRules(before) !== withoutRules(after)) {
    throw new ConfigError("listeners", "Cannot reload: the inline listeners changed; start the node again");
  }
  if (!before || !after || before.nft === after.nft) return;
  let nft = carryCounts(before, after, await readCounted());
  for (const { set } of before.passing) {
    if (after.passing.some((one) => one.set === set)) nft = carryPassing(nft, set, await readPassing(set));
  }
  loadRules(nft);
}

/**
 * The packets and bytes that one counter has counted. "vlan": of one VLAN that is not named in the configuration. "fragments": packets
 * whose fragments never made a whole, on the whole machine.
 */
export interface ListenerCount {
  /** Empty: the whole machine. */
  readonly listener: string;
  readonly counts: PlannedCounter["counts"] | "vlan" | "fragments";
  /** The rule or list of the policy, for a row; the VLAN. */
  readonly name: string | undefined;
  readonly packets: number;
  readonly bytes: number;
}

/** Reads the counters of the rules. Throws ConfigError without nft. */
export async function readListenerCounts(plan: Plan | undefined): Promise<ListenerCount[]> {
  if (!plan) return [];
  const counted = await readCounted();
  // On a bridge, frames and reassembled packets are counted apart.
  const sums = new Map<string, ListenerCount>();
  for (const { family, name, listener, counts, row, rowName } of plan.counters) {
    const { packets, bytes } = counted[family].get(name) ?? { packets: 0, bytes: 0 };
    const key = JSON.stringify([listener, counts, row]);
    const before = sums.get(key) ?? { packets: 0, bytes: 0 };
    sums.set(key, { listener, counts, name: rowName, packets: before.packets + packets, bytes: before.bytes + bytes });
  }
  const unjoined = readUnjoined();
  const fragments = unjoined === undefined ? undefined : unjoined - (unjoinedAtStart ?? 0);
  return [
    ...sums.values(),
    ...(await listPassing(plan, counted)),
    ...(fragments === undefined
      ? []
      : [{ listener: "", counts: "fragments", name: undefined, packets: fragments, bytes: 0 } as const]),
  ];
}

/** The VLANs that cross the bridges. The sets of lanes that have seen no tag are not read. */
async function listPassing({ counters, passing }: Plan, { bridge }: Counted): Promise<ListenerCount[]> {
  const rows = passing.map(async (one): Promise<ListenerCount[]> => {
    const { listener, vlan, set } = one;
    const tagged = counters.find((counter) => {
      return counter.counts === "tagged" && counter.listener === listener && counter.vlan === vlan;
    });
    if ((bridge.get(tagged?.name ?? "")?.packets ?? 0) === 0) return [];
    const most = (await readPassing(set)).sort((a, b) => b.packets - a.packets);
    return most.map((passes) => {
      const { packets, bytes } = passes;
      return { listener, counts: "vlan", name: namePassing(one, passes), packets, bytes };
    });
  });
  return (await Promise.all(rows)).flat();
}

async function readPassing(set: string): Promise<PassingVlan[]> {
  return (await readCountedSet("bridge", "clearline", set)).map(({ key: [type, id], packets, bytes }) => {
    return { type: String(type), id: Number(id), packets, bytes };
  });
}

async function readCounted(): Promise<Counted> {
  const [inet, bridge] = await Promise.all([readCounters("inet", "clearline"), readCounters("bridge", "clearline")]);
  return { inet, bridge };
}

function journalOf(dataDir: string): string {
  return join(dataDir, "inline.json");
}
