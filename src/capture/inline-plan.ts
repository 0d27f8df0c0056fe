import { ConfigError } from "../errors.ts";
import { isLinkName, localDelivery } from "../linux/routes.ts";
import type { Step } from "../linux/steps.ts";
import { CODE, type Lane, markOf, readMarks, writeRules } from "./inline-rules.ts";
import type { NetworkRow, PortRange } from "./network-rows.ts";

/** A pair of interfaces that Clearline stands between. */
export interface InlineListener {
  readonly name: string;
  readonly topology: "routed" | "bridge";
  /** The interface toward the clients, and the one toward the servers. */
  readonly networkA: string;
  readonly networkB: string;
  /** "10.3.0.254/24": a bridge's own, one for each family, so that it has a route and ARP toward both sides. */
  readonly addresses: readonly string[];
  /** New connections while no worker listens: forwarded by the kernel, or dropped. */
  readonly failure: "open" | "closed";
  readonly ports: "all" | readonly (number | PortRange)[];
  readonly synHold: boolean;
  readonly blockQuic: boolean;
}

export interface PlanInput {
  readonly listeners: readonly InlineListener[];
  /** 1 to 63. */
  readonly workers: number;
  /** The first listener's first worker's. The port below it is shared by all workers; the next listener's ports follow. */
  readonly basePort: number;
  readonly baseQueue: number;
  /** Where, in a packet's firewall mark, the eight bits start that are Clearline's: 0 to 24. */
  readonly markShift: number;
  /** The routing table that is Clearline's, and the priority of the rules that lead to it. */
  readonly routingTable: number;
  readonly rulePriority: number;
  readonly features: {
    readonly nftQueue: boolean;
    readonly iptablesNft: boolean;
    readonly ipv6: boolean;
    readonly forceForwarding: boolean;
  };
  /** By the listener's name: what its bridge calls itself. Its networkA's own will do. */
  readonly bridgeMacs: Readonly<Record<string, string>>;
  /** The policy's network phase, in its order. What no row decides is intercepted. */
  readonly rows: readonly NetworkRow[];
}

/** Where one listener's workers listen: at every address of both families, transparently. */
export interface PlannedListener {
  readonly name: string;
  /** All workers, with SO_REUSEPORT: connections whose SYN nobody held. */
  readonly sharedPort: number;
  /** By worker: connections whose SYN this worker let go on. */
  readonly workerPorts: readonly number[];
  /** By worker: the NFQUEUE of the SYNs that it holds. Empty without synHold. */
  readonly queues: readonly number[];
}

/** What a verdict on a held SYN writes into its mark: `(old & ~mask) | value`. */
export interface Marks {
  readonly mask: number;
  /** By worker: the client is accepted by this one. */
  readonly workers: readonly number[];
  readonly refused: number;
  readonly hostUnreachable: number;
  readonly netUnreachable: number;
}

/** A named counter of the rules, and what it counts. */
export interface PlannedCounter {
  readonly family: "inet" | "bridge";
  readonly name: string;
  readonly listener: string;
  /** "row": the connections that the row of that index decided. */
  readonly counts: "row" | "accepted" | "refused" | "unserved" | "quic";
  readonly row: number | undefined;
}

/** Everything that is to be done to the kernel, as data. */
export interface Plan {
  readonly listeners: readonly PlannedListener[];
  readonly marks: Marks;
  readonly counters: readonly PlannedCounter[];
  /** The whole ruleset: loading it again replaces it in one transaction, while traffic flows. */
  readonly nft: string;
  /** In order. Undone in reverse. */
  readonly steps: readonly Step[];
}

const MAX_WORKERS = CODE.HELD - 1;

/**
 * Plans what the kernel needs for the inline listeners: rules, routes, settings, bridges. Changes nothing. Throws ConfigError with
 * the path of what cannot be.
 */
export function planInline(input: PlanInput): Plan {
  checkNumbers(input);
  const lanes = input.listeners.map((listener, index) => planLane(input, listener, index));
  const marks = readMarks(input.markShift, input.workers);
  const { nft, counters } = writeRules(lanes, input.rows, marks.mask, input);
  return {
    listeners: lanes.map(({ listener, sharedPort, workerPorts, queues }) => ({
      name: listener.name,
      sharedPort,
      workerPorts,
      queues,
    })),
    marks,
    counters,
    nft,
    steps: [
      ...lanes.flatMap(bridgeSteps),
      ...lanes.flatMap((lane) => settingSteps(lane, input)),
      ...rulesetSteps(nft),
      ...holdSteps(lanes, input, marks.mask),
      ...deliverySteps(input, marks.mask),
      // Last: only now does traffic flow through a bridge, and meets the rules.
      ...lanes.flatMap(cableSteps),
    ],
  };
}

