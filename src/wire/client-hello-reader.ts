import { PeerError } from "../errors.ts";
import { ALERTS } from "./alert.ts";
import { type ClientHelloReader, type HelloSighting, readClientHello } from "./client-hello.ts";
import { finalAnswer } from "./final-answer.ts";
import { type HandshakeLimits, HandshakeStream } from "./handshake.ts";
import { CONTENT_TYPES, HANDSHAKE_TYPES } from "./numbers.ts";
import { SslV2HelloReader } from "./sslv2-hello.ts";

export function createClientHelloReader(): ClientHelloReader {
  let reader: ClientHelloReader | undefined;
  return {
    push: finalAnswer((bytes) => {
      reader ??= readerFor(bytes[0]!);
      return reader.push(bytes);
    }),
  };
}

/** The first bit is set in an SSLv2 header, and in no TLS content type. */
function readerFor(first: number): ClientHelloReader {
  return (first & 0x80) !== 0 ? new SslV2HelloReader() : new RecordHelloReader();
}

/** The largest ClientHello, in bytes: all of its vectors at their longest, as OpenSSL takes it. Usual ones have up to 4 KiB. */
const MAX_HELLO = 131_396;
/** The same with record headers, in bytes: enough for a hello of 64 KiB in records of one byte. */
const MAX_RECORDS = 0x60000;

/**
 * Reads a hello in TLS records. Once the first two bytes begin a record, anything but a hello is an error: servers read past a
 * warning alert or a change_cipher_spec in front of one.
 */
class RecordHelloReader implements ClientHelloReader {
  readonly #stream = new HandshakeStream(LIMITS);

  push(bytes: Uint8Array): HelloSighting {
    this.#stream.push(bytes);
    const step = this.#stream.next();
    if (step.kind === "message") return { kind: "hello", hello: readClientHello(step.body) };
    if (step.kind === "more" || step.kind === "no") return step;
    // RFC 8446, section 5.1: no other record may come between the fragments of a handshake message.
    throw new PeerError(
      "Cannot read the ClientHello: a record of another type comes before its end",
      ALERTS.unexpected_message,
    );
  }
}

const LIMITS: HandshakeLimits = {
  first: Object.values(CONTENT_TYPES),
  message: MAX_HELLO,
  total: MAX_RECORDS,
  admit: admitHello,
};

function admitHello(type: number): void {
  if (type === HANDSHAKE_TYPES.client_hello) return;
  const message = `Cannot read the ClientHello: the first handshake message has type ${type}, not 1`;
  throw new PeerError(message, ALERTS.unexpected_message);
}
