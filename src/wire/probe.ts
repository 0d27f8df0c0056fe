import { InvariantError } from "../errors.ts";
import { VERSIONS } from "../vocabulary.ts";
import { CONTENT_TYPES, EXTENSIONS, HANDSHAKE_TYPES, SIGNALLING_SUITES } from "./numbers.ts";
import { record } from "./record.ts";
import { u8, u16, u16s, vector8, vector16, vector24 } from "./writer.ts";

/** What a probe offers. Lists are in order of preference; an empty list leaves its extension out. */
export interface Probe {
  /** TLS 1.2 at most: in TLS 1.3 the server's flight is encrypted, so a probe would learn nothing. */
  readonly maxVersion: number;
  readonly suites: readonly number[];
  readonly groups: readonly number[];
  readonly signatureAlgorithms: readonly number[];
  /** A host name; never an address (RFC 6066, section 3). */
  readonly serverName: string | undefined;
  readonly alpn: readonly string[];
  /** 32 bytes, fresh for each probe. */
  readonly random: Uint8Array;
}

/**
 * Writes a ClientHello of TLS 1.2 or below (RFC 5246, section 7.4.1.2) in one record. It makes a server send its first
 * flight, which `createServerFlightReader` reads; the handshake goes no further.
 */
export function writeProbe(probe: Probe): Buffer {
  if (probe.maxVersion > VERSIONS["TLSv1.2"] || probe.random.length !== 32) {
    throw new InvariantError("Cannot write a probe: it needs TLS 1.2 or below and 32 bytes of random");
  }
  const body = Buffer.concat([
    u16(probe.maxVersion),
    probe.random,
    vector8(),
    // RFC 5746, section 3.3: servers may refuse a hello that does not signal secure renegotiation.
    vector16(u16s([...probe.suites, SIGNALLING_SUITES.empty_renegotiation_info])),
    vector8(u8(0)),
    vector16(...extensionsOf(probe)),
  ]);
  const message = Buffer.concat([u8(HANDSHAKE_TYPES.client_hello), vector24(body)]);
  // RFC 5246, appendix E.1: for old servers the first record says TLS 1.0, or SSL 3.0 when that is the highest version.
  return record(CONTENT_TYPES.handshake, Math.min(probe.maxVersion, VERSIONS.TLSv1), message);
}

function extensionsOf(probe: Probe): Buffer[] {
  const extensions: Buffer[] = [];
  const add = (type: number, data: Buffer): number => extensions.push(u16(type), vector16(data));
  if (probe.serverName !== undefined)
    add(EXTENSIONS.server_name, vector16(u8(0), vector16(Buffer.from(probe.serverName, "ascii"))));
  if (probe.groups.length > 0) {
    add(EXTENSIONS.supported_groups, vector16(u16s(probe.groups)));
    add(EXTENSIONS.ec_point_formats, vector8(u8(0)));
  }
  // RFC 5246, section 7.4.1.4.1: it has no meaning below TLS 1.2.
  if (probe.signatureAlgorithms.length > 0 && probe.maxVersion === VERSIONS["TLSv1.2"]) {
    add(EXTENSIONS.signature_algorithms, vector16(u16s(probe.signatureAlgorithms)));
  }
  if (probe.alpn.length > 0)
    add(
      EXTENSIONS.application_layer_protocol_negotiation,
      vector16(...probe.alpn.map((name) => vector8(Buffer.from(name, "latin1")))),
    );
  // RFC 7627: some servers require it.
  add(EXTENSIONS.extended_master_secret, Buffer.alloc(0));
  return extensions;
}
