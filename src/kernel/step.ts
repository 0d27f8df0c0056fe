import type { Hook } from "../linux/bpf.ts";
import type { Command } from "../linux/program.ts";
import type { TagKind } from "../linux/tag-memory.ts";
import type { VlanTags } from "../linux/vlan-programs.ts";

/** One change to the kernel's state. Plain data, so that it can be printed, written to the journal, done and undone. */
export type Step = (
  | CommandStep
  | SysctlStep
  | LinkUpStep
  | BridgePortStep
  | HoldTableStep
  | FrameProgramStep
  | TagMemoryStep
  | MoveLinkStep
  | InsideStep
) &
  ErrorPath;

/** The path of the configuration that errors are reported against: "tools[0].addressA". Absent: "listeners". */
interface ErrorPath {
  readonly path?: string;
}

/** Runs a program. `undo` reverses exactly that. */
export interface CommandStep {
  readonly kind: "command";
  /** The reason, which `clearline inline plan` prints. */
  readonly why: string;
  readonly run: Command;
  /** The program's standard input. */
  readonly input?: string;
  /** Absent: undoing an earlier step undoes this one too. */
  readonly undo?: Command;
  readonly undoInput?: string;
  /** Succeeds with output if the step is done. Absent: there is no way to find out. */
  readonly check?: Command;
}

/** Sets a kernel setting. Undoing restores the old value, unless somebody else has changed the setting since. */
export interface SysctlStep {
  readonly kind: "sysctl";
  readonly why: string;
  /** "net/ipv4/conf/eth0/forwarding". With slashes, because the names of interfaces may have dots. */
  readonly key: string;
  readonly value: string;
  /** A pattern of the settings that the kernel changes along with this one. They are restored with it. */
  readonly alongside?: string;
  /** The step is left out where the kernel has no such setting. */
  readonly optional?: boolean;
}

/** Sets an interface up. Undoing sets it down again if it was down before. */
export interface LinkUpStep {
  readonly kind: "link-up";
  readonly why: string;
  readonly name: string;
}

/** Makes an interface a port of a bridge. Fails when it already belongs to another bridge or bond. */
export interface BridgePortStep {
  readonly kind: "bridge-port";
  readonly why: string;
  readonly name: string;
  readonly bridge: string;
}

/**
 * The iptables-nft steps that follow create the table "raw" if there is none. Undoing this step removes the table, unless it was
 * there before or holds rules of others.
 */
export interface HoldTableStep {
  readonly kind: "hold-table";
  readonly why: string;
  readonly family: "ip" | "ip6";
}

/** Has the kernel run a program on every frame that comes in, or leaves, by an interface: linux/vlan-programs.ts. */
export interface FrameProgramStep {
  readonly kind: "frame-program";
  readonly why: string;
  readonly name: string;
  readonly hook: Hook;
  readonly program: "steer" | "untag" | "tag";
  readonly tags: VlanTags;
  /** The interface that the frames go to. */
  readonly to: string;
}

/**
 * Has the kernel keep the priorities of connections' tags, at the entries and exits of these interfaces together: linux/tag-memory.ts.
 * One step, because the programs share a map that only they hold.
 */
export interface TagMemoryStep {
  readonly kind: "tag-memory";
  readonly why: string;
  readonly names: readonly string[];
  readonly tags: TagKind;
}

/** Moves an interface into another network namespace, where it is down. Undoing moves it back, and sets it up if it was up. */
export interface MoveLinkStep {
  readonly kind: "move-link";
  readonly why: string;
  readonly name: string;
  /** Its name for `ip netns`. */
  readonly namespace: string;
}

/** Several changes inside another network namespace, in order. Deleting the namespace undoes them. */
export interface InsideStep {
  readonly kind: "inside";
  readonly why: string;
  readonly namespace: string;
  readonly steps: readonly ((Pick<CommandStep, "kind" | "run" | "input"> | Pick<SysctlStep, "kind" | "key" | "value">) &
    ErrorPath)[];
}
