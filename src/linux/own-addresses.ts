import { closeSync } from "node:fs";
import { networkInterfaces } from "node:os";
import ipaddr from "ipaddr.js";
import { NetworkError } from "../errors.ts";
import { AF, receive, SOCK, send, socket } from "./syscalls.ts";

const NETLINK_ROUTE = 0;
const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;
const NLM_F_REQUEST = 1;
/** struct nlmsghdr, then struct rtmsg: linux/netlink.h, linux/rtnetlink.h. */
const HEADER = 16;
const ROUTE = 12;
const RTA_DST = 1;
/** RTN_LOCAL and RTN_ANYCAST: packets to these are delivered to this machine. */
const DELIVERED: readonly number[] = [2, 4];

/**
 * Whether a connection to this address ends at this machine itself. An IPv4-mapped address counts as the IPv4 address, and the
 * unspecified address as loopback, as the kernel takes it. A zone is ignored.
 */
export function isOwnAddress(text: string): boolean {
  const address = ipaddr.process(text.replace(/%.*$/, ""));
  return ["loopback", "unspecified"].includes(address.range()) || isDeliveredHere(address);
}

/**
 * Asks the kernel's routing tables, which know more than the list of interfaces: addresses of interfaces without a carrier, and
 * subnets that are routed to this machine as a whole.
 */
function isDeliveredHere(address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  try {
    return DELIVERED.includes(routeType(Buffer.from(address.toByteArray())));
  } catch (error) {
    // A sandbox may forbid netlink. The addresses of the interfaces are what is left.
    if (!(error instanceof NetworkError)) throw error;
    return interfaceAddresses().includes(address.toString());
  }
}

/** The type of the route to an address, RTN_*; 0: there is no route. Throws NetworkError. */
function routeType(address: Buffer): number {
  const request = Buffer.alloc(HEADER + ROUTE + 4 + address.length);
  request.writeUInt32LE(request.length, 0);
  request.writeUInt16LE(RTM_GETROUTE, 4);
  request.writeUInt16LE(NLM_F_REQUEST, 6);
  request.writeUInt8(address.length === 4 ? AF.INET : AF.INET6, HEADER);
  request.writeUInt8(address.length * 8, HEADER + 1);
  request.writeUInt16LE(4 + address.length, HEADER + ROUTE);
  request.writeUInt16LE(RTA_DST, HEADER + ROUTE + 2);
  address.copy(request, HEADER + ROUTE + 4);
  const fd = socket(AF.NETLINK, SOCK.RAW, NETLINK_ROUTE);
  try {
    send(fd, request);
    // The kernel answers within the call that sends. An unreachable address is answered with an error.
    const answer = Buffer.alloc(4096);
    const length = receive(fd, answer) ?? 0;
    const isRoute = length >= HEADER + ROUTE && answer.readUInt16LE(4) === RTM_NEWROUTE;
    return isRoute ? answer.readUInt8(HEADER + 7) : 0;
  } finally {
    closeSync(fd);
  }
}

function interfaceAddresses(): string[] {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return addresses.map((one) => ipaddr.process(one.address.replace(/%.*$/, "")).toString());
}
