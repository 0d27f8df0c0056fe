import type { NetworkRow, PortRange } from "../../policy/network-rows.ts";
import type { Step } from "../step.ts";
import type { LiveConnection } from "./policy-rows.ts";

/** A pair of interfaces that Clearline stands between. */
export interface InlineListener {
  readonly name: string;
  /** Its place in the configuration: "listeners[0]". */
  readonly path: string;
  readonly topology: "routed" | "bridge";
  /** The interface toward the clients, and the one toward the servers. */
  readonly networkA: string;
  readonly networkB: string;
  /** "10.3.0.254/24": a bridge's own, one for each family, so that it has a route and ARP toward both sides. */
  readonly addresses: readonly string[];
  /** A bridge's way to what is not of its network: a default route for each family, and others. */
  readonly gateways: readonly string[];
  readonly routes: readonly { readonly to: string; readonly via: string }[];
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
  /**
   * The routing table that is Clearline's, and the priority of the rules that lead to it. Each bridge has one more table, numbered
   * from the next one on, and they have the next priority.
   */
  readonly routingTable: number;
  readonly rulePriority: number;
  readonly features: {
    readonly nftQueue: boolean;
    readonly iptablesNft: boolean;
    readonly ipv6: boolean;
    readonly forceForwarding: boolean;
    /** Without connection tracking there is nothing to keep out of it. */
    readonly notrack: boolean;
  };
  /** By the listener's name: what its bridge calls itself. Its networkA's own will do. */
  readonly bridgeMacs: Readonly<Record<string, string>>;
  /** The policy's network phase, in its order. What no row decides is intercepted. */
  readonly rows: readonly NetworkRow[];
  /**
   * Connections that live, of both legs, as the network sees them: a bridge goes on lifting them though a row bypasses them by
   * now. For a ruleset that replaces another; a router knows its own by their sockets.
   */
  readonly live?: readonly LiveConnection[];
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
  /** SO_MARK of its sockets, by which the rules and routes know them: of the listening ones, and of those toward servers. */
  readonly clientMark: number;
  readonly serverMark: number;
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
  /** What the row is called in the policy, which has other indexes after a change. */
  readonly rowName: string | undefined;
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

/** One listener with everything that is numbered for it. */
export interface Lane {
  readonly index: number;
  readonly listener: InlineListener;
  readonly bridge: { readonly name: string; readonly mac: string } | undefined;
  readonly sharedPort: number;
  readonly workerPorts: readonly number[];
  readonly queues: readonly number[];
  /** Undefined: all. */
  readonly ports: readonly PortRange[] | undefined;
}
