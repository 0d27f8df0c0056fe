import ipaddr from "ipaddr.js";
import type { Endpoint } from "../vocabulary.ts";
import { type AddressSet, createAddressSet, readAddress } from "./address-set.ts";
import type { Verdict } from "./facts.ts";

/**
 * Where no session may lead, whatever the rules say: to the node itself, and through a proxy that others reach to this machine and its
 * links.
 */

/** The classes of addresses that `reach` opens by name. "own": this machine's addresses other than loopback. */
export const REACH_CLASSES = ["loopback", "linkLocal", "own"] as const;
type ReachClass = (typeof REACH_CLASSES)[number];

export interface ReachSource {
  /** By listener: classes, "all", addresses, subnets and ranges that its clients may reach. Absent: all. */
  readonly listeners: Readonly<Record<string, readonly string[]>>;
}

/** An address at which the node listens, or where a tool or a store listens that only the node may use. */
export interface Place {
  readonly port: number;
  /** All addresses of its host; "0.0.0.0" and "::" stand for all addresses of this machine. */
  readonly addresses: readonly string[];
}

export interface Target extends Endpoint {
  /** Whether a connection to the address ends at this machine. Asks the kernel, so it is called only where it matters. */
  isOwn(): boolean;
}

/** The verdict on a session of this listener to this address. Undefined: it may go there. */
export type Reach = (listener: string, to: Target) => Verdict | undefined;

export function compileReach({ listeners }: ReachSource): Reach {
  const opened = new Map(Object.entries(listeners).map(([name, entries]) => [name, openedBy(entries)]));
  return (listener, to) => {
    const open = opened.get(listener);
    const reached = open && classOf(to);
    if (open === undefined || reached === undefined || open(reached, to)) return undefined;
    const says = `${to.address} is ${WORDS[reached]}, which the listener ${listener} does not reach (reach)`;
    return refusal(says);
  };
}

const WORDS: Readonly<Record<ReachClass, string>> = {
  loopback: "a loopback address",
  linkLocal: "a link-local address",
  own: "an address of this machine",
};

/** The verdict on a connection into the node itself. */
export function refusePlace({ address, port }: Endpoint): Verdict {
  return refusal(`${address} port ${port} belongs to the node itself`);
}

/** Whether a connection to this address arrives at the place. */
export function leadsTo(place: Place, to: Target): boolean {
  if (place.port !== to.port) return false;
  const target = connected(to.address);
  return place.addresses.some((text) => {
    const listening = ipaddr.process(plain(text));
    // A socket at "::" takes IPv4 as well.
    if (listening.range() === "unspecified")
      return (listening.kind() === "ipv6" || target.kind() === "ipv4") && to.isOwn();
    return listening.toString() === target.toString();
  });
}

/** The address that the kernel connects to. */
function connected(text: string): ipaddr.IPv4 | ipaddr.IPv6 {
  const address = ipaddr.process(plain(text));
  if (address.range() !== "unspecified") return address;
  return ipaddr.parse(address.kind() === "ipv4" ? "127.0.0.1" : "::1");
}

function classOf(to: Target): ReachClass | undefined {
  const range = connected(to.address).range();
  if (range === "loopback" || range === "linkLocal") return range;
  return to.isOwn() ? "own" : undefined;
}

/** Undefined: all is open. */
function openedBy(entries: readonly string[]): ((reached: ReachClass, to: Target) => boolean) | undefined {
  if (entries.includes("all")) return undefined;
  const addresses: AddressSet<true> = createAddressSet(entries.map((entry) => [entry, true]));
  return (reached, { address }) => {
    const read = readAddress(connected(address).toString());
    return entries.includes(reached) || (read !== undefined && addresses.find(read).length > 0);
  };
}

function refusal(reason: string): Verdict {
  return { action: "drop", phase: "network", rule: "reach", reason, provisional: false };
}

function plain(text: string): string {
  return text.replace(/%.*$/, "");
}
