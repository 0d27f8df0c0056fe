import type { Command } from "../linux/program.ts";

/** One change of the kernel's state: plain data, so that it can be shown, written to the journal, done and undone. */
export type Step = (
  | CommandStep
  | SysctlStep
  | LinkUpStep
  | BridgePortStep
  | HoldTableStep
  | MoveLinkStep
  | InsideStep
) &
  Asked;

/** Who asks for it: its place in the configuration, "tools[0].addressA". Absent: the listeners. */
interface Asked {
  readonly path?: string;
}

/** Runs a program; the other command takes back exactly that. */
export interface CommandStep {
  readonly kind: "command";
  /** For the person who reads the plan. */
  readonly why: string;
  readonly run: Command;
  /** What the program reads. */
  readonly input?: string;
  /** Absent: undoing an earlier step takes this one with it. */
  readonly undo?: Command;
  readonly undoInput?: string;
  /** Ends well and says something if what the step makes is there. Absent: nobody can tell. */
  readonly check?: Command;
}

/** Sets a kernel setting; the old value comes back unless somebody else has changed it since. */
export interface SysctlStep {
  readonly kind: "sysctl";
  readonly why: string;
  /** "net/ipv4/conf/eth0/forwarding": with slashes, as the names of interfaces may have dots. */
  readonly key: string;
  readonly value: string;
  /** A pattern of the settings that change along with it, and come back with it. */
  readonly alongside?: string;
  /** Where the kernel has no such setting, it is not needed. */
  readonly optional?: boolean;
}

/** Brings an interface up; it goes down again if it was. */
export interface LinkUpStep {
  readonly kind: "link-up";
  readonly why: string;
  readonly name: string;
}

/** Makes an interface a port of a bridge, unless it belongs to another one already; it leaves it again. */
export interface BridgePortStep {
  readonly kind: "bridge-port";
  readonly why: string;
  readonly name: string;
  readonly bridge: string;
}

/**
 * The iptables-nft steps behind this one make the table "raw" where there is none: this one takes it away again, if it was not
 * there before and holds nobody else's rules.
 */
export interface HoldTableStep {
  readonly kind: "hold-table";
  readonly why: string;
  readonly family: "ip" | "ip6";
}

/** Moves an interface into another network namespace, where it is down; it comes back, and up again if it was. */
export interface MoveLinkStep {
  readonly kind: "move-link";
  readonly why: string;
  readonly name: string;
  /** As `ip netns` calls it. */
  readonly namespace: string;
}

/** Done within another network namespace, in order. Undoing the step that made the namespace takes this one with it. */
export interface InsideStep {
  readonly kind: "inside";
  readonly why: string;
  readonly namespace: string;
  readonly steps: readonly ((Pick<CommandStep, "kind" | "run" | "input"> | Pick<SysctlStep, "kind" | "key" | "value">) &
    Asked)[];
}
