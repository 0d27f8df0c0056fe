import { ALERTS } from "../wire/alert.ts";
import { CONTENT_TYPES, HANDSHAKE_TYPES } from "../wire/numbers.ts";
import { HANDSHAKE_HEADER } from "../wire/record.ts";
import { REFUSED_EXTENSION } from "../wire/unknown-extension.ts";
import { addressOf, callback, copyFrom, crypto, libc, memory, ssl } from "./native.ts";

/**
 * What OpenSSL calls back in the middle of a call of ours. A callback records, or answers with what was prepared before the
 * call; it frees nothing and starts nothing. One layer is at work at any time, because every call is synchronous.
 */

/** What a layer records and answers. */
export interface Listener {
  /** Makes the call. */
  callOpenssl(): number;
  /** A fatal alert or close_notify passed. */
  onAlert(direction: "received" | "sent", description: number): void;
  /** A session that can be resumed later: a secret. OpenSSL's during the call. */
  onSession(session: number): void;
  /** One line of the NSS key log format, without its end. A secret. */
  onKey(line: string): void;
  /** A message of the handshake has begun to come: during the handshake, and after it. */
  onStep(): void;
  /**
   * A message of the server's, with its header, before OpenSSL reads it. Answers where in it the number of an extension stands that is to
   * be refused; -1: nowhere, and undefined: no message is wanted now.
   */
  onMessage(message: () => Buffer): number | undefined;
  /** A record of the peer's begins, where messages of the handshake are expected. */
  onRecord(): void;
  /** A HelloRequest of the server's in the middle of the handshake, which OpenSSL passes over. */
  onHelloRequest(): void;
  /** A server's group of Diffie-Hellman over integers, before it is computed with. False: it is refused. */
  takesGroup(bits: number): boolean;
  /** The server asks for a client certificate. False: it is answered with none; true: the handshake pauses first. */
  pausesForCertificate(): boolean;
  /** A client's hello names this host; null: none. False: it must not. */
  allowsName(name: string | null): boolean;
  /** What this server end chooses of the client's protocols, as on the wire without the length; undefined: it ignores the extension. */
  readonly alpn: Buffer | undefined;
  /** The OCSP response for the certificate that this server end has chosen; undefined: it has none. */
  readonly stapled: Buffer | undefined;
  /** The session that a client may resume, as DER; undefined: it is not known. */
  readonly resumable: Buffer | undefined;
}

/** The layer whose call into OpenSSL is under way. */
let acting: Listener | undefined;

/** Has this layer make its call. */
export function actFor(listener: Listener): number {
  acting = listener;
  const result = listener.callOpenssl();
  acting = undefined;
  return result;
}

/** SSL_CB_CONNECT_LOOP and SSL_CB_ACCEPT_LOOP. */
const [CONNECT_LOOP, ACCEPT_LOOP] = [0x1001, 0x2001];
const SSL_CB_READ_ALERT = 0x4004;
const SSL_CB_WRITE_ALERT = 0x4008;
const SSL3_RT_HEADER = 0x100;
const SSL_TLSEXT_ERR_OK = 0;
const SSL_TLSEXT_ERR_ALERT_FATAL = 2;
const SSL_TLSEXT_ERR_NOACK = 3;

const TLSEXT_NAMETYPE_host_name = 0;
/** SSL_CTRL_*, of ssl.h. */
const SET_TLSEXT_STATUS_REQ_OCSP_RESP = 71;

const word = memory(8);
const alert = memory(4);
const refused = memory(2);
refused.writeUInt16BE(REFUSED_EXTENSION);

