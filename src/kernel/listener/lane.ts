import { nameVlan, type VlanTags } from "../../linux/vlan-programs.ts";
import type { NetworkRow, PortRange } from "../../policy/network-rows.ts";
import type { Endpoint } from "../../vocabulary.ts";
import type { Step } from "../step.ts";

/** A TCP connection by its ends. */
export interface LiveConnection {
  readonly client: Endpoint;
  readonly server: Endpoint;
  /** Absent: of any listener, and of any VLAN. */
  readonly listener?: string;
  readonly vlan?: string | null;
}

/** An inline listener: Clearline stands between its two interfaces. */
export interface InlineListener {
  readonly name: string;
  /** Its place in the configuration: "listeners[0]". */
  readonly path: string;
  readonly topology: "routed" | "bridge";
  /** The interface toward the clients, and the one toward the servers. */
  readonly networkA: string;
  readonly networkB: string;
  /** "10.3.0.254/24": the bridge's own addresses, one for each family, which give it routes and ARP toward both sides. */
  readonly addresses: readonly string[];
  /** The bridge's default gateways, one for each family, and its other routes. */
  readonly gateways: readonly string[];
  readonly routes: readonly { readonly to: string; readonly via: string }[];
  /** Whether the kernel forwards new connections or drops them while no worker listens. */
  readonly failure: "open" | "closed";
  readonly ports: "all" | readonly (number | PortRange)[];
  readonly synHold: boolean;
  readonly blockQuic: boolean;
  /** Which side's connections the node takes: those that clients at networkA open, or both sides'. */
  readonly direction: "aToB" | "both";
  /** What happens to connections that began before the node: they go on, or get a RST. */
  readonly midStream: "pass" | "reset";
  /** Whether the kernel forwards BGP and what signs its TCP, or the node takes it like anything else. */
  readonly bgp: "pass" | "intercept";
  /** Of the frames on this wire, those of one VLAN; absent: the others. `mtu`: of both interfaces. */
  readonly vlan?: { readonly tags: VlanTags; readonly mtu: number } | undefined;
}

export interface PlanInput {
  /** The port of the node's API. */
  readonly apiPort: number;
  readonly listeners: readonly InlineListener[];
  /** 1 to 63. */
  readonly workers: number;
  /** The port of the first listener's first worker. All its workers share the port below it. The ports of the next listener follow. */
  readonly basePort: number;
  readonly baseQueue: number;
  /** The position of Clearline's eight bits in a packet's firewall mark: 0 to 24. */
  readonly markShift: number;
  /**
   * Clearline's routing table, and the priority of the rules that lead to it. Each bridge has one more table, with the next numbers
   * and the next priority.
   */
  readonly routingTable: number;
  readonly rulePriority: number;
  readonly features: {
    readonly nftQueue: boolean;
    readonly iptablesNft: boolean;
    readonly ipv6: boolean;
    readonly forceForwarding: boolean;
    /** Whether the kernel can log packets to a group. */
    readonly nftLog: boolean;
    /** Whether the kernel can exempt packets from connection tracking. */
    readonly notrack: boolean;
    /** Whether the kernel can keep the priority of a connection's tags: linux/tag-memory.ts. */
    readonly tagMemory: boolean;
  };
  /** The hardware address of each listener's bridge, by the listener's name: that of its networkA. */
  readonly bridgeMacs: Readonly<Record<string, string>>;
  /** The network phase of the policy, in its order. Connections that no row decides are intercepted. */
  readonly rows: readonly NetworkRow[];
  /**
   * The live connections of both legs, for a ruleset that replaces another. A bridge goes on lifting them, even if a new row bypasses
   * them. A router recognises its connections by their sockets.
   */
  readonly live?: readonly LiveConnection[];
}

