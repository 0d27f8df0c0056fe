import { PeerError } from "../errors.ts";
import { EXTENSIONS, HANDSHAKE_TYPES } from "./numbers.ts";
import { Reader } from "./reader.ts";
import { HANDSHAKE_HEADER } from "./record.ts";

/**
 * Extensions that OpenSSL checks itself, in every message. It passes over all others: the node never offers them, so a server must not
 * send them (RFC 5246, section 7.4.1.4; RFC 8446, section 4.2).
 */
const KNOWN_TO_OPENSSL: ReadonlySet<number> = new Set([
  // From server_name to compress_certificate.
  ...[0, 1, 5, 10, 11, 12, 13, 14, 16, 18, 19, 20, 21, 22, 23, 27],
  // From session_ticket to key_share.
  ...[35, 41, 42, 43, 44, 45, 47, 49, 50, 51],
  // next_protocol_negotiation, CryptoPro's, renegotiation_info.
  ...[0x3374, 0xfde8, 0xff01],
]);

/** A number for private use. The engine has OpenSSL refuse it, in the place of any unknown one. */
export const REFUSED_EXTENSION = 0xffff;

/** What was found in a message of the server's. */
export interface ExtensionSearch {
  /** An extension that was not offered: where its number stands in the message. */
  readonly unknown: { readonly type: number; readonly at: number } | undefined;
  /** More messages with extensions follow: they are TLS 1.3's. */
  readonly goesOn: boolean;
}

/**
 * Searches a handshake message of a server's, with its header, as OpenSSL has it. In a message that cannot be read nothing is found:
 * OpenSSL says what is wrong with it. Clients ignore unknown extensions of CertificateRequest and NewSessionTicket.
 */
export function searchExtensions(message: Buffer): ExtensionSearch {
  const type = message[0];
  const goesOn = type !== HANDSHAKE_TYPES.certificate;
  const found: ExtensionAt[] = [];
  try {
    const reader = new Reader(message.subarray(HANDSHAKE_HEADER), "a message of the server's");
    if (type === HANDSHAKE_TYPES.server_hello) readHello(reader, found);
    else if (type === HANDSHAKE_TYPES.encrypted_extensions) readBlock(reader, found);
    else if (type === HANDSHAKE_TYPES.certificate) readEntries(reader, found);
  } catch (error) {
    if (!(error instanceof PeerError)) throw error;
    return { unknown: undefined, goesOn };
  }
  const unknown = found.filter((one) => !KNOWN_TO_OPENSSL.has(one.type));
  const first = unknown.find((one) => one.type === REFUSED_EXTENSION) ?? unknown[0];
  const at = first && first.body.byteOffset - message.byteOffset - 4;
  const isOld =
    type === HANDSHAKE_TYPES.server_hello && !found.some((one) => one.type === EXTENSIONS.supported_versions);
  return { unknown: first && { type: first.type, at: at! }, goesOn: goesOn && !isOld };
}

interface ExtensionAt {
  readonly type: number;
  /** A view of the message. */
  readonly body: Buffer;
}

/** RFC 8446, section 4.1.3: the version, the random, the session ID, the suite, the compression method. */
function readHello(reader: Reader, found: ExtensionAt[]): void {
  reader.take(34);
  reader.vector8();
  reader.take(3);
  if (reader.remaining > 0) readBlock(reader, found);
}

function readBlock(reader: Reader, found: ExtensionAt[]): void {
  const block = new Reader(reader.vector16(), "a block of extensions");
  while (block.remaining > 0) found.push({ type: block.u16(), body: block.vector16() });
}

/** RFC 8446, section 4.4.2: the context, and the certificates, each with its extensions. */
function readEntries(reader: Reader, found: ExtensionAt[]): void {
  reader.vector8();
  const list = new Reader(reader.vector24(), "a list of certificates");
  while (list.remaining > 0) {
    list.vector24();
    readBlock(list, found);
  }
}
