import ipaddr from "ipaddr.js";
import { PeerError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";
import { ALERTS } from "./alert.ts";
import { crc32c } from "./crc32c.ts";
import { Reader } from "./reader.ts";
import { u8, u16, vector16 } from "./writer.ts";

/**
 * The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): what a proxy says of a connection's two ends, in
 * front of its first byte.
 */

export interface ProxyHeader {
  /** "local": the proxy speaks for itself, to see whether somebody listens. */
  readonly command: "local" | "proxy";
  /** Undefined: the proxy does not know them, or they are not TCP's. */
  readonly source: Endpoint | undefined;
  readonly destination: Endpoint | undefined;
  /** Version 2 only. What is absent there is undefined. */
  readonly alpn: string | undefined;
  /** The host name that the client asked for: its SNI. */
  readonly authority: string | undefined;
  /** What whoever wrote it knows the connection by, at most 128 bytes. */
  readonly uniqueId: Buffer | undefined;
}

export type ProxyReading =
  | { readonly kind: "more" }
  /** `length`: how many bytes it took; what follows them is the connection's own. */
  | { readonly kind: "header"; readonly header: ProxyHeader; readonly length: number };

const SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
/** Section 2.1: with this many bytes, its CR LF counted, no line of version 1 is longer. */
const LONGEST_LINE = 107;
/** Section 2.2 allows 64 KiB; what proxies send is far below this. Bytes behind the fixed part. */
const LONGEST_REST = 4_096;
const FIXED_PART = 16;
const TCP_OVER = { 17: 4, 33: 16 } as const;
/** Section 2.2.1. */
const TYPES = { alpn: 0x01, authority: 0x02, crc32c: 0x03, uniqueId: 0x05 } as const;
const LONGEST_UNIQUE_ID = 128;

/** Reads a header of either version from a connection's first bytes, all of them so far. Throws PeerError. */
export function readProxyHeader(bytes: Buffer): ProxyReading {
  const isSecond = bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE.subarray(0, bytes.length));
  return isSecond ? readSecond(bytes) : readFirst(bytes);
}

const LINE =
  /^PROXY (?:UNKNOWN(?: .*)?|TCP4 ([\d.]{7,15}) ([\d.]{7,15}) (\d{1,5}) (\d{1,5})|TCP6 ([\dA-Fa-f:.]{2,45}) ([\dA-Fa-f:.]{2,45}) (\d{1,5}) (\d{1,5}))$/s;

/** Section 2.1: one line, "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443". */
function readFirst(bytes: Buffer): ProxyReading {
  const text = bytes.toString("latin1", 0, LONGEST_LINE);
  if (!"PROXY ".startsWith(text.slice(0, 6))) throw malformed("it begins with neither version's signature");
  const end = text.indexOf("\r\n");
  if (end === -1) {
    if (text.length >= LONGEST_LINE) throw malformed(`${LONGEST_LINE} bytes without an end of line`);
    return { kind: "more" };
  }
  const found = LINE.exec(text.slice(0, end));
  if (!found) throw malformed("a line of another form");
  const [from, to, fromPort, toPort] = found[1] === undefined ? found.slice(5) : found.slice(1);
  const ends =
    from === undefined
      ? { source: undefined, destination: undefined }
      : { source: endpoint(from, fromPort!), destination: endpoint(to!, toPort!) };
  return { kind: "header", header: { ...ABSENT, command: "proxy", ...ends }, length: end + 2 };
}

const ABSENT = { alpn: undefined, authority: undefined, uniqueId: undefined } as const;

function endpoint(address: string, port: string): Endpoint {
  const isAddress = address.includes(":") ? ipaddr.IPv6.isValid(address) : ipaddr.IPv4.isValidFourPartDecimal(address);
  if (!isAddress || Number(port) > 65_535) throw malformed("an address or port that is none");
  return { address: plain(ipaddr.parse(address)), port: Number(port) };
}

