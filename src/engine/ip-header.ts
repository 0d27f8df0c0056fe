import type { IpHeader } from "../linux/packet.ts";
import { libc, memory } from "./native.ts";
import { AF_INET6, familyOf } from "./socket-address.ts";

/** What the packets of a connection say about their way: hop limit and traffic class (RFC 791, RFC 8200). */

const [TCP, IP, IPV6] = [6, 0, 41];
const TCP_SAVE_SYN = 27;
const TCP_SAVED_SYN = 28;
const IPV4_OPTIONS = { hopLimit: [IP, 2], trafficClass: [IP, 1] } as const;
const IPV6_OPTIONS = { hopLimit: [IPV6, 16], trafficClass: [IPV6, 67] } as const;
const ON = Buffer.from([1, 0, 0, 0]);
/** The headers of a SYN with all options. */
const MOST = 256;
const [saved, savedLength, value] = [memory(MOST), memory(4), memory(4)];

/** What is not set stays as it is. */
export type SentHeader = Partial<IpHeader>;

/** A listening socket keeps the SYNs of its connections for `savedSyn`. */
export function saveSyns(fd: number): void {
  libc.setsockopt(fd, TCP, TCP_SAVE_SYN, ON, ON.length);
}

/** The headers of the SYN that this connection was accepted with. Answers once; undefined: it was not saved. A view until the next call. */
export function savedSyn(fd: number): Buffer | undefined {
  savedLength.writeUInt32LE(MOST);
  if (libc.getsockopt(fd, TCP, TCP_SAVED_SYN, saved, savedLength) !== 0) return undefined;
  return saved.subarray(0, savedLength.readUInt32LE(0));
}

/** Has the packets of a socket, or of a listening socket's answers to SYNs, say this. `address`: the peer's, or its own. */
export function sendHeader(fd: number, address: string, header: SentHeader): void {
  const options = familyOf(address) === AF_INET6 ? IPV6_OPTIONS : IPV4_OPTIONS;
  for (const name of ["hopLimit", "trafficClass"] as const) {
    const wanted = header[name];
    if (wanted === undefined) continue;
    const [level, option] = options[name];
    value.writeInt32LE(wanted);
    libc.setsockopt(fd, level, option, value, value.length);
  }
}
