import { runProgram } from "./program.ts";

/** A network interface as it is now. */
export interface Link {
  readonly name: string;
  readonly mac: string;
  readonly up: boolean;
  /** The bridge or bond that it belongs to. */
  readonly master: string | undefined;
  /** "10.0.0.1/24", link-local ones too. */
  readonly addresses: readonly string[];
}

/** Reads a network interface. Undefined: there is none of that name. Throws ConfigError without iproute2. */
export function readLink(name: string): Link | undefined {
  return linksOf(runProgram(["ip", "-j", "address", "show"])).find((link) => link.name === name);
}

/** What `ip -j address show` has said. */
export function linksOf(said: string): readonly Link[] {
  const links = JSON.parse(said) as readonly {
    ifname: string;
    address?: string;
    flags: readonly string[];
    master?: string;
    addr_info: readonly { local: string; prefixlen: number }[];
  }[];
  return links.map(({ ifname, address = "", flags, master, addr_info }) => ({
    name: ifname,
    mac: address,
    up: flags.includes("UP"),
    master,
    addresses: addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`),
  }));
}

/** What the kernel takes as the name of an interface, and what is safe in a rule. */
export function isLinkName(name: string): boolean {
  return /^[A-Za-z0-9_.@+-]{1,15}$/.test(name) && name !== "." && name !== "..";
}
