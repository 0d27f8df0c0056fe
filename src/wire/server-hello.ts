import { PeerError } from "../errors.ts";
import { VERSIONS } from "../vocabulary.ts";
import { ALERTS } from "./alert.ts";
import { finalAnswer } from "./final-answer.ts";
import { type HandshakeStep, HandshakeStream } from "./handshake.ts";
import { CONTENT_TYPES, EXTENSIONS, HANDSHAKE_TYPES } from "./numbers.ts";
import { Reader } from "./reader.ts";

/** A ServerHello: RFC 8446, section 4.1.3, and RFC 5246, section 7.4.1.3. */
interface ServerHello {
  /** The negotiated version: supported_versions when the server sent it, legacy_version otherwise. */
  readonly version: number;
  readonly cipherSuite: number;
  /** Extension types in the server's order. */
  readonly extensions: readonly number[];
}

export type ServerFlight =
  | { readonly kind: "more" }
  /** These bytes are not TLS. */
  | { readonly kind: "no" }
  /** The server refused, with this alert. */
  | { readonly kind: "alert"; readonly description: number }
  /** The flight ends with ServerHelloDone, the ChangeCipherSpec of a resumed session, or a ServerHello of TLS 1.3. */
  | {
      readonly kind: "flight";
      readonly hello: ServerHello;
      /** Handshake types after the ServerHello, in order. Empty in TLS 1.3, which encrypts them. */
      readonly messages: readonly number[];
      /** Whether a CertificateRequest was among them. Never true in TLS 1.3. */
      readonly certificateRequested: boolean;
    };

/**
 * Reads the plaintext of a server's first flight, in pieces of any size. An answer other than "more" is final: later
 * pushes repeat it.
 */
export interface ServerFlightReader {
  /** Throws PeerError when the bytes begin like a flight and then break its format or the limit. */
  push(bytes: Uint8Array): ServerFlight;
}

/** The largest flight, in bytes. Certificate chains and lists of authorities above 64 KiB exist. */
const MAX_FLIGHT = 0x40000;
const WARNING = 1;

export function createServerFlightReader(): ServerFlightReader {
  const flight = new Flight();
  return { push: finalAnswer((bytes) => flight.read(bytes)) };
}

class Flight {
  readonly #stream = new HandshakeStream({
    first: [CONTENT_TYPES.handshake, CONTENT_TYPES.alert],
    message: MAX_FLIGHT,
    total: MAX_FLIGHT,
  });
  readonly #messages: number[] = [];
  #hello: ServerHello | undefined;

  read(bytes: Uint8Array): ServerFlight {
    this.#stream.push(bytes);
    for (;;) {
      const step = this.#stream.next();
      if (step.kind === "more" || step.kind === "no") return step;
      const answer = this.#onStep(step);
      if (answer) return answer;
    }
  }

  #onStep(step: Exclude<HandshakeStep, { kind: "more" | "no" }>): ServerFlight | undefined {
    if (step.kind === "message") return this.#onMessage(step.type, step.body);
    if (step.kind === "alert") {
      // A warning such as unrecognized_name does not end a handshake (RFC 6066, section 3); close_notify does.
      const goesOn = step.level === WARNING && step.description !== ALERTS.close_notify;
      return goesOn ? undefined : { kind: "alert", description: step.description };
    }
    if (this.#hello && step.contentType === CONTENT_TYPES.change_cipher_spec) return this.#over(this.#hello);
    throw unexpected(`a record of type ${step.contentType}`);
  }

  #onMessage(type: number, body: Buffer): ServerFlight | undefined {
    if (this.#hello) {
      this.#messages.push(type);
      return type === HANDSHAKE_TYPES.server_hello_done ? this.#over(this.#hello) : undefined;
    }
    // RFC 5246, section 7.4.1.1: a client ignores a HelloRequest during a handshake.
    if (type === HANDSHAKE_TYPES.hello_request) return undefined;
    if (type !== HANDSHAKE_TYPES.server_hello) throw unexpected(`a handshake message of type ${type}`);
    this.#hello = readServerHello(body);
    return this.#hello.version >= VERSIONS["TLSv1.3"] ? this.#over(this.#hello) : undefined;
  }

  #over(hello: ServerHello): ServerFlight {
    const certificateRequested = this.#messages.includes(HANDSHAKE_TYPES.certificate_request);
    return { kind: "flight", hello, messages: this.#messages, certificateRequested };
  }
}

function unexpected(what: string): PeerError {
  return new PeerError(`Cannot read the server's first flight: ${what} was not expected`, ALERTS.unexpected_message);
}

/** Reads the body of one ServerHello message, without its 4-byte header. Throws PeerError. */
function readServerHello(body: Uint8Array): ServerHello {
  const reader = new Reader(body, "the ServerHello");
  const legacyVersion = reader.u16();
  reader.take(32);
  if (reader.vector8().length > 32) {
    throw new PeerError("Cannot read the ServerHello: its session ID is longer than 32 bytes", ALERTS.decode_error);
  }
  const cipherSuite = reader.u16();
  reader.u8();
  const block = new Reader(reader.remaining > 0 ? reader.vector16() : Buffer.alloc(0), "the ServerHello's extensions");
  reader.end();
  const found = new Map<number, Buffer>();
  while (block.remaining > 0) {
    const type = block.u16();
    if (found.has(type)) {
      throw new PeerError(`Cannot read the ServerHello: extension ${type} appears twice`, ALERTS.illegal_parameter);
    }
    found.set(type, block.vector16());
  }
  return { version: selectedVersion(found) ?? legacyVersion, cipherSuite, extensions: [...found.keys()] };
}

/** In a ServerHello, supported_versions is one version: RFC 8446, section 4.2.1. */
function selectedVersion(extensions: ReadonlyMap<number, Buffer>): number | undefined {
  const data = extensions.get(EXTENSIONS.supported_versions);
  if (!data) return undefined;
  const reader = new Reader(data, "supported_versions of the ServerHello");
  const version = reader.u16();
  reader.end();
  return version;
}
