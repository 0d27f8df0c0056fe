import ipaddr from "ipaddr.js";

/** An address as a number, so that a set can look it up. IPv4-mapped IPv6 addresses are IPv4 ones. */
export type Address = { readonly family: 4; readonly value: number } | { readonly family: 6; readonly value: bigint };

/** A block of addresses that share their first `length` bits. */
interface Block {
  readonly network: Address;
  readonly length: number;
}

export interface AddressSet {
  readonly size: number;
  /** The entry, as it was written, that holds the address; the most specific one when several do. */
  find(address: Address): string | undefined;
}

/**
 * Makes a set of addresses ("10.0.0.1"), subnets ("10.0.0.0/8") and ranges ("10.0.0.1-10.0.0.9"). A look-up costs one
 * map look-up per prefix length in use, however many entries there are. Entries that `isAddressEntry` refuses are left out.
 */
export function createAddressSet(entries: Iterable<string>): AddressSet {
  const tables = {
    4: new Map<number, Map<number | bigint, string>>(),
    6: new Map<number, Map<number | bigint, string>>(),
  };
  let size = 0;
  for (const entry of entries) {
    const blocks = readBlocks(entry);
    if (blocks === undefined) continue;
    size += 1;
    for (const { network, length } of blocks) {
      const table = tables[network.family];
      if (!table.has(length)) table.set(length, new Map());
      table.get(length)?.set(network.value, entry);
    }
  }
  // Longest prefix first, so that the entry that is named is the most specific one.
  const order = { 4: longestFirst(tables[4]), 6: longestFirst(tables[6]) };
  return {
    size,
    find(address) {
      for (const [length, networks] of order[address.family]) {
        const entry = networks.get(mask(address, length).value);
        if (entry !== undefined) return entry;
      }
      return undefined;
    },
  };
}

function longestFirst<Table>(tables: Map<number, Table>): [number, Table][] {
  return [...tables].sort(([a], [b]) => b - a);
}

/** Reads an address literal. Undefined: it is none. IPv4 must be four plain decimals: "010.1" means different things to different readers. */
export function readAddress(text: string): Address | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return fromBytes(ipaddr.IPv4.parse(text).toByteArray());
  if (!text.includes(":") || !ipaddr.IPv6.isValid(text)) return undefined;
  const address = ipaddr.IPv6.parse(text);
  return fromBytes((address.isIPv4MappedAddress() ? address.toIPv4Address() : address).toByteArray());
}

/** Whether this is an address, a subnet or a range. */
export function isAddressEntry(entry: string): boolean {
  return readBlocks(entry) !== undefined;
}

function readBlocks(entry: string): readonly Block[] | undefined {
  const [first = "", second, ...more] = entry.split(/[-/]/).map((part) => part.trim());
  const address = readAddress(first);
  if (address === undefined || more.length > 0) return undefined;
  if (second === undefined) return [{ network: address, length: bitsOf(address) }];
  return entry.includes("/") ? readSubnet(first, address, second) : readRange(address, second);
}

function readSubnet(first: string, address: Address, suffix: string): readonly Block[] | undefined {
  if (!/^\d{1,3}$/.test(suffix)) return undefined;
  // "::ffff:10.0.0.0/104" counts its bits from the start of the IPv6 address it is written as.
  const mapped = address.family === 4 && first.includes(":");
  const length = Number(suffix) - (mapped ? 96 : 0);
  if (length < 0 || length > bitsOf(address)) return undefined;
  return [{ network: mask(address, length), length }];
}

/** Cuts a range into the fewest blocks: from its start, the largest aligned block that still fits, again and again. */
function readRange(start: Address, text: string): readonly Block[] | undefined {
  const end = readAddress(text);
  if (end === undefined || end.family !== start.family || end.value < start.value) return undefined;
  const bits = bitsOf(start);
  const last = BigInt(end.value);
  const blocks: Block[] = [];
  for (let at = BigInt(start.value); at <= last; ) {
    let size = 1n;
    let length = bits;
    while (length > 0 && at % (size * 2n) === 0n && at + size * 2n - 1n <= last) {
      size *= 2n;
      length -= 1;
    }
    blocks.push({ network: start.family === 4 ? { family: 4, value: Number(at) } : { family: 6, value: at }, length });
    at += size;
  }
  return blocks;
}

function fromBytes(bytes: readonly number[]): Address {
  if (bytes.length === 4) return { family: 4, value: bytes.reduce((value, byte) => value * 256 + byte, 0) };
  return { family: 6, value: bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n) };
}

function bitsOf(address: Address): number {
  return address.family === 4 ? 32 : 128;
}

function mask(address: Address, length: number): Address {
  if (address.family === 4) return { family: 4, value: address.value - (address.value % 2 ** (32 - length)) };
  const host = BigInt(128 - length);
  return { family: 6, value: (address.value >> host) << host };
}
