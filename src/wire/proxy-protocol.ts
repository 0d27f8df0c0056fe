import ipaddr from "ipaddr.js";
import { PeerError } from "../errors.ts";
import { type Endpoint, hex } from "../vocabulary.ts";
import { ALERTS } from "./alert.ts";
import { crc32c } from "./crc32c.ts";
import { Reader } from "./reader.ts";
import { u8, u16, vector16 } from "./writer.ts";

/**
 * The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): a header before a connection's first byte that
 * names the connection's two ends. Sections cited here are of that document.
 */

export interface ProxyHeader {
  /** "local": the connection is the proxy's own, a health check for example. */
  readonly command: "local" | "proxy";
  /** Undefined: the proxy does not know the ends, or they are not TCP. */
  readonly source: Endpoint | undefined;
  readonly destination: Endpoint | undefined;
  /** Version 2 only, like the fields below; undefined when absent. */
  readonly alpn: string | undefined;
  /** The host name that the client asked for: its SNI. */
  readonly authority: string | undefined;
  /** The sender's own identifier of the connection, at most 128 bytes. */
  readonly uniqueId: Buffer | undefined;
}

export type ProxyReading =
  | { readonly kind: "more" }
  /** `length`: the header's size in bytes; the connection's own bytes follow. */
  | { readonly kind: "header"; readonly header: ProxyHeader; readonly length: number };

const SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
/** Section 2.1: the longest line of version 1, with its CR LF, in bytes. */
const LONGEST_LINE = 107;
/** The most bytes after the fixed part. Section 2.2 allows 64 KiB; proxies send far less than this limit. */
const LONGEST_REST = 4_096;
const FIXED_PART = 16;
const TCP_OVER = { 17: 4, 33: 16 } as const;
/** Section 2.2.1. */
const TYPES = { alpn: 0x01, authority: 0x02, crc32c: 0x03, uniqueId: 0x05 } as const;
const LONGEST_UNIQUE_ID = 128;

/** Reads a header of either version. `bytes` are all bytes of the connection so far. Throws PeerError. */
export function readProxyHeader(bytes: Buffer): ProxyReading {
  const isSecond = bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE.subarray(0, bytes.length));
  return isSecond ? readSecond(bytes) : readFirst(bytes);
}

const LINE =
  /^PROXY (?:UNKNOWN(?: .*)?|TCP4 ([\d.]{7,15}) ([\d.]{7,15}) (\d{1,5}) (\d{1,5})|TCP6 ([\dA-Fa-f:.]{2,45}) ([\dA-Fa-f:.]{2,45}) (\d{1,5}) (\d{1,5}))$/s;

/** Section 2.1: one line, "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443". */
function readFirst(bytes: Buffer): ProxyReading {
  const text = bytes.toString("latin1", 0, LONGEST_LINE);
  if (!"PROXY ".startsWith(text.slice(0, 6))) throw malformed("it begins with the signature of neither version");
  const end = text.indexOf("\r\n");
  if (end === -1) {
    if (text.length >= LONGEST_LINE) throw malformed(`its line does not end within ${LONGEST_LINE} bytes`);
    return { kind: "more" };
  }
  const found = LINE.exec(text.slice(0, end));
  if (!found) throw malformed("its line does not have the form of section 2.1");
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
  if (!isAddress || Number(port) > 65_535) throw malformed(`${address} port ${port} is not an address and a port`);
  return { address: plain(ipaddr.parse(address)), port: Number(port) };
}

/** Section 2.2: a fixed part, the addresses, then values with their types. */
function readSecond(bytes: Buffer): ProxyReading {
  if (bytes.length < FIXED_PART) return { kind: "more" };
  const [command, family, rest] = [bytes.readUInt8(12), bytes.readUInt8(13), bytes.readUInt16BE(14)];
  if (command !== 0x20 && command !== 0x21)
    throw malformed(`its version and command are ${hex(command)}, not 0x20 or 0x21`);
  if (rest > LONGEST_REST) throw malformed(`its length is ${rest}, above ${LONGEST_REST}`);
  const length = FIXED_PART + rest;
  if (bytes.length < length) return { kind: "more" };
  const whole = bytes.subarray(0, length);
  const reader = new Reader(whole.subarray(FIXED_PART), "the PROXY header");
  // The addresses of a "local" connection must be ignored.
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
  } else if (family !== 0)
    throw malformed(`its address family and protocol are ${hex(family)}, not TCP over IPv4 or IPv6`);
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
  if (uniqueId && uniqueId.length > LONGEST_UNIQUE_ID)
    throw malformed(`its unique ID has ${uniqueId.length} bytes, above ${LONGEST_UNIQUE_ID}`);
  return {
    alpn: values.get(TYPES.alpn)?.toString("latin1"),
    authority: values.get(TYPES.authority)?.toString("utf8"),
    uniqueId,
  };
}

/** Section 2.2.4: the checksum covers the whole header, with its own four bytes as zero. */
function checkSum(value: Buffer, whole: Buffer): void {
  if (value.length !== 4) throw malformed(`its checksum has ${value.length} bytes, not 4`);
  const blank = Buffer.from(whole);
  const at = value.byteOffset - whole.byteOffset;
  blank.fill(0, at, at + 4);
  if (crc32c(blank) !== value.readUInt32BE()) throw malformed("its checksum is wrong");
}

/** The values of a header to write. Fields as in ProxyHeader. */
export interface ProxyHeaderValues {
  readonly source: Endpoint;
  readonly destination: Endpoint;
  readonly alpn?: string | undefined;
  readonly authority?: string | undefined;
  readonly uniqueId?: string | undefined;
}

/** Writes a header of version 2. An IPv4 address beside an IPv6 one is written as an IPv4-mapped address. */
export function writeProxyHeader({ source, destination, alpn, authority, uniqueId }: ProxyHeaderValues): Buffer {
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

/** Section 2.2: the header for a connection of the node's own, a health check. */
export const LOCAL_HEADER: Buffer = Buffer.concat([SIGNATURE, Buffer.from([0x20, 0, 0, 0])]);

/** An address in canonical text: an IPv4-mapped address as IPv4, and without a zone. */
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
