import {
  createCipheriv,
  createHash,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
} from "node:crypto";
import net from "node:net";
import type { ALERTS } from "../../src/wire/alert.ts";
import { CONTENT_TYPES, EXTENSIONS, HANDSHAKE_TYPES } from "../../src/wire/numbers.ts";
import { Reader } from "../../src/wire/reader.ts";
import { HANDSHAKE_HEADER, RECORD_HEADER, record } from "../../src/wire/record.ts";
import { u8, u16, vector8, vector16, vector24 } from "../../src/wire/writer.ts";

/** Servers that say what a test tells them to: no TLS library plays one that breaks the rules. */

export type Extension = readonly [type: number, data: Uint8Array];

/** A handshake message with its header. */
export function message(type: number, ...body: readonly Uint8Array[]): Buffer {
  return Buffer.concat([u8(type), vector24(...body)]);
}

export function inRecord(...messages: readonly Uint8Array[]): Buffer {
  return record(CONTENT_TYPES.handshake, 0x0303, Buffer.concat(messages));
}

export const NONE = Buffer.alloc(0);
/** heartbeat, which OpenSSL does not know. */
export const UNKNOWN: Extension = [15, u8(1)];
export const REPLIED: Extension = [0xff01, vector8()];

/** ALPN. */
export const protocols = (...names: readonly string[]): Extension => [
  16,
  vector16(...names.map((name) => vector8(Buffer.from(name)))),
];

export const many = (count: number, one: Buffer) => Buffer.concat(Array.from({ length: count }, () => one));
export const change = (value = 1) => record(CONTENT_TYPES.change_cipher_spec, 0x0303, u8(value));

export function block(extensions: readonly Extension[]): Buffer {
  return vector16(...extensions.flatMap(([type, data]) => [u16(type), vector16(data)]));
}

/** The fields of a ServerHello (RFC 8446, section 4.1.3) that a test chooses. */
export interface HelloFields {
  readonly version?: number;
  readonly random?: Buffer;
  readonly sessionId?: Uint8Array;
  readonly suite?: number;
  readonly compression?: number;
  /** Undefined: no block at all. */
  readonly extensions?: readonly Extension[] | undefined;
  readonly trailer?: Uint8Array;
}

export function serverHello(fields: HelloFields): Buffer {
  const { version = 0x0303, random = Buffer.alloc(32, 7), sessionId = Buffer.alloc(0), compression = 0 } = fields;
  const { suite = 0xc02b, extensions, trailer = Buffer.alloc(0) } = fields;
  const rest = extensions ? block(extensions) : Buffer.alloc(0);
  const head = Buffer.concat([u16(version), random, vector8(sessionId), u16(suite), u8(compression)]);
  return message(HANDSHAKE_TYPES.server_hello, head, rest, trailer);
}

/** The server's first flight up to TLS 1.2 begins with this. */
export const olderHello = (fields: HelloFields, ...more: readonly Buffer[]): Script => [
  () => Buffer.concat([inRecord(serverHello({ extensions: [REPLIED], ...fields })), ...more]),
];

/** What a server reads of a ClientHello. */
export interface ClientSaid {
  /** With its header. */
  readonly message: Buffer;
  readonly sessionId: Buffer;
  /** Empty: the client sent none of X25519. */
  readonly share: Buffer;
}

export const X25519 = 0x001d;
/** What comes before the 32 bytes of a key of X25519 in its DER: RFC 8410, section 4. */
const SPKI = Buffer.from("302a300506032b656e032100", "hex");

function readClient(bytes: Buffer): ClientSaid {
  const whole = bytes.subarray(RECORD_HEADER);
  const hello = new Reader(whole.subarray(HANDSHAKE_HEADER), "the ClientHello");
  hello.take(34);
  const sessionId = hello.vector8();
  hello.vector16();
  hello.vector8();
  const extensions = new Reader(hello.vector16(), "its extensions");
  let share: Buffer = Buffer.alloc(0);
  while (extensions.remaining > 0) {
    const [type, data] = [extensions.u16(), extensions.vector16()];
    if (type !== EXTENSIONS.key_share) continue;
    const shares = new Reader(new Reader(data, "key_share").vector16(), "its shares");
    while (shares.remaining > 0) {
      const [group, key] = [shares.u16(), shares.vector16()];
      if (group === X25519) share = key;
    }
  }
  return { message: whole, sessionId, share };
}

/** The server's own handshake keys of TLS 1.3, with TLS_AES_128_GCM_SHA256 and X25519 (RFC 8446, section 7.1). */
export class Tls13 {
  readonly #pair = generateKeyPairSync("x25519");
  #key: Buffer = Buffer.alloc(0);
  #iv: Buffer = Buffer.alloc(0);
  #count = 0;