/** The plan as a person reads it: a shell script with a reason above each line. */
export function renderPlan(plan: Plan): string {
  const lines = plan.steps.flatMap((step) => {
    const [first, ...more] = renderStep(step);
    return ["", `# ${step.why}`, ...(first === undefined ? [] : [first, ...more])];
  });
  return [
    "# What Clearline does to this machine's network, in order. On exit it undoes exactly this, in reverse.",
    ...lines,
    "",
  ].join("\n");
}

function renderStep(step: Step): string[] {
  switch (step.kind) {
    case "command": {
      const command = step.run.map((word) => (/^[\w./:=,@+-]+$/.test(word) ? word : `'${word}'`)).join(" ");
      return step.input === undefined ? [command] : [`${command} <<'END'`, step.input.trimEnd(), "END"];
    }
    case "sysctl":
      return [`sysctl -w ${step.key}=${step.value}${step.optional === true ? "   # where the kernel has it" : ""}`];
    case "link-up":
      return [`ip link set ${step.name} up`];
    case "hold-table":
      return [];
  }
}

function checkNumbers({ listeners, workers, basePort, baseQueue, markShift }: PlanInput): void {
  const within = (value: number, least: number, most: number) =>
    Number.isInteger(value) && value >= least && value <= most;
  if (!within(workers, 1, MAX_WORKERS)) {
    throw new ConfigError("workers", `Cannot steer to ${workers} workers: inline listeners take 1 to ${MAX_WORKERS}`);
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

function planLane(input: PlanInput, listener: InlineListener, index: number): Lane {
  const path = `listeners.${listener.name}`;
  for (const key of ["networkA", "networkB"] as const) {
    if (!isLinkName(listener[key])) {
      throw new ConfigError(
        `${path}.${key}`,
        `Cannot use ${JSON.stringify(listener[key])}: not the name of a network interface`,
      );
    }
  }
  if (listener.networkA === listener.networkB) {
    throw new ConfigError(`${path}.networkB`, `Cannot stand between ${listener.networkA} and itself`);
  }
  if (listener.synHold && !input.features.nftQueue && !input.features.iptablesNft) {
    throw new ConfigError(
      `${path}.synHold`,
      "Cannot hold SYNs: the kernel has no nft queue, and iptables-nft (Debian's package iptables) is not installed",
    );
  }
  const mac = input.bridgeMacs[listener.name];
  if (listener.topology === "bridge" && (mac === undefined || !/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac))) {
    throw new ConfigError(path, `Cannot make a bridge without a hardware address: ${mac ?? "none was given"}`);
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
  return {
    index,
    listener,
    bridge: listener.topology === "bridge" ? { name: `clbr${index}`, mac: mac ?? "" } : undefined,
    sharedPort,
    workerPorts: each.map((worker) => sharedPort + 1 + worker),
    queues: listener.synHold ? each.map((worker) => input.baseQueue + index * input.workers + worker) : [],
    ports:
      listener.ports === "all"
        ? undefined
        : listener.ports.map((port) => (typeof port === "number" ? [port, port] : port)),
  };
}

function bridgeSteps({ bridge, listener }: Lane): Step[] {
  if (bridge === undefined) return [];
  const { name, mac } = bridge;
  // 0xfff8: LLDP, 802.1X and the like cross too, which a switch would keep; the kernel allows all but STP, pause and LACP.
  const options = ["stp_state", "0", "forward_delay", "0", "mcast_snooping", "0", "group_fwd_mask", "0xfff8"];
  return [
    {
      kind: "command",
      why: `${listener.name}: the bridge between ${listener.networkA} and ${listener.networkB}, which changes nothing by itself`,
      run: ["ip", "link", "add", name, "address", mac, "type", "bridge", ...options],
      undo: ["ip", "link", "del", name],
    },
    ...listener.addresses.map(
      (address): Step => ({
        kind: "command",
        why: `${listener.name}: its own address, so that the node has a route and ARP toward both sides`,
        run: ["ip", "address", "add", address, "dev", name, ...(address.includes(":") ? ["nodad"] : [])],
      }),
    ),
  ];
}

function settingSteps({ listener, bridge }: Lane, { features }: PlanInput): Step[] {
  const links = bridge === undefined ? [listener.networkA, listener.networkB] : [bridge.name];
  const set = (key: string, value: string, why: string, more: { optional?: true; alongside?: string } = {}): Step => ({
    kind: "sysctl",
    why: `${listener.name}: ${why}`,
    key,
    value,
    ...more,
  });
  const bridged = (table: string) =>
    set(
      `net/bridge/bridge-nf-call-${table}`,
      "0",
      "bridged frames meet the rules of IP once they are lifted, not twice",
      { optional: true },
    );
  return [
    ...links.map((link) => set(`net/ipv4/conf/${link}/forwarding`, "1", "what is not intercepted is forwarded")),
    ...(features.ipv6 ? forwardV6(links, features.forceForwarding, set) : []),
    ...(bridge === undefined
      ? []
      : [
          ...["iptables", "ip6tables", "arptables"].map(bridged),
          set(
            `net/ipv4/conf/${bridge.name}/rp_filter`,
            "2",
            "both ends' addresses come in here: loose, whatever the switch of all says",
          ),
          set(`net/ipv4/conf/${bridge.name}/arp_ignore`, "1", "this machine's other addresses are not to be seen here"),
        ]),
  ];
}

type Set = (key: string, value: string, why: string, more?: { optional?: true; alongside?: string }) => Step;

function forwardV6(links: readonly string[], forceForwarding: boolean, set: Set): Step[] {
  if (forceForwarding) {
    return links.map((link) =>
      set(`net/ipv6/conf/${link}/force_forwarding`, "1", "the same for IPv6, on this interface only"),
    );
  }
  const why = "the same for IPv6: this kernel has only the one switch of all interfaces";
  return [set("net/ipv6/conf/all/forwarding", "1", why, { alongside: "net/ipv6/conf/*/forwarding" })];
}

/** Removes both tables, whether they are there or not. */
const EMPTY = ["inet", "bridge"]
  .map((family) => `table ${family} clearline\ndelete table ${family} clearline\n`)
  .join("");

function rulesetSteps(nft: string): Step[] {
  const why = "The rules, in tables of Clearline's own: replaced whole, in one transaction";
  return [{ kind: "command", why, run: ["nft", "-f", "-"], input: nft, undo: ["nft", "-f", "-"], undoInput: EMPTY }];
}

/** Where nft cannot queue, iptables-nft can: the same marks, in a chain of Clearline's own. */
function holdSteps(lanes: readonly Lane[], input: PlanInput, mask: number): Step[] {
  if (input.features.nftQueue || !lanes.some(({ queues }) => queues.length > 0)) return [];
  const families = input.features.ipv6 ? (["ip", "ip6"] as const) : (["ip"] as const);
  const hex = (value: number) => `0x${value.toString(16)}`;
  return families.flatMap((family): Step[] => {
    const raw = (...args: string[]) => [`${family}tables-nft` as const, "-t", "raw", ...args] as const;
    const queue = (lane: Lane, worker: number, number: number): Step => {
      const mark = `${hex(markOf(CODE.HELD + worker, input.markShift))}/${hex(mask)}`;
      const rule = ["-i", lane.bridge?.name ?? lane.listener.networkA, "-p", "tcp", "-m", "mark", "--mark", mark];
      const target = ["-j", "NFQUEUE", "--queue-num", `${number}`, "--queue-bypass"];
      return {
        kind: "command",
        why: `${lane.listener.name}: SYNs of worker ${worker} wait in queue ${number}, or go on when it does not listen`,
        run: raw("-A", "CLEARLINE-SYN", ...rule, ...target),
        undo: raw("-D", "CLEARLINE-SYN", ...rule, ...target),
      };
    };
    return [
      {
        kind: "hold-table",
        why: `This kernel has no nft queue: iptables-nft's is used (table ${family} raw, made where there is none)`,
        family,
      },
      {
        kind: "command",
        why: "A chain of Clearline's own",
        run: raw("-N", "CLEARLINE-SYN"),
        undo: raw("-X", "CLEARLINE-SYN"),
      },
      ...lanes.flatMap((lane) => lane.queues.map((number, worker) => queue(lane, worker, number))),
      {
        kind: "command",
        why: "Every packet passes by it; only those that Clearline has marked stop",
        run: raw("-I", "PREROUTING", "-j", "CLEARLINE-SYN"),
        undo: raw("-D", "PREROUTING", "-j", "CLEARLINE-SYN"),
      },
    ];
  });
}

function deliverySteps({ features, markShift, routingTable, rulePriority }: PlanInput, mask: number): readonly Step[] {
  const families = features.ipv6 ? ([4, 6] as const) : ([4] as const);
  const mark = markOf(CODE.LOCAL, markShift);
  return families.flatMap((family) =>
    localDelivery({ family, mark, mask, table: routingTable, priority: rulePriority }),
  );
}

function cableSteps({ bridge, listener }: Lane): Step[] {
  if (bridge === undefined) return [];
  const ports = [listener.networkA, listener.networkB];
  return [
    { kind: "link-up", why: `${listener.name}: the bridge is up before its ports`, name: bridge.name },
    ...ports.flatMap((port): Step[] => [
      {
        kind: "command",
        why: `${listener.name}: ${port} is a port of the bridge`,
        run: ["ip", "link", "set", port, "master", bridge.name],
        undo: ["ip", "link", "set", port, "nomaster"],
      },
      { kind: "link-up", why: `${listener.name}: traffic flows`, name: port },
    ]),
  ];
}
