import { isIPv4, isIPv6 } from "node:net";
import { getSystemErrorName } from "node:util";
import ipaddr from "ipaddr.js";
import type { Endpoint } from "../vocabulary.ts";

/** struct sockaddr_in and sockaddr_in6, and what else the kernel says in numbers. */

export const AF_INET = 2;
export const AF_INET6 = 10;
/** Room for either, in bytes. */
export const ADDRESS_SIZE = 28;

/** "ECONNRESET" for 104. */
export function systemCode(errno: number): string {
  return getSystemErrorName(-errno);
}

export function familyOf(address: string): number {
  return isIPv6(address) ? AF_INET6 : AF_INET;
}

export function writeSocketAddress({ address, port }: Endpoint): Buffer {
  const bytes = isIPv4(address) ? address.split(".").map(Number) : ipaddr.parse(address).toByteArray();
  const isV6 = bytes.length === 16;
  const written = Buffer.alloc(isV6 ? ADDRESS_SIZE : 16);
  written.writeUInt16LE(isV6 ? AF_INET6 : AF_INET, 0);
  written.writeUInt16BE(port, 2);
  written.set(bytes, isV6 ? 8 : 4);
  return written;
}

/** Treats an IPv4-mapped IPv6 address as the IPv4 address that it carries. */
export function readSocketAddress(bytes: Buffer): Endpoint {
  const port = bytes.readUInt16BE(2);
  if (bytes.readUInt16LE(0) !== AF_INET6) return { address: `${bytes[4]}.${bytes[5]}.${bytes[6]}.${bytes[7]}`, port };
  return { address: ipaddr.process(ipaddr.fromByteArray([...bytes.subarray(8, 24)]).toString()).toString(), port };
}
