/** What the kernel is set up with for an inline tool, as the configuration has it. */
export interface ToolInterfaces {
  readonly name: string;
  readonly interfaceA: string;
  readonly interfaceB: string;
  /** The network namespace that the node makes for the two interfaces. Undefined: "clearline-" and the tool's name. */
  readonly namespace?: string | undefined;
  /** 2: a bump in the wire, which joins the two interfaces. 3: a router, with addresses of its own on both sides. */
  readonly layer: 2 | 3;
  /** The node's own addresses on each interface, "169.254.77.1/29": the tool sends its own packets there. */
  readonly addressA: readonly string[];
  readonly addressB: readonly string[];
  /** Layer 3: the tool's own address on each side, one for each family. */
  readonly gatewayA: readonly string[];
  readonly gatewayB: readonly string[];
}

/**
 * The numbers that the supervisor sets the kernel up with and the workers use. They need no configuration, because the namespace is
 * the node's alone.
 */

export function namespaceOf({ name, namespace }: Pick<ToolInterfaces, "name" | "namespace">): string {
  return namespace ?? `clearline-${name}`;
}

/** The owner of a connection through the tool, which has both its ends: a worker by its number, or the heartbeat. */
export type Owner = number;
export const HEARTBEAT: Owner = 0xff;

/** A packet's mark: the interface by which it leaves, and at A the owner that awaits it at B. */
export const MARK = { A: 0x1_0000, B: 0x2_0000, SIDE: 0xf_0000 } as const;

export function markAtA(owner: Owner): number {
  return MARK.A + owner;
}

/** The address at which owners accept connections at B. No client has it, so it takes no client's port. */
export const ACCEPTING = { 4: "127.77.77.77", 6: "::1" } as const;

export function acceptingPort(owner: Owner): number {
  return 17_000 + owner;
}

/** The NFQUEUE with the SYNs that came back for this worker. */
export function queueOf(worker: Owner): number {
  return worker;
}
