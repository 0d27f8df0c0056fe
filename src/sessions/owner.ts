import ipaddr from "ipaddr.js";

/** Whose an address is: one IPv4 address, or the 64 bits of an IPv6 address that a network gives to one host. */
export function ownerOf(address: string): string {
  // fe80::1%eth0: the zone is the node's own name for a link.
  const read = ipaddr.process(address.replace(/%.*$/, ""));
  return read.kind() === "ipv4" ? read.toString() : Buffer.from(read.toByteArray().slice(0, 8)).toString("hex");
}