/** Section 2.2: a fixed part, the addresses, then types with values. */
function readSecond(bytes: Buffer): ProxyReading {
  if (bytes.length < FIXED_PART) return { kind: "more" };
  const [command, family, rest] = [bytes.readUInt8(12), bytes.readUInt8(13), bytes.readUInt16BE(14)];
  if (command !== 0x20 && command !== 0x21) throw malformed(`version and command ${command}`);
  if (rest > LONGEST_REST) throw malformed(`${rest} bytes announced, more than ${LONGEST_REST}`);
  const length = FIXED_PART + rest;
  if (bytes.length < length) return { kind: "more" };
  const whole = bytes.subarray(0, length);
  const reader = new Reader(whole.subarray(FIXED_PART), "the PROXY header");
  // What a proxy says of its own connection is to be ignored.
  if (command === 0x20) {
    return {
      kind: "header",
      header: { ...ABSENT, command: "local", source: undefined, destination: undefined },
      length,
    };
  }
  const size = TCP_OVER[family as keyof typeof TCP_OVER];
  let ends: Pick<ProxyHeader, "source" | "destination"> = { source: undefined, destination: undefined };
  if (size !== undefined) {
    const [from, to] = [reader.take(size), reader.take(size)].map((raw) => plain(ipaddr.fromByteArray([...raw])));
    const ports = [reader.u16(), reader.u16()];
    ends = { source: { address: from!, port: ports[0]! }, destination: { address: to!, port: ports[1]! } };
  } else if (family !== 0) throw malformed(`the address family and protocol ${family}`);
  return { kind: "header", header: { command: "proxy", ...ends, ...readValues(reader, whole) }, length };
}

function readValues(reader: Reader, whole: Buffer): Pick<ProxyHeader, "alpn" | "authority" | "uniqueId"> {
  const values = new Map<number, Buffer>();
  while (reader.remaining > 0) {
    const type = reader.u8();
    const value = reader.vector16();
    if (type === TYPES.crc32c) checkSum(value, whole);
    else if (!values.has(type)) values.set(type, Buffer.from(value));
  }
  const uniqueId = values.get(TYPES.uniqueId);
  if (uniqueId && uniqueId.length > LONGEST_UNIQUE_ID) throw malformed(`a unique ID of ${uniqueId.length} bytes`);
  return {
    alpn: values.get(TYPES.alpn)?.toString("latin1"),
    authority: values.get(TYPES.authority)?.toString("utf8"),
    uniqueId,
  };
}

/** Section 2.2.4: over the whole header, with the sum's own four bytes zero. */
function checkSum(value: Buffer, whole: Buffer): void {
  if (value.length !== 4) throw malformed(`a checksum of ${value.length} bytes`);
  const blank = Buffer.from(whole);
  const at = value.byteOffset - whole.byteOffset;
  blank.fill(0, at, at + 4);
  if (crc32c(blank) !== value.readUInt32BE()) throw malformed("the checksum does not fit");
}

/** What a proxy tells of a connection. Fields as in ProxyHeader. */
export interface ProxyStatement {
  readonly source: Endpoint;
  readonly destination: Endpoint;
  readonly alpn?: string | undefined;
  readonly authority?: string | undefined;
  readonly uniqueId?: string | undefined;
}

/** A header of version 2. An IPv4 address beside an IPv6 one is written as IPv4-mapped. */
export function writeProxyHeader({ source, destination, alpn, authority, uniqueId }: ProxyStatement): Buffer {
  const addresses = [source, destination].map(({ address }) => ipaddr.process(address));
  const isV4 = addresses.every((address) => address.kind() === "ipv4");
  const raw = addresses.map((address) => {
    const wide = !isV4 && address instanceof ipaddr.IPv4 ? address.toIPv4MappedAddress() : address;
    return Buffer.from(wide.toByteArray());
  });
  const values = [
    [TYPES.alpn, alpn],
    [TYPES.authority, authority],
    [TYPES.uniqueId, uniqueId],
  ] as const;
  const parts = values.flatMap(([type, value]) =>
    value === undefined ? [] : [u8(type), vector16(Buffer.from(value, type === TYPES.alpn ? "latin1" : "utf8"))],
  );
  return Buffer.concat([
    SIGNATURE,
    Buffer.from([0x21, isV4 ? 0x11 : 0x21]),
    vector16(...raw, u16(source.port), u16(destination.port), ...parts),
  ]);
}

/** Section 2.2: a connection of the node's own, to see whether somebody listens. */
export const LOCAL_HEADER: Buffer = Buffer.concat([SIGNATURE, Buffer.from([0x20, 0, 0, 0])]);

/** The one way to write an address: an IPv4-mapped one is the IPv4 address that it means, and a zone is left out. */
export function plainAddress(text: string): string {
  return plain(ipaddr.fromByteArray(ipaddr.parse(text).toByteArray()));
}

function plain(address: ipaddr.IPv4 | ipaddr.IPv6): string {
  const own = address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress() ? address.toIPv4Address() : address;
  return own.toString();
}

function malformed(state: string): PeerError {
  return new PeerError(`Cannot read the PROXY header: ${state}`, ALERTS.decode_error);
}
