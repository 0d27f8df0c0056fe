import { ConfigError } from "../../errors.ts";
import { isLinkName } from "../../linux/routes.ts";
import { type InlineListener, type Lane, type Plan, type PlanInput, vlanOf } from "./lane.ts";
import { CODE, MAX_LANES, markOf, readMarks } from "./marks.ts";
import { passingSet } from "./passing-vlans.ts";
import { writeRules } from "./rules.ts";
import { listSteps } from "./steps.ts";
import { mayHavePriorityTags } from "./vlan-steps.ts";

const MAX_WORKERS = CODE.HELD - 1;

/**
 * Plans what the kernel needs for the inline listeners: rules, routes, settings, bridges. Changes nothing. Throws ConfigError with
 * the path of a value that cannot be used.
 */
export function planInline(input: PlanInput): Plan {
  checkNumbers(input);
  checkCables(input.listeners);
  const lanes = input.listeners.map((listener, index) => planLane(input, listener, index));
  const marks = readMarks(input.markShift, input.workers);
  const { nft, counters } = writeRules(lanes, marks.mask, input);
  return {
    listeners: lanes.map(({ index, listener, bridge, sharedPort, workerPorts, queues, answers }) => ({
      name: listener.name,
      vlan: vlanOf({ listener }),
      device: lanes.some((lane) => lane.listener.vlan && lane.listener.name === listener.name)
        ? bridge?.name
        : undefined,
      sharedPort,
      workerPorts,
      queues,
      answers,
      hops: bridge === undefined ? 1 : 0,
      onward: bridge === undefined ? 0 : markOf(CODE.PASSING + index, input.markShift),
      clientMark: markOf(CODE.SIDE_A + index, input.markShift),
      serverMark: markOf(CODE.SIDE_B + index, input.markShift),
    })),
    marks,
    counters,
    passing: lanes.filter(({ bridge }) => bridge !== undefined).map(passingSet),
    nft,
    lacks: lanes.flatMap((lane) => lostTags(lane, input)),
    steps: listSteps(lanes, input, { nft, mask: marks.mask }),
  };
}

function lostTags(lane: Lane, { features }: PlanInput): string[] {
  if (!mayHavePriorityTags(lane) || features.tagMemory) return [];
  const lost = "intercepted connections that come with priority tags (VLAN 0) go on without them";
  return [`${lane.listener.name}: ${lost}; keeping them needs Linux 6.6 and the capability CAP_BPF`];
}

function checkNumbers({ listeners, workers, basePort, baseQueue, markShift }: PlanInput): void {
  const within = (value: number, least: number, most: number) =>
    Number.isInteger(value) && value >= least && value <= most;
  if (!within(workers, 1, MAX_WORKERS)) {
    throw new ConfigError(
      "workers",
      `Cannot steer to ${workers} workers: with inline listeners, workers must be 1 to ${MAX_WORKERS}`,
    );
  }
  if (listeners.length > MAX_LANES) {
    throw new ConfigError(
      "listeners",
      `Cannot plan ${listeners.length} inline listeners and VLANs: at most ${MAX_LANES} together are possible`,
    );
  }
  if (!within(markShift, 0, 24))
    throw new ConfigError("inline", `Cannot use the mark's bits from ${markShift}: 0 to 24`);
  const lastPort = basePort - 1 + listeners.length * (workers + 1) - 1;
  if (!within(basePort, 2, 65_535) || lastPort > 65_535) {
    throw new ConfigError("inline", `Cannot use the ports from ${basePort - 1} to ${lastPort}: 1 to 65535`);
  }
  if (!within(baseQueue, 0, 65_536 - listeners.length * workers)) {
    throw new ConfigError("inline", `Cannot use the queues from ${baseQueue} on: 0 to 65535`);
  }
}

/** Each interface belongs to one listener. */
function checkCables(listeners: readonly InlineListener[]): void {
  const taken = new Map<string, string>();
  for (const { name, path, networkA, networkB, vlan } of listeners) {
    if (vlan) continue;
    for (const [key, link] of Object.entries({ networkA, networkB })) {
      const other = taken.get(link);
      if (other !== undefined) {
        throw new ConfigError(`${path}.${key}`, `Cannot use ${link} for ${name}: ${other} has it already`);
      }
      taken.set(link, name);
    }
  }
}

function planLane(input: PlanInput, listener: InlineListener, index: number): Lane {
  const { path } = listener;
  for (const key of ["networkA", "networkB"] as const) {
    if (!isLinkName(listener[key])) {
      throw new ConfigError(
        `${path}.${key}`,
        `Cannot use ${JSON.stringify(listener[key])}: not the name of a network interface`,
      );
    }
  }
  if (listener.synHold && !input.features.nftQueue && !input.features.iptablesNft) {
    throw new ConfigError(
      `${path}.synHold`,
      "Cannot hold SYNs: the kernel has no nft queue, and iptables-nft (Debian's package iptables) is not installed",
    );
  }
  const mac = input.bridgeMacs[listener.name];
  if (listener.topology === "bridge" && (mac === undefined || !/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac))) {
    throw new ConfigError(
      path,
      `Cannot make a bridge: its hardware address is ${mac ?? "missing"}, not six bytes such as 02:00:00:00:00:01`,
    );
  }
  for (const address of listener.addresses) {
    if (!/^[\d.:a-fA-F]+\/\d{1,3}$/.test(address)) {
      throw new ConfigError(
        `${path}.address`,
        `Cannot use ${JSON.stringify(address)}: not an address with its prefix length, such as 10.3.0.254/24`,
      );
    }
  }
  const sharedPort = input.basePort - 1 + index * (input.workers + 1);
  const each = Array.from({ length: input.workers }, (_, worker) => worker);
  const numbers = each.map((worker) => input.baseQueue + index * input.workers + worker);
  return {
    index,
    ...(listener.vlan ? ofVlan(listener, index) : { listener, wire: undefined }),
    bridge: listener.topology === "bridge" ? { name: `clbr${index}`, mac: mac ?? "" } : undefined,
    sharedPort,
    workerPorts: each.map((worker) => sharedPort + 1 + worker),
    queues: listener.synHold ? numbers : [],
    answers: input.features.nftLog ? numbers : [],
    ports:
      listener.ports === "all"
        ? undefined
        : listener.ports.map((port) => (typeof port === "number" ? [port, port] : port)),
  };
}

/** A VLAN has a bridge of its own, with an interface of its own for each side of the wire. */
function ofVlan(listener: InlineListener, index: number): Pick<Lane, "listener" | "wire"> {
  const { networkA, networkB } = listener;
  return {
    listener: { ...listener, networkA: `clva${index}`, networkB: `clvb${index}` },
    wire: { a: networkA, b: networkB },
  };
}
