import ipaddr from "ipaddr.js";
import type { Side } from "../vocabulary.ts";
import type { Block } from "./block.ts";

/** The IP and TCP headers of packets, and their checksums. */

export const TCP_HEADER = 20;
const WINDOW = 0xffff;

/** The headers of one end's packets. */
export interface Header {
  /** Their constant part, as words; lengths, numbers, flags and checksums are filled in for each packet. */
  readonly words: Uint32Array;
  readonly ipLength: number;
  /** The sum of the pseudo-header's addresses and protocol, for the TCP checksum. */
  readonly pseudoSum: number;
  /** The IPv4 identification of the next packet. */
  identification: number;
}

interface Ends {
  /** IPv4 or IPv6 literals. */
  readonly client: { readonly address: string; readonly port: number };
  readonly server: { readonly address: string; readonly port: number };
}

/** Throws ipaddr.js's Error when an address is not an IP literal. */
export function headersOf({ client, server }: Ends): Record<Side, Header> {
  const [from, to] = ofOneFamily(client.address, server.address);
  return {
    client: headerOf(from, client.port, to, server.port),
    server: headerOf(to, server.port, from, client.port),
  };
}

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** Both addresses of a packet have one family. The IPv4-mapped addresses of dual-stack sockets become IPv4. */
function ofOneFamily(client: string, server: string): [Address, Address] {
  const one = ipaddr.process(client);
  const other = ipaddr.process(server);
  return one.kind() === other.kind() ? [one, other] : [mapped(one), mapped(other)];
}

function mapped(address: Address): Address {
  return address instanceof ipaddr.IPv4 ? address.toIPv4MappedAddress() : address;
}

function headerOf(from: Address, fromPort: number, to: Address, toPort: number): Header {
  const ipLength = from.kind() === "ipv4" ? 20 : 40;
  const bytes = new Uint8Array(ipLength + TCP_HEADER);
  const view = new DataView(bytes.buffer);
  const addresses = [...from.toByteArray(), ...to.toByteArray()];
  bytes.set(addresses, ipLength - addresses.length);
  if (ipLength === 20) {
    view.setUint16(0, 0x4500);
    view.setUint16(6, 0x4000); // Don't Fragment
    view.setUint16(8, 0x4006); // 64 hops, TCP
  } else {
    view.setUint16(0, 0x6000);
    view.setUint16(6, 0x0640); // TCP, 64 hops
  }
  view.setUint16(ipLength, fromPort);
  view.setUint16(ipLength + 2, toPort);
  view.setUint16(ipLength + 14, WINDOW);
  const words = new Uint32Array(bytes.buffer);
  const pseudoSum = sum(words, (ipLength - addresses.length) / 4, ipLength / 4, swapped(6));
  return { words, ipLength, pseudoSum, identification: 0 };
}

/** Copies the constant headers of both layers and completes the IP one. */
export function writeIpHeader({ words, view }: Block, at: number, length: number, from: Header): void {
  const first = at / 4;
  for (let index = 0; index < from.words.length; index++) words[first + index] = from.words[index]!;
  if (from.ipLength === 20) {
    view.setUint16(at + 2, length);
    view.setUint16(at + 4, from.identification);
    from.identification = (from.identification + 1) & 0xffff;
    view.setUint16(at + 10, checksum(sum(words, first, first + 5, 0)), true);
  } else {
    view.setUint16(at + 4, length - from.ipLength);
  }
}

/**
 * Completes the TCP header at `tcp` of a packet that ends at `end`: with its checksum, or with the sum of its pseudo-header, which a
 * network card completes.
 */
export function writeTcpChecksum(
  { words, view }: Block,
  { pseudoSum }: Header,
  tcp: number,
  end: number,
  isComplete: boolean,
): void {
  const start = pseudoSum + swapped(end - tcp);
  // The sum covers whole words: the sink's zeroes after the packet are the padding of RFC 9293, section 3.1.
  const value = isComplete ? checksum(sum(words, tcp / 4, Math.ceil(end / 4), start)) : folded(start);
  view.setUint16(tcp + 16, value, true);
}

/**
 * Adds the 16-bit halves of whole words in the machine's (little-endian) order. The ones' complement sum does not depend
 * on the byte order: RFC 1071, section 2 (B). A packet has too few words for the sum to exceed 31 bits.
 */
function sum(words: Uint32Array, from: number, to: number, start: number): number {
  let low = start;
  let high = 0;
  for (let index = from; index < to; index++) {
    const word = words[index]!;
    low += word & 0xffff;
    high += word >>> 16;
  }
  return low + high;
}

/** A 16-bit number in the byte order that `sum` uses. */
function swapped(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}

function folded(total: number): number {
  let rest = total;
  while (rest > 0xffff) rest = (rest & 0xffff) + (rest >>> 16);
  return rest;
}

function checksum(total: number): number {
  return ~folded(total) & 0xffff;
}
