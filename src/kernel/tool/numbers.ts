/** What the kernel is set up with for an inline tool, as the configuration has it. */
export interface ToolInterfaces {
  readonly name: string;
  readonly interfaceA: string;
  readonly interfaceB: string;
  /** The network namespace that the node makes for the two interfaces. Undefined: "clearline-" and the tool's name. */
  readonly namespace?: string | undefined;
  /** 2: a bump in the wire, whose other end is the other interface. 3: a router, with addresses of its own on both sides. */
  readonly layer: 2 | 3;
  /** The node's own addresses on each interface, "169.254.77.1/29": for what the tool itself sends. */
  readonly addressA: readonly string[];
  readonly addressB: readonly string[];
  /** Layer 3: the tool's own address on each side, one for each family. */
  readonly gatewayA: readonly string[];
  readonly gatewayB: readonly string[];
}

/**
 * What the supervisor tells the kernel and the workers hold to. The namespace is the node's alone, so that the numbers in it
 * cannot meet anybody else's.
 */

export function namespaceOf({ name, namespace }: Pick<ToolInterfaces, "name" | "namespace">): string {
  return namespace ?? `clearline-${name}`;
}

/** Who stands at both ends of a connection through the tool: a worker by its number, or the heartbeat. */
export type Owner = number;
export const HEARTBEAT: Owner = 0xff;

/** What a packet's mark says: by which interface it leaves, and at A which owner awaits it at B. */
export const MARK = { A: 0x1_0000, B: 0x2_0000, SIDE: 0xf_0000 } as const;

export function markAtA(owner: Owner): number {
  return MARK.A + owner;
}

/** Where a owner accepts what came back. No client has this address: it cannot be in the way of a client's own port. */
export const ACCEPTING = { 4: "127.77.77.77", 6: "::1" } as const;

export function acceptingPort(owner: Owner): number {
  return 17_000 + owner;
}

/** The NFQUEUE in which a worker is shown the SYNs that came back. */
export function queueOf(worker: Owner): number {
  return worker;
}
