import ipaddr from "ipaddr.js";

/** Owners that were told lately: a client is asked about several times in each session, and comes again. */
const recent = new Map<string, string>();
const MOST_RECENT = 1_000;

/** Whose an address is: one IPv4 address, or the 64 bits of an IPv6 address that a network gives to one host. */
export function ownerOf(address: string): string {
  const known = recent.get(address);
  if (known !== undefined) return known;
  // fe80::1%eth0: the zone is the node's own name for a link.
  const read = ipaddr.process(address.replace(/%.*$/, ""));
  const owner = read.kind() === "ipv4" ? read.toString() : Buffer.from(read.toByteArray().slice(0, 8)).toString("hex");
  if (recent.size === MOST_RECENT) recent.clear();
  recent.set(address, owner);
  return owner;
}
