import { hash } from "node:crypto";
import ipaddr from "ipaddr.js";
import type { Endpoint } from "../vocabulary.ts";

/** IANA's protocol number of TCP. */
const TCP = 6;

/**
 * The Community ID of a TCP connection, version 1 with seed 0: github.com/corelight/community-id-spec. Analysers such as Zeek,
 * Suricata and Arkime compute the same, in either direction. Undefined: an end is not an IP literal.
 */
export function communityId(one: Endpoint, other: Endpoint): string | undefined {
  const [near, far] = [addressOf(one.address), addressOf(other.address)];
  if (!near || !far) return undefined;
  // Both addresses of a packet have one family, as in the feeds' packets.
  const isOne = near.own.length === far.own.length;
  const [from, to] = isOne ? [near.own, far.own] : [near.mapped, far.mapped];
  const order = Buffer.compare(from, to) || one.port - other.port;
  return order <= 0 ? digest(from, one.port, to, other.port) : digest(to, other.port, from, one.port);
}

/** The smaller end, by address and then by port, comes first. */
function digest(first: Buffer, firstPort: number, second: Buffer, secondPort: number): string {
  const { length } = first;
  // The seed is 0.
  const bytes = Buffer.alloc(2 * length + 8);
  bytes.set(first, 2);
  bytes.set(second, 2 + length);
  bytes[2 + 2 * length] = TCP;
  bytes.writeUInt16BE(firstPort, 4 + 2 * length);
  bytes.writeUInt16BE(secondPort, 6 + 2 * length);
  return `1:${hash("sha1", bytes, "base64")}`;
}

interface Address {
  readonly own: Buffer;
  /** As an IPv6 address. */
  readonly mapped: Buffer;
}

/** Addresses that were read lately: reading costs more than the hash. Host names, of which peers choose the length, are not kept. */
const recent = new Map<string, Address>();
const MOST_RECENT = 1_000;

function addressOf(text: string): Address | undefined {
  const known = recent.get(text);
  if (known) return known;
  if (!ipaddr.isValid(text)) return undefined;
  const literal = ipaddr.process(text);
  const mapped = literal instanceof ipaddr.IPv4 ? literal.toIPv4MappedAddress() : literal;
  const read = { own: Buffer.from(literal.toByteArray()), mapped: Buffer.from(mapped.toByteArray()) };
  if (recent.size === MOST_RECENT) recent.clear();
  recent.set(text, read);
  return read;
}
