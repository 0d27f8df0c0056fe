import ipaddr from "ipaddr.js";

/** The clients to look for: one address, or a subnet. */
export interface ClientPattern {
  /** How the one address is written in records: the way into an index. Undefined: a subnet, any address can match. */
  readonly addresses: readonly string[] | undefined;
  /** `address` as records have it: an IPv4 or IPv6 literal. */
  readonly matches: (address: string) => boolean;
}

/**
 * Reads an address, such as 10.0.0.1, or a subnet, such as 10.0.0.0/8 or 2001:db8::/32. An IPv4-mapped IPv6 address is the IPv4
 * address that it carries. Undefined: it is neither.
 */
export function compileClient(query: string): ClientPattern | undefined {
  const [literal = "", suffix, ...more] = query.split("/");
  const network = readAddress(literal);
  if (network === undefined || more.length > 0) return undefined;
  if (suffix === undefined) {
    const address = network.toString();
    const addresses = network.kind() === "ipv4" ? [address, `::ffff:${address}`] : [address];
    return { addresses, matches: (other) => readAddress(other)?.toString() === address };
  }
  // "::ffff:10.0.0.0/104" counts its bits from the start of the IPv6 address that it is written as.
  const mapped = network.kind() === "ipv4" && literal.includes(":");
  const length = Number(suffix) - (mapped ? 96 : 0);
  const longest = network.kind() === "ipv4" ? 32 : 128;
  if (!/^\d{1,3}$/.test(suffix) || length < 0 || length > longest) return undefined;
  return {
    addresses: undefined,
    matches(other) {
      const address = readAddress(other);
      return address?.kind() === network.kind() && address.match(network, length);
    },
  };
}

function readAddress(literal: string): ipaddr.IPv4 | ipaddr.IPv6 | undefined {
  // fe80::1%eth0: the zone is the node's own name for a link.
  const [address = ""] = literal.split("%");
  if (ipaddr.IPv4.isValidFourPartDecimal(address)) return ipaddr.IPv4.parse(address);
  if (!address.includes(":") || !ipaddr.IPv6.isValid(address)) return undefined;
  const found = ipaddr.IPv6.parse(address);
  return found.isIPv4MappedAddress() ? found.toIPv4Address() : found;
}
