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
  const [from, to] = ofOneFamily(near, far);
  const ends = [end(from, one.port), end(to, other.port)] as const;
  const [first, second] = Buffer.compare(ends[0].key, ends[1].key) <= 0 ? ends : [ends[1], ends[0]];
  const seed = Buffer.alloc(2);
  const bytes = Buffer.concat([seed, first.address, second.address, Buffer.from([TCP, 0]), first.port, second.port]);
  return `1:${hash("sha1", bytes, "base64")}`;
}

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** Addresses that were read lately: reading costs more than the hash. Host names, of which peers choose the length, are not kept. */
const recent = new Map<string, Address>();
const MOST_RECENT = 1_000;

function addressOf(text: string): Address | undefined {
  const known = recent.get(text);
  if (known) return known;
  if (!ipaddr.isValid(text)) return undefined;
  const read = ipaddr.process(text);
  if (recent.size === MOST_RECENT) recent.clear();
  recent.set(text, read);
  return read;
}

/** Both addresses of a packet have one family, as in the feeds' packets. */
function ofOneFamily(one: Address, other: Address): [Address, Address] {
  const mapped = (address: Address) => (address instanceof ipaddr.IPv4 ? address.toIPv4MappedAddress() : address);
  return one.kind() === other.kind() ? [one, other] : [mapped(one), mapped(other)];
}

/** The smaller end, by address and then by port, comes first. */
function end(from: Address, number: number): { address: Buffer; port: Buffer; key: Buffer } {
  const address = Buffer.from(from.toByteArray());
  const port = Buffer.alloc(2);
  port.writeUInt16BE(number);
  return { address, port, key: Buffer.concat([address, port]) };
}
