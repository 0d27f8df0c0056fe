import { CONTENT_TYPES, HANDSHAKE_TYPES } from "../../../src/wire/numbers.ts";
import { record } from "../../../src/wire/record.ts";
import { u8, u16, u16s, vector8, vector16, vector24 } from "../../../src/wire/writer.ts";

/** The fields of a ClientHello that a test chooses; all others are well-formed. */
export interface HelloParts {
  readonly version?: number;
  readonly sessionId?: Uint8Array;
  readonly suites?: readonly number[];
  readonly compression?: readonly number[];
  /** Type and data, in order. Undefined: no extensions block at all. */
  readonly extensions?: readonly (readonly [type: number, data: Uint8Array])[];
  readonly trailer?: Uint8Array;
}

/** Builds a ClientHello message with its handshake header. */
export function helloMessage(parts: HelloParts = {}): Buffer {
  const { version = 0x0303, sessionId = Buffer.alloc(0), suites = [0x1301], compression = [0] } = parts;
  const body = Buffer.concat([
    u16(version),
    Buffer.alloc(32, 7),
    vector8(sessionId),
    vector16(u16s(suites)),
    vector8(Buffer.from(compression)),
    parts.extensions
      ? vector16(...parts.extensions.map(([type, data]) => Buffer.concat([u16(type), vector16(data)])))
      : Buffer.alloc(0),
    parts.trailer ?? Buffer.alloc(0),
  ]);
  return Buffer.concat([u8(HANDSHAKE_TYPES.client_hello), vector24(body)]);
}

/** Puts a message into handshake records of at most `size` bytes each. */
export function inRecords(message: Uint8Array, size = 0x4000): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    records.push(record(CONTENT_TYPES.handshake, 0x0301, message.subarray(at, at + size)));
  }
  return Buffer.concat(records);
}

/** The data of server_name with these entries: type and name. */
export function serverNames(...names: readonly (readonly [type: number, name: string])[]): Buffer {
  return vector16(...names.map(([type, name]) => Buffer.concat([u8(type), vector16(Buffer.from(name, "latin1"))])));
}

/** SHA-256 of "HelloRetryRequest": this random makes a ServerHello one. RFC 8446, section 4.1.3. */
export const RETRY = Buffer.from("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c", "hex");

/** A ServerHello in one record, for the version that the server chooses; with `retry` it is a HelloRetryRequest. */
export function serverHello(
  version: number,
  retry = false,
  { suite = 0x1301, extensions = [] }: { suite?: number; extensions?: readonly Buffer[] } = {},
): Buffer {
  const versions = version > 0x0303 ? [u16(43), vector16(u16(version))] : [];
  const chosen = versions.length + extensions.length > 0 ? vector16(...versions, ...extensions) : Buffer.alloc(0);
  const fields = [u16(Math.min(version, 0x0303)), retry ? RETRY : Buffer.alloc(32, 7), vector8(), u16(suite), u8(0)];
  const body = Buffer.concat([...fields, chosen]);
  return record(CONTENT_TYPES.handshake, 0x0303, Buffer.concat([u8(HANDSHAKE_TYPES.server_hello), vector24(body)]));
}
