import { PeerError } from "../errors.ts";
import { ALERTS } from "./alert.ts";
import { HandshakeStream } from "./handshake.ts";
import { Reader } from "./reader.ts";
import { CONTENT_TYPES, HANDSHAKE_TYPES, VERSIONS } from "./record.ts";

/** A ServerHello: RFC 8446, section 4.1.3, and RFC 5246, section 7.4.1.3. */
export interface ServerHello {
  /** What was negotiated: supported_versions where the server sent it, legacy_version otherwise. */
  readonly version: number;
  readonly cipherSuite: number;
  /** Types in the order they stand. */
  readonly extensions: readonly number[];
}

export type ServerFlight =
  | { readonly kind: "more" }
  /** These bytes are not TLS. */
  | { readonly kind: "no" }
  /** The server refused, with this alert. */
  | { readonly kind: "alert"; readonly description: number }
  /** The flight is over: ServerHelloDone, the switch to encryption of a resumed session, or a ServerHello of TLS 1.3. */
  | {
      readonly kind: "flight";
      readonly hello: ServerHello;
      /** Handshake types behind the ServerHello, in order. Empty in TLS 1.3, which encrypts them. */
      readonly messages: readonly number[];
      /** A CertificateRequest was among them. Never true in TLS 1.3. */
      readonly certificateRequested: boolean;
    };

/**
 * Reads the plaintext of a server's first flight as it comes, in pieces of any size. An answer other than "more" is
 * final: later pushes repeat it.
 */
export interface ServerFlightReader {
  /** Throws PeerError when the bytes claim to be a flight and break its format or the limit. */
  push(bytes: Uint8Array): ServerFlight;
}

/** The largest flight, in bytes: certificate chains and lists of authorities have been seen above 64 KiB. */
const MAX_FLIGHT = 0x40000;
const WARNING = 1;
const MORE: ServerFlight = { kind: "more" };

export function createServerFlightReader(): ServerFlightReader {
  const stream = new HandshakeStream({ message: MAX_FLIGHT, total: MAX_FLIGHT });
  const messages: number[] = [];
  let hello: ServerHello | undefined;
  let seen = 0;
  let final: ServerFlight | PeerError | undefined;

  const over = (read: ServerHello): ServerFlight => {
    return { kind: "flight", hello: read, messages, certificateRequested: messages.includes(CERTIFICATE_REQUEST) };
  };

  const onMessage = (type: number, body: Buffer): ServerFlight => {
    if (hello) {
      messages.push(type);
      return type === HANDSHAKE_TYPES.server_hello_done ? over(hello) : MORE;
    }
    // RFC 5246, section 7.4.1.1: a HelloRequest means nothing to a client that is in its handshake.
    if (type === HANDSHAKE_TYPES.hello_request) return MORE;
    if (type !== HANDSHAKE_TYPES.server_hello) throw unexpected(`a handshake message of type ${type}`);
    hello = readServerHello(body);
    return hello.version >= VERSIONS["TLSv1.3"] ? over(hello) : MORE;
  };

  const advance = (): ServerFlight => {
    for (;;) {
      const step = stream.next();
      if (step.kind === "more") return MORE;
      if (step.kind === "alert") {
        // Warnings, of unrecognized_name say, do not end a handshake (RFC 6066, section 3); close_notify does.
        if (step.level === WARNING && step.description !== ALERTS.close_notify) continue;
        return { kind: "alert", description: step.description };
      }
      if (step.kind === "other") {
        if (hello && step.contentType === CONTENT_TYPES.change_cipher_spec) return over(hello);
        throw unexpected(`a record of type ${step.contentType}`);
      }
      const flight = onMessage(step.type, step.body);
      if (flight.kind !== "more") return flight;
    }
  };

  return {
    push(bytes) {
      if (final instanceof PeerError) throw final;
      if (final || bytes.length === 0) return final ?? MORE;
      try {
        const plausible = isPlausible(bytes, seen);
        seen = Math.min(2, seen + bytes.length);
        if (plausible) stream.push(bytes);
        const flight = plausible ? advance() : NO;
        if (flight.kind !== "more") final = flight;
        return flight;
      } catch (error) {
        if (error instanceof PeerError) final = error;
        throw error;
      }
    },
  };
}

const NO: ServerFlight = { kind: "no" };
const CERTIFICATE_REQUEST = HANDSHAKE_TYPES.certificate_request;

/** A flight begins with a handshake or an alert record of version 3.x. `seen` bytes were judged before. */
function isPlausible(bytes: Uint8Array, seen: number): boolean {
  const [type, major] = seen === 0 ? bytes : [undefined, seen === 1 ? bytes[0] : undefined];
  if (type !== undefined && type !== CONTENT_TYPES.handshake && type !== CONTENT_TYPES.alert) return false;
  return major === undefined || major === 3;
}

function unexpected(what: string): PeerError {
  return new PeerError(`Cannot read the server's first flight: it has ${what}`, ALERTS.unexpected_message);
}

/** Reads the body of one ServerHello message, without its 4-byte header. Throws PeerError. */
export function readServerHello(body: Uint8Array): ServerHello {
  const reader = new Reader(body, "the ServerHello");
  const legacyVersion = reader.u16();
  reader.take(32);
  if (reader.vector8().length > 32) {
    throw new PeerError("Cannot read the ServerHello: its session ID exceeds 32 bytes", ALERTS.decode_error);
  }
  const cipherSuite = reader.u16();
  reader.u8();
  const block = new Reader(reader.remaining > 0 ? reader.vector16() : Buffer.alloc(0), "the ServerHello's extensions");
  reader.end();
  const found = new Map<number, Buffer>();
  while (block.remaining > 0) {
    const type = block.u16();
    if (found.has(type)) {
      throw new PeerError(`Cannot read the ServerHello: extension ${type} stands twice`, ALERTS.illegal_parameter);
    }
    found.set(type, block.vector16());
  }
  return { version: selectedVersion(found) ?? legacyVersion, cipherSuite, extensions: [...found.keys()] };
}

/** supported_versions of a ServerHello is one version: RFC 8446, section 4.2.1. */
function selectedVersion(extensions: ReadonlyMap<number, Buffer>): number | undefined {
  const data = extensions.get(43);
  if (!data) return undefined;
  const reader = new Reader(data, "supported_versions of the ServerHello");
  const version = reader.u16();
  reader.end();
  return version;
}
