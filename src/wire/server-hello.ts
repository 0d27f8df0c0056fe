import { EXTENSIONS } from "./numbers.ts";
import { Reader } from "./reader.ts";

/** What a ServerHello says about how the handshake goes on: RFC 8446, section 4.1.3. */
export interface ServerHello {
  /** The version that the server chose, and that of the field before supported_versions. */
  readonly version: number;
  readonly legacyVersion: number;
  /** It is a HelloRetryRequest (section 4.1.4): the client sends a second ClientHello. */
  readonly retry: boolean;
  readonly suite: number;
  /** In the server's order. */
  readonly extensions: readonly number[];
  /** The group of key_share (section 4.2.8); undefined: it has none, as before TLS 1.3. */
  readonly group: number | undefined;
  /** The server took a pre-shared key of the client's (section 4.2.11). */
  readonly preShared: boolean;
}

/** SHA-256 of "HelloRetryRequest", in place of the random. */
const RETRY = Buffer.from("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c", "hex");

/** Reads the body of a ServerHello message, without its 4-byte header. Throws PeerError. */
export function readServerHello(body: Uint8Array): ServerHello {
  const reader = new Reader(body, "the ServerHello");
  const legacyVersion = reader.u16();
  const retry = RETRY.equals(reader.take(32));
  reader.vector8();
  const suite = reader.u16();
  // The compression method.
  reader.take(1);
  // Before RFC 3546 there is no extensions block.
  const extensions = new Reader(reader.remaining > 0 ? reader.vector16() : Buffer.alloc(0), "the ServerHello");
  let version = legacyVersion;
  let group: number | undefined;
  let preShared = false;
  const types: number[] = [];
  while (extensions.remaining > 0) {
    const type = extensions.u16();
    types.push(type);
    const data = new Reader(extensions.vector16(), `extension ${type} of the ServerHello`);
    if (type === EXTENSIONS.supported_versions) version = data.u16();
    if (type === EXTENSIONS.key_share) group = data.u16();
    preShared ||= type === EXTENSIONS.pre_shared_key;
  }
  return { version, legacyVersion, retry, suite, extensions: types, group, preShared };
}
