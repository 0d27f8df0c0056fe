import type { Step } from "../kernel/step.ts";
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

/** Packets whose mark, under the mask, is this one are this machine's own, whatever their address: the table says so. */
export function localDelivery(options: {
  readonly family: 4 | 6;
  readonly mark: number;
  readonly mask: number;
  readonly table: number;
  /** Among the routing rules: lower is asked earlier. */
  readonly priority: number;
}): readonly Step[] {
  const { family, table } = options;
  const flag = `-${family}`;
  const route = ["local", "default", "dev", "lo", "table", `${table}`];
  return [
    {
      kind: "command",
      why: `Every IPv${family} address is local in a table of its own…`,
      run: ["ip", flag, "route", "add", ...route],
      undo: ["ip", flag, "route", "del", ...route],
      check: ["ip", flag, "route", "show", "table", `${table}`, "type", "local", "default"],
    },
    routingRule({ ...options, why: "…which only the packets that belong to Clearline's sockets are sent to" }),
  ];
}

/** Packets whose mark, under the mask, is this one are routed by this table; `from`: only those that come in by that interface. */
export function routingRule(options: {
  readonly family: 4 | 6;
  readonly mark: number;
  readonly mask: number;
  readonly table: number;
  readonly priority: number;
  readonly from?: string;
  readonly why: string;
}): Step {
  const { family, priority, table, from, why } = options;
  const mark = ["fwmark", `${hex(options.mark)}/${hex(options.mask)}`];
  const rule = ["priority", `${priority}`, ...mark, ...(from === undefined ? [] : ["iif", from]), "lookup", `${table}`];
  return {
    kind: "command",
    why,
    run: ["ip", `-${family}`, "rule", "add", ...rule],
    undo: ["ip", `-${family}`, "rule", "del", ...rule],
    check: ["ip", `-${family}`, "rule", "show", ...rule],
  };
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
