import ipaddr from "ipaddr.js";

/** An address as a number. An IPv4-mapped IPv6 address is the IPv4 address that it carries. */
export type Address = { readonly family: 4; readonly value: number } | { readonly family: 6; readonly value: bigint };

/** A block of addresses with the same first `length` bits. */
interface Block {
  readonly network: Address;
  readonly length: number;
}

/** A set of addresses, each with a value. */
export interface AddressSet<Value> {
  readonly size: number;
  /** The values of every entry that contains the address, the most specific entry's first. */
  find(address: Address): readonly Value[];
}

/**
 * Makes a set of addresses ("10.0.0.1"), subnets ("10.0.0.0/8") and ranges ("10.0.0.1-10.0.0.9"). A look-up costs one map
 * access for each prefix length in use. Entries that `isAddressEntry` refuses are left out.
 */
export function createAddressSet<Value>(entries: Iterable<readonly [entry: string, value: Value]>): AddressSet<Value> {
  const networks = { 4: new Map<number, Networks<Value>>(), 6: new Map<number, Networks<Value>>() };
  let size = 0;
  for (const [entry, value] of entries) {
    const blocks = readBlocks(entry);
    if (blocks === undefined) continue;
    size += 1;
    for (const { network, length } of blocks) {
      const ofLength = networks[network.family].get(length) ?? new Map<number | bigint, Value[]>();
      networks[network.family].set(length, ofLength);
      const values = ofLength.get(network.value);
      if (values === undefined) ofLength.set(network.value, [value]);
      else values.push(value);
    }
  }
  const ordered = { 4: longestFirst(networks[4]), 6: longestFirst(networks[6]) };
  return {
    size,
    find(address) {
      const found: Value[] = [];
      for (const [length, ofLength] of ordered[address.family])
        found.push(...(ofLength.get(mask(address, length).value) ?? []));
      return found;
    },
  };
}

type Networks<Value> = Map<number | bigint, Value[]>;

/** Longest prefix first, so that the most specific entry comes first. */
function longestFirst<Value>(networks: Map<number, Networks<Value>>): [number, Networks<Value>][] {
  return [...networks].sort(([a], [b]) => b - a);
}

/**
 * Reads an address literal; undefined: the text is not one. IPv4 must be four decimals without leading zeros: programs
 * disagree on what "010.0.0.1" and "10.1" mean.
 */
export function readAddress(text: string): Address | undefined {
  const decimals = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1);
  if (decimals !== undefined) return decimals.every(isByte) ? fromBytes(decimals.map(Number)) : undefined;
  if (!text.includes(":") || !ipaddr.IPv6.isValid(text)) return undefined;
  const address = ipaddr.IPv6.parse(text);
  return fromBytes((address.isIPv4MappedAddress() ? address.toIPv4Address() : address).toByteArray());
}

function isByte(decimal: string): boolean {
  return Number(decimal) <= 255 && (decimal === "0" || !decimal.startsWith("0"));
}

/** Whether this is an address, a subnet or a range. */
export function isAddressEntry(entry: string): boolean {
  return readBlocks(entry) !== undefined;
}

/** A block of addresses as text: "10.0.0.0/8", and "10.0.0.1" for a single address. */
export interface AddressBlock {
  readonly family: Address["family"];
  readonly text: string;
}

/** The blocks that make up an address, a subnet or a range. Undefined: the entry is none of these. */
export function blocksOf(entry: string): readonly AddressBlock[] | undefined {
  return readBlocks(entry)?.map(({ network, length }) => {
    const text = textOf(network);
    return { family: network.family, text: length === bitsOf(network) ? text : `${text}/${length}` };
  });
}

function textOf(address: Address): string {
  const bytes = bitsOf(address) / 8;
  const hex = address.value.toString(16).padStart(bytes * 2, "0");
  return ipaddr.fromByteArray([...Buffer.from(hex, "hex")]).toString();
}

/** A length of prefix, and how keys of blocks of this length begin. */
interface PrefixLength {
  readonly length: number;
  readonly key: string;
}

/** Longest first, so that the most specific entry comes first. */
export const PREFIX_LENGTHS: { readonly [Family in Address["family"]]: readonly PrefixLength[] } = {
  4: prefixLengths(4, 32),
  6: prefixLengths(6, 128),
};

function prefixLengths(family: Address["family"], bits: number): PrefixLength[] {
  return Array.from({ length: bits + 1 }, (_, at) => ({ length: bits - at, key: `${family} ${bits - at}` }));
}

/** The keys of an entry's blocks: "4 24 a000000". Undefined: the entry is no address, subnet or range. */
export function keysOfEntry(entry: string): readonly string[] | undefined {
  return readBlocks(entry)?.map(({ network, length }) => `${network.family} ${length} ${network.value.toString(16)}`);
}

/** The key of the block of this length that contains the address. */
export function keyWithin(address: Address, { length, key }: PrefixLength): string {
  return `${key} ${mask(address, length).value.toString(16)}`;
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
  // "::ffff:10.0.0.0/104": the prefix length counts from the start of the IPv6 address.
  const mapped = address.family === 4 && first.includes(":");
  const length = Number(suffix) - (mapped ? 96 : 0);
  if (length < 0 || length > bitsOf(address)) return undefined;
  return [{ network: mask(address, length), length }];
}

/** Splits a range into the fewest blocks: repeatedly takes the largest aligned block that fits. */
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
