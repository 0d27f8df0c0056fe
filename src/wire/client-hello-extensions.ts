import { PeerError } from "../errors.ts";
import { ALERTS } from "./alert.ts";
import { isGrease } from "./grease.ts";
import { EXTENSIONS } from "./numbers.ts";
import { Reader } from "./reader.ts";
import { readList, sameList } from "./recent-lists.ts";
import { readServerName } from "./server-name.ts";

/** The extensions of a ClientHello: RFC 8446, section 4.2. GREASE values (RFC 8701) are left out of every list. */
export interface Extensions {
  /** Extension types in the client's order. */
  readonly extensions: readonly number[];
  /** The host name of server_name (RFC 6066, section 3): A-labels in lower case, no trailing dot. Undefined when there is none, or it is an address. */
  readonly serverName: string | undefined;
  /** An IPv4 or IPv6 literal in server_name: RFC 6066 forbids it, but some clients send it. */
  readonly serverAddress: string | undefined;
  readonly supportedGroups: readonly number[];
  /** Groups that the client sent a key share for (RFC 8446, section 4.2.8). */
  readonly keyShareGroups: readonly number[];
  readonly signatureAlgorithms: readonly number[];
  /** signature_algorithms_cert (RFC 8446, section 4.2.3): for the signatures in certificates. Undefined: as signature_algorithms. */
  readonly certificateSignatures: readonly number[] | undefined;
  /** Protocol names (RFC 7301) as latin1 strings. */
  readonly alpnProtocols: readonly string[];
  readonly ecPointFormats: readonly number[];
  /** status_request: the client asks for a stapled OCSP response (RFC 6066, section 8). */
  readonly statusRequest: boolean;
  readonly earlyData: boolean;
  /** The ticket that a client of TLS 1.2 comes back with (RFC 5077, section 3.2). Undefined: none, or an empty one. */
  readonly sessionTicket: Buffer | undefined;
  /** The first identity of pre_shared_key (RFC 8446, section 4.2.11): the ticket of TLS 1.3. */
  readonly pskIdentity: Buffer | undefined;
  /** Encrypted Client Hello (RFC 9849): "outer" hides the real name, "inner" was decrypted before it came here. GREASE ECH looks like "outer". */
  readonly ech: "outer" | "inner" | undefined;
  /** The list in supported_versions; undefined: the client did not send it. */
  readonly offeredVersions: readonly number[] | undefined;
}

/** Reads the extensions block, without its length field. Unknown extensions are ignored. Throws PeerError. */
export function readExtensions(block: Uint8Array): Extensions {
  const found = splitExtensions(block);
  const read = <T>(type: number, reading: (data: Reader) => T, absent: T): T => {
    const data = found.get(type);
    if (!data) return absent;
    const reader = new Reader(data, type);
    const value = reading(reader);
    reader.end();
    return value;
  };
  const { serverName, serverAddress } = read(EXTENSIONS.server_name, readServerName, {
    serverName: undefined,
    serverAddress: undefined,
  });
  return {
    extensions: [...found.keys()].filter((type) => !isGrease(type)),
    serverName,
    serverAddress,
    statusRequest: read(EXTENSIONS.status_request, readStatusRequest, false),
    supportedGroups: read(EXTENSIONS.supported_groups, readList16, NONE),
    ecPointFormats: read(EXTENSIONS.ec_point_formats, (data) => [...data.vector8(1)], []),
    signatureAlgorithms: read(EXTENSIONS.signature_algorithms, readList16, NONE),
    certificateSignatures: read<readonly number[] | undefined>(
      EXTENSIONS.signature_algorithms_cert,
      readList16,
      undefined,
    ),
    alpnProtocols: read(EXTENSIONS.application_layer_protocol_negotiation, readAlpn, []),
    sessionTicket: read(EXTENSIONS.session_ticket, readSessionTicket, undefined),
    pskIdentity: read<Buffer | undefined>(EXTENSIONS.pre_shared_key, readPskIdentity, undefined),
    earlyData: found.has(EXTENSIONS.early_data),
    offeredVersions: read<readonly number[] | undefined>(EXTENSIONS.supported_versions, readVersions, undefined),
    keyShareGroups: read(EXTENSIONS.key_share, readKeyShare, NONE),
    ech: read<Extensions["ech"]>(EXTENSIONS.encrypted_client_hello, readEch, undefined),
  };
}

const NONE = sameList([]);

const KNOWN: ReadonlySet<number> = new Set<number>(Object.values(EXTENSIONS));

function splitExtensions(block: Uint8Array): Map<number, Buffer> {
  const reader = new Reader(block, "the extensions of the ClientHello");
  const found = new Map<number, Buffer>();
  while (reader.remaining > 0) {
    const type = reader.u16();
    // RFC 8446, section 4.2: not more than one extension of the same type. Servers read past those that they do not know.
    if (found.has(type) && KNOWN.has(type)) {
      throw new PeerError(`Cannot read the ClientHello: extension ${type} appears twice`, ALERTS.illegal_parameter);
    }
    found.set(type, reader.vector16());
  }
  return found;
}

/** RFC 6066, section 8: the type ocsp(1), then hints for the responder, which are not read. */
function readStatusRequest(data: Reader): boolean {
  const ocsp = data.u8() === 1;
  data.take(data.remaining);
  return ocsp;
}

/** The form of supported_groups (section 4.2.7) and signature_algorithms (section 4.2.3): one list of two-byte values. */
function readList16(data: Reader): readonly number[] {
  return readList(data.vector16(2), "a list in the ClientHello");
}

/** RFC 8446, section 4.2.1. */
function readVersions(data: Reader): readonly number[] {
  return readList(data.vector8(2), "supported_versions");
}

/** RFC 8446, section 4.2.8. An empty list asks for a HelloRetryRequest. */
function readKeyShare(data: Reader): readonly number[] {
  const shares = new Reader(data.vector16(), "key_share");
  const groups: number[] = [];
  while (shares.remaining > 0) {
    groups.push(shares.u16());
    shares.vector16(1);
  }
  return sameList(groups.filter((group) => !isGrease(group)));
}

/** RFC 7301, section 3.1. GREASE protocol names are two bytes long (RFC 8701). */
function readAlpn(data: Reader): string[] {
  const names = new Reader(data.vector16(2), "the ALPN list");
  const protocols: Buffer[] = [];
  while (names.remaining > 0) protocols.push(names.vector8(1));
  return protocols
    .filter((name) => name.length !== 2 || !isGrease(name.readUInt16BE()))
    .map((name) => name.toString("latin1"));
}

/** RFC 5077, section 3.2: the whole extension is the ticket; an empty one says that the client accepts tickets. */
function readSessionTicket(data: Reader): Buffer | undefined {
  const ticket = Buffer.from(data.take(data.remaining));
  return ticket.length > 0 ? ticket : undefined;
}

/** RFC 8446, section 4.2.11: only the first identity; OpenSSL reads the rest. */
function readPskIdentity(data: Reader): Buffer {
  const identity = Buffer.from(new Reader(data.vector16(7), "the PSK identities").vector16(1));
  data.take(data.remaining);
  return identity;
}

/**
 * RFC 9849, section 5. The payload of an outer hello is encrypted for the server. The node does not take part in ECH, so another
 * form, such as that of a draft, is no error of the client's; it may hide a name just as well.
 */
function readEch(data: Reader): "outer" | "inner" {
  const [type] = data.take(data.remaining);
  return type === 1 ? "inner" : "outer";
}