export const callbacks = {
  info: callback("info", "void", ["uintptr_t", "int", "int"], 0, (_ssl, where, value) => {
    if (where === CONNECT_LOOP || where === ACCEPT_LOOP) acting?.onStep();
    else if (where === SSL_CB_READ_ALERT) acting?.onAlert("received", value & 0xff);
    else if (where === SSL_CB_WRITE_ALERT) acting?.onAlert("sent", value & 0xff);
    return 0;
  }),

  /**
   * The peer's records, and of a server the messages before OpenSSL reads them: HelloRequests, those with extensions, and where the suite
   * is one of DHE a ServerKeyExchange with integers. The layer removes it when it has seen enough.
   */
  message: callback(
    "message",
    "void",
    ["int", "int", "int", "uintptr_t", "size_t", "uintptr_t", "uintptr_t"],
    0,
    (written, _version, contentType, at, length, own) => {
      if (written !== 0 || !acting) return 0;
      if (contentType === SSL3_RT_HEADER) acting.onRecord();
      if (contentType !== CONTENT_TYPES.handshake) return 0;
      if (length === HANDSHAKE_HEADER && copyFrom(at!, 1)[0] === HANDSHAKE_TYPES.hello_request) {
        acting.onHelloRequest();
        return 0;
      }
      const unknown = acting.onMessage(() => copyFrom(at!, length!));
      // OpenSSL passes over an extension that it does not know. It refuses this one, with the alert that belongs to it.
      if (unknown !== undefined && unknown >= 0) libc.memcpy(at! + unknown, addressOf(refused), refused.length);
      if (unknown !== undefined) return 0;
      const bits = groupBits(at!, length!);
      // Before OpenSSL computes with a group it asks whether it is strong enough, and for level 5 none is.
      if (bits !== undefined && !acting.takesGroup(bits)) ssl.set_security_level(own!, HIGHEST_LEVEL);
      return 0;
    },
  ),

  selectAlpn: callback(
    "select_alpn",
    "int",
    ["uintptr_t", "uintptr_t", "uintptr_t", "uintptr_t", "unsigned int", "uintptr_t"],
    SSL_TLSEXT_ERR_NOACK,
    (_ssl, out, outLength) => {
      const chosen = acting?.alpn;
      if (!chosen) return SSL_TLSEXT_ERR_NOACK;
      // OpenSSL copies it when this callback has returned; the layer keeps the memory.
      word.writeBigUInt64LE(BigInt(addressOf(chosen)));
      libc.memcpy(out!, addressOf(word), 8);
      word[0] = chosen.length;
      libc.memcpy(outLength!, addressOf(word), 1);
      return SSL_TLSEXT_ERR_OK;
    },
  ),

  serverName: callback(
    "server_name",
    "int",
    ["uintptr_t", "uintptr_t", "uintptr_t"],
    SSL_TLSEXT_ERR_ALERT_FATAL,
    (connection, description) => {
      if (!acting || acting.allowsName(ssl.get_servername(connection!, TLSEXT_NAMETYPE_host_name)))
        return SSL_TLSEXT_ERR_NOACK;
      alert.writeInt32LE(ALERTS.illegal_parameter);
      libc.memcpy(description!, addressOf(alert), alert.length);
      return SSL_TLSEXT_ERR_ALERT_FATAL;
    },
  ),

  /** The server has sent the extension that stands for all unknown ones. */
  refusedExtension: callback(
    "refused_extension",
    "int",
    [
      "uintptr_t",
      "unsigned int",
      "unsigned int",
      "uintptr_t",
      "size_t",
      "uintptr_t",
      "size_t",
      "uintptr_t",
      "uintptr_t",
    ],
    0,
    (_ssl, _type, _context, _data, _length, _certificate, _index, description) => {
      alert.writeInt32LE(ALERTS.unsupported_extension);
      libc.memcpy(description!, addressOf(alert), alert.length);
      return 0;
    },
  ),

  /** The client asks for the status of the certificate that has just been chosen. */
  status: callback("status", "int", ["uintptr_t", "uintptr_t"], SSL_TLSEXT_ERR_NOACK, (connection) => {
    const response = acting?.stapled;
    if (!response) return SSL_TLSEXT_ERR_NOACK;
    // The copy becomes OpenSSL's.
    const copy = crypto.memdup(response, response.length, "", 0);
    ssl.ctrl(connection!, SET_TLSEXT_STATUS_REQ_OCSP_RESP, response.length, copy);
    return SSL_TLSEXT_ERR_OK;
  }),

  clientCertificate: callback("client_certificate", "int", ["uintptr_t", "uintptr_t", "uintptr_t"], 0, () =>
    acting?.pausesForCertificate() ? -1 : 0,
  ),

  newSession: callback("new_session", "int", ["uintptr_t", "uintptr_t"], 0, (_ssl, session) => {
    acting?.onSession(session!);
    // The reference stays OpenSSL's.
    return 0;
  }),

  findSession: callback(
    "find_session",
    "uintptr_t",
    ["uintptr_t", "uintptr_t", "int", "uintptr_t"],
    0,
    (_ssl, _id, _length, copy) => {
      const session = acting?.resumable;
      if (!session) return 0;
      // The reference that d2i_SSL_SESSION made becomes OpenSSL's.
      word.fill(0);
      libc.memcpy(copy!, addressOf(word), 4);
      return decode(session);
    },
  ),

  keyLog: callback("key_log", "void", ["uintptr_t", "const char *"], 0, (_ssl, line) => {
    acting?.onKey(line as unknown as string);
    return 0;
  }),
} as const;

/** 256 bits of security: more than a group of 10,000 bits has, which is the largest that OpenSSL takes. */
const HIGHEST_LEVEL = 5;
/** Type, length, and the length of the first number. */
const BEFORE_PRIME = 6;

/** The length of the prime in a ServerKeyExchange of DHE (RFC 5246, section 7.4.3); undefined: it is another message, or cut short. */
function groupBits(at: number, length: number): number | undefined {
  if (length < BEFORE_PRIME) return undefined;
  const head = copyFrom(at, BEFORE_PRIME);
  if (head[0] !== HANDSHAKE_TYPES.server_key_exchange) return undefined;
  const prime = copyFrom(at + BEFORE_PRIME, Math.min(head.readUInt16BE(4), length - BEFORE_PRIME));
  const zeros = prime.findIndex((byte) => byte !== 0);
  return zeros < 0 ? 0 : 8 * (prime.length - zeros) - (Math.clz32(prime[zeros]!) - 24);
}

/** An SSL_SESSION from its DER; 0: it cannot be read. The caller owns it. */
export function decode(der: Buffer): number {
  const bytes = memory(der.length);
  der.copy(bytes);
  const cursor = memory(8);
  cursor.writeBigUInt64LE(BigInt(addressOf(bytes)));
  const session = ssl.d2i_SESSION(0, cursor, bytes.length);
  bytes.fill(0);
  return session;
}

/** An SSL_SESSION as DER. */
export function encode(session: number): Buffer {
  const bytes = memory(ssl.i2d_SESSION(session, null));
  const cursor = memory(8);
  cursor.writeBigUInt64LE(BigInt(addressOf(bytes)));
  ssl.i2d_SESSION(session, cursor);
  return bytes;
}

/** What a client brings below TLS 1.3. */
export function identifierOf(session: number): Buffer {
  const length = memory(4);
  const at = ssl.SESSION_get_id(session, length);
  const bytes = length.readUInt32LE();
  return bytes === 0 ? Buffer.alloc(0) : copyFrom(at, bytes);
}