  get share(): Buffer {
    return this.#pair.publicKey.export({ type: "spki", format: "der" }).subarray(SPKI.length);
  }

  /** What it encrypts from here on, the client can read. */
  begin(client: ClientSaid, hello: Buffer): void {
    const publicKey = createPublicKey({ key: Buffer.concat([SPKI, client.share]), format: "der", type: "spki" });
    const shared = diffieHellman({ privateKey: this.#pair.privateKey, publicKey });
    const empty = createHash("sha256").digest();
    const early = hmac(Buffer.alloc(32), Buffer.alloc(32));
    const secret = hmac(expand(early, "derived", empty, 32), shared);
    const transcript = createHash("sha256").update(client.message).update(hello).digest();
    const traffic = expand(secret, "s hs traffic", transcript, 32);
    this.#key = expand(traffic, "key", Buffer.alloc(0), 16);
    this.#iv = expand(traffic, "iv", Buffer.alloc(0), 12);
  }

  /** One record: RFC 8446, section 5.2. */
  encrypt(type: number, content: Uint8Array): Buffer {
    const nonce = Buffer.from(this.#iv);
    nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ this.#count++) >>> 0, 8);
    const inner = Buffer.concat([content, u8(type)]);
    const header = Buffer.concat([u8(CONTENT_TYPES.application_data), u16(0x0303), u16(inner.length + 16)]);
    const cipher = createCipheriv("aes-128-gcm", this.#key, nonce).setAAD(header);
    return Buffer.concat([header, cipher.update(inner), cipher.final(), cipher.getAuthTag()]);
  }
}

function hmac(key: Buffer, data: Buffer): Buffer {
  return createHmac("sha256", key).update(data).digest();
}

/** HKDF-Expand-Label for at most 32 bytes. */
function expand(secret: Buffer, label: string, context: Buffer, length: number): Buffer {
  const info = Buffer.concat([u16(length), vector8(Buffer.from(`tls13 ${label}`)), vector8(context), u8(1)]);
  return hmac(secret, info).subarray(0, length);
}

/** What a server sends that breaks the rules, and the alert that it gets. `told`: the client's, and the record's, where it is another one. */
export type Breach = readonly [what: string, script: Script, alert: AlertName, told?: AlertName];
export type AlertName = keyof typeof ALERTS;

/** Answers one ClientHello after the other; after the last one there is silence. */
export type Script = readonly ((client: ClientSaid) => Buffer)[];

export class ScriptedServer {
  /** What the next client hears. */
  script: Script = [];
  /** All that the client said to the last answer, once its connection has ended. */
  heard: Promise<Buffer> = Promise.resolve(Buffer.alloc(0));
  /** What the next client hears before it has said anything. */
  greeting: Buffer = NONE;
  readonly #server = net.createServer((socket) => {
    socket.write(this.greeting);
    this.heard = answerHellos(socket, this.script);
  });

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return (this.#server.address() as net.AddressInfo).port;
  }

  close(): void {
    this.#server.close();
  }
}

function answerHellos(socket: net.Socket, script: Script): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  let rest: Buffer = Buffer.alloc(0);
  let answered = 0;
  socket.on("data", (piece: Buffer) => {
    rest = withoutChange(Buffer.concat([rest, piece]));
    for (let answer = script[answered]; answer && isHello(rest); answer = script[answered]) {
      const end = RECORD_HEADER + rest.readUInt16BE(3);
      answered += 1;
      socket.write(answer(readClient(rest.subarray(0, end))));
      rest = rest.subarray(end);
    }
  });
  socket.on("error", () => undefined).on("close", () => resolve(rest));
  return promise;
}

/** One record of the handshake is whole. */
function isHello(bytes: Buffer): boolean {
  if (bytes.length <= RECORD_HEADER || bytes[0] !== CONTENT_TYPES.handshake) return false;
  return bytes.length >= RECORD_HEADER + bytes.readUInt16BE(3);
}

/** Without a change_cipher_spec, which a client of TLS 1.3 may send before its second hello. */
function withoutChange(bytes: Buffer): Buffer {
  return bytes[0] === CONTENT_TYPES.change_cipher_spec ? bytes.subarray(RECORD_HEADER + 1) : bytes;
}

/** The fatal alert that a client sent in plaintext; undefined: none. */
export function alertIn(bytes: Buffer): number | undefined {
  for (let at = 0; at + RECORD_HEADER <= bytes.length; at += RECORD_HEADER + bytes.readUInt16BE(at + 3))
    if (bytes[at] === CONTENT_TYPES.alert && bytes.readUInt16BE(at + 3) === 2) return bytes[at + RECORD_HEADER + 1];
  return undefined;
}
