import { InvariantError } from "../src/errors.ts";
import { VERSIONS } from "../src/vocabulary.ts";
import { CONTENT_TYPES, EXTENSIONS, HANDSHAKE_TYPES, SIGNALLING_SUITES } from "../src/wire/numbers.ts";
import { record } from "../src/wire/record.ts";
import { u8, u16, u16s, vector8, vector16, vector24 } from "../src/wire/writer.ts";

/** What the hello offers. Lists are in order of preference; an empty list leaves its extension out. */
export interface HelloOffer {
  /** TLS 1.2 at most. */
  readonly maxVersion: number;
  readonly suites: readonly number[];
  readonly groups: readonly number[];
  readonly signatureAlgorithms: readonly number[];
  /** A host name; never an address (RFC 6066, section 3). */
  readonly serverName: string | undefined;
  readonly alpn: readonly string[];
  /** 32 bytes. */
  readonly random: Uint8Array;
}

/** Writes a ClientHello of TLS 1.2 or below (RFC 5246, section 7.4.1.2) in one record, for clients that OpenSSL cannot play. */
export function writeHello(offer: HelloOffer): Buffer {
  if (offer.maxVersion > VERSIONS["TLSv1.2"] || offer.random.length !== 32) {
    throw new InvariantError("Cannot write a hello: it needs TLS 1.2 or below and 32 bytes of random");
  }
  const body = Buffer.concat([
    u16(offer.maxVersion),
    offer.random,
    vector8(),
    // RFC 5746, section 3.3: servers may refuse a hello that does not signal secure renegotiation.
    vector16(u16s([...offer.suites, SIGNALLING_SUITES.empty_renegotiation_info])),
    vector8(u8(0)),
    vector16(...extensionsOf(offer)),
  ]);
  const message = Buffer.concat([u8(HANDSHAKE_TYPES.client_hello), vector24(body)]);
  // RFC 5246, appendix E.1: for old servers the first record says TLS 1.0, or SSL 3.0 when that is the highest version.
  return record(CONTENT_TYPES.handshake, Math.min(offer.maxVersion, VERSIONS.TLSv1), message);
}

function extensionsOf(offer: HelloOffer): Buffer[] {
  const extensions: Buffer[] = [];
  const add = (type: number, data: Buffer): number => extensions.push(u16(type), vector16(data));
  if (offer.serverName !== undefined)
    add(EXTENSIONS.server_name, vector16(u8(0), vector16(Buffer.from(offer.serverName, "ascii"))));
  if (offer.groups.length > 0) {
    add(EXTENSIONS.supported_groups, vector16(u16s(offer.groups)));
    add(EXTENSIONS.ec_point_formats, vector8(u8(0)));
  }
  // RFC 5246, section 7.4.1.4.1: it has no meaning below TLS 1.2.
  if (offer.signatureAlgorithms.length > 0 && offer.maxVersion === VERSIONS["TLSv1.2"]) {
    add(EXTENSIONS.signature_algorithms, vector16(u16s(offer.signatureAlgorithms)));
  }
  if (offer.alpn.length > 0)
    add(
      EXTENSIONS.application_layer_protocol_negotiation,
      vector16(...offer.alpn.map((name) => vector8(Buffer.from(name, "latin1")))),
    );
  // RFC 7627: some servers require it.
  add(EXTENSIONS.extended_master_secret, Buffer.alloc(0));
  return extensions;
}
