import { runProgram } from "./program.ts";

/** A network interface as it is now. */
export interface Link {
  /** The kernel's number of it. */
  readonly index: number;
  readonly name: string;
  readonly mac: string;
  readonly up: boolean;
  /** The most bytes of an IP packet that it carries. */
  readonly mtu: number;
  /** The bridge or bond that it belongs to. */
  readonly master: string | undefined;
  /** "10.0.0.1/24", with the link-local addresses. */
  readonly addresses: readonly string[];
}

/** Reads a network interface. Undefined: there is no such interface. Throws ConfigError without iproute2. */
export function readLink(name: string): Link | undefined {
  return linksOf(runProgram(["ip", "-j", "address", "show"])).find((link) => link.name === name);
}

/** Parses the output of `ip -j address show`. */
export function linksOf(said: string): readonly Link[] {
  const links = JSON.parse(said) as readonly {
    ifindex: number;
    ifname: string;
    address?: string;
    flags: readonly string[];
    mtu: number;
    master?: string;
    addr_info: readonly { local: string; prefixlen: number }[];
  }[];
  return links.map(({ ifindex, ifname, address = "", flags, mtu, master, addr_info }) => ({
    index: ifindex,
    name: ifname,
    mac: address,
    up: flags.includes("UP"),
    mtu,
    master,
    addresses: addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`),
  }));
}

/** Whether this is the name of an interface, without characters that have a meaning in a rule. */
export function isLinkName(name: string): boolean {
  return /^[A-Za-z0-9_.@+-]{1,15}$/.test(name) && name !== "." && name !== "..";
}