/** Where one listener's workers listen: at every address of both families, transparently. */
export interface PlannedListener {
  readonly name: string;
  /** Its VLAN: "10"; null: frames without a tag. */
  readonly vlan: string | null;
  /**
   * The interface that its listening sockets are bound to; undefined: none. Otherwise connections of two VLANs with the same ends
   * would meet.
   */
  readonly device: string | undefined;
  /** For connections whose SYN was not held. All workers listen there with SO_REUSEPORT. */
  readonly sharedPort: number;
  /** By worker: the port for connections whose SYN this worker has released. */
  readonly workerPorts: readonly number[];
  /** By worker: the NFQUEUE with the SYNs that it holds. Empty without synHold. */
  readonly queues: readonly number[];
  /** By worker: the NFLOG group with the servers' answers to its SYNs. Empty where the kernel has no nft log. */
  readonly answers: readonly number[];
  /** How many hops the node is for what crosses it: a router is one, a bridge none. */
  readonly hops: number;
  /** The code of a held packet that goes on its way without a session. */
  readonly onward: number;
  /** SO_MARK of the listening sockets, and of those toward servers: rules and routes recognise the sockets by it. */
  readonly clientMark: number;
  readonly serverMark: number;
}

/** The marks for the verdicts on a held SYN. A verdict changes the mark to `(old & ~mask) | value`. */
export interface Marks {
  readonly mask: number;
  /** By worker: this worker accepts the client. */
  readonly workers: readonly number[];
  readonly refused: number;
  readonly hostUnreachable: number;
  readonly netUnreachable: number;
  readonly prohibited: number;
}

/** A named counter of the rules. */
export interface PlannedCounter {
  readonly family: "inet" | "bridge";
  readonly name: string;
  readonly listener: string;
  /** Its VLAN: "10"; null: frames without a tag. */
  readonly vlan: string | null;
  /** "row": the connections that the row with the index `row` has decided. */
  readonly counts:
    | "row"
    | "accepted"
    | "refused"
    | "unserved"
    | "quic"
    | "impossible"
    | "midStream"
    | "tagged"
    | "asymmetric"
    | "linkLocal"
    | "signed"
    | "unsigned";
  readonly row: number | undefined;
  /** The row's name in the policy. Its index changes when the policy changes. */
  readonly rowName: string | undefined;
}

/** The set of the VLANs that cross the bridge of one lane without being named. */
export interface PassingSet {
  readonly set: string;
  readonly listener: string;
  /** The VLAN that the lane is; null: frames without a tag. */
  readonly vlan: string | null;
}

/** Everything that the kernel needs for the inline listeners, as data. */
export interface Plan {
  readonly listeners: readonly PlannedListener[];
  readonly marks: Marks;
  readonly counters: readonly PlannedCounter[];
  /** Of the bridges: the sets of the VLANs that cross without being named. */
  readonly passing: readonly PassingSet[];
  /** The whole ruleset: loading it again replaces it in one transaction, while traffic flows. */
  readonly nft: string;
  /** What this kernel, or this process, cannot do for these listeners: one sentence each. */
  readonly lacks: readonly string[];
  /** In the order in which they are done. They are undone in reverse. */
  readonly steps: readonly Step[];
}

/** One listener, or one of its VLANs, with its numbers: bridge, ports and queues. */
export interface Lane {
  readonly index: number;
  /** The interfaces of a VLAN's are its own, made for it. */
  readonly listener: InlineListener;
  /** A VLAN's: the network interfaces that carry it. */
  readonly wire: { readonly a: string; readonly b: string } | undefined;
  readonly bridge: { readonly name: string; readonly mac: string } | undefined;
  readonly sharedPort: number;
  readonly workerPorts: readonly number[];
  readonly queues: readonly number[];
  readonly answers: readonly number[];
  /** Undefined: all. */
  readonly ports: readonly PortRange[] | undefined;
}

/** The name of a lane's VLAN; null: its frames have no tag. */
export function vlanOf({ listener: { vlan } }: Pick<Lane, "listener">): string | null {
  return vlan ? nameVlan(vlan.tags) : null;
}
