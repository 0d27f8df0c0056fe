import { createECDH } from "node:crypto";
import { u8, u16, u16s, vector8, vector16, vector24 } from "../../src/wire/writer.ts";

/**
 * Every oddity of a ClientHello that a standard allows, or that real clients have, and the malformed forms next to it. What a server
 * answers first is compared between the node and a bare OpenSSL.
 */
export interface OddHello {
  readonly title: string;
  /** What the client sends, in one piece. */
  readonly bytes: Buffer;
}

type Extension = readonly [type: number, data: Buffer];

interface Parts {
  readonly version: number;
  readonly record: number;
  readonly sessionId: Buffer;
  readonly suites: Buffer;
  readonly compression: readonly number[];
  /** Null: the hello has no extensions block at all. */
  readonly extensions: readonly Extension[] | null;
  /** Behind the extensions, inside of the message. */
  readonly trailing: Buffer;
  /** Bytes of the message in each record. */
  readonly fragment: number;
}

export const NOTHING = Buffer.alloc(0);
export const RANDOM = Buffer.alloc(32, 0xc1);

export const SUITES_12 = [0xc02b, 0xc02f, 0xc00a, 0xc014, 0x009e, 0x009c, 0x002f];
export const RSA_ONLY = [0x009c, 0x009d, 0x002f, 0x0035];
const SIGALGS = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501];
export const X25519 = 0x001d;
export const P256 = 0x0017;

const EXTENSION = {
  server_name: 0,
  max_fragment_length: 1,
  trusted_ca_keys: 3,
  status_request: 5,
  client_certificate_type: 19,
  supported_groups: 10,
  ec_point_formats: 11,
  srp: 12,
  signature_algorithms: 13,
  heartbeat: 15,
  alpn: 16,
  status_request_v2: 17,
  sct: 18,
  padding: 21,
  encrypt_then_mac: 22,
  extended_master_secret: 23,
  compress_certificate: 27,
  record_size_limit: 28,
  session_ticket: 35,
  pre_shared_key: 41,
  early_data: 42,
  supported_versions: 43,
  cookie: 44,
  psk_key_exchange_modes: 45,
  certificate_authorities: 47,
  oid_filters: 48,
  post_handshake_auth: 49,
  signature_algorithms_cert: 50,
  key_share: 51,
  quic_transport_parameters: 57,
  npn: 13172,
  encrypted_client_hello: 0xfe0d,
  renegotiation_info: 0xff01,
} as const;

export const list16 = (...values: number[]): Buffer => vector16(u16s(values));
export const list8of16 = (...values: number[]): Buffer => vector8(u16s(values));
export const share = (group: number, key: Buffer): Buffer => Buffer.concat([u16(group), vector16(key)]);
const ecdh = createECDH("prime256v1");
export const P256_KEY = ecdh.generateKeys();
export const X25519_KEY = Buffer.alloc(32, 9);

export const sni = (name: string): Buffer => vector16(u8(0), vector16(Buffer.from(name, "latin1")));
export const e = (type: keyof typeof EXTENSION, data: Buffer = NOTHING): Extension => [EXTENSION[type], data];
export const without = (from: readonly Extension[], ...types: (keyof typeof EXTENSION)[]): Extension[] =>
  from.filter(([type]) => !types.some((name) => EXTENSION[name] === type));
export const withThe = (from: readonly Extension[], ...more: Extension[]): Extension[] => [
  ...from.filter(([type]) => !more.some(([other]) => other === type)),
  ...more,
];

/** The tables' names are all covered by the tests' certificates. */
export const NAME = "odd.clearline.test";
export const E12: readonly Extension[] = [
  e("server_name", sni(NAME)),
  e("supported_groups", list16(X25519, P256)),
  e("ec_point_formats", vector8(u8(0))),
  e("signature_algorithms", list16(...SIGALGS)),
  e("extended_master_secret"),
  e("renegotiation_info", vector8()),
];
export const E13: readonly Extension[] = [
  ...without(E12, "ec_point_formats"),
  e("supported_versions", list8of16(0x0304)),
  e("psk_key_exchange_modes", vector8(u8(1))),
  e("key_share", vector16(share(X25519, X25519_KEY))),
];
export const BOTH = withThe(
  E13,
  e("supported_versions", list8of16(0x0304, 0x0303)),
  e("ec_point_formats", vector8(u8(0))),
);

function message({ version, sessionId, suites, compression, extensions, trailing }: Parts): Buffer {
  const body = Buffer.concat([
    ...[u16(version), RANDOM, vector8(sessionId), vector16(suites), vector8(Buffer.from(compression))],
    extensions ? vector16(...extensions.flatMap(([type, data]) => [u16(type), vector16(data)])) : NOTHING,
    trailing,
  ]);
  return Buffer.concat([u8(1), vector24(body)]);
}

/** `bytes` in records of at most this many. */
function inRecords(bytes: Buffer, version: number, fragment: number): Buffer {
  const count = Math.ceil(bytes.length / fragment);
  const records = Array.from({ length: count }, (_, at) => {
    return [u8(22), u16(version), vector16(bytes.subarray(at * fragment, (at + 1) * fragment))];
  });
  return Buffer.concat(records.flat());
}

function write(parts: Partial<Parts>): Buffer {
  const whole: Parts = {
    ...{ version: 0x0303, record: 0x0301, sessionId: NOTHING, suites: u16s(SUITES_12), compression: [0] },
    ...{ extensions: E12, trailing: NOTHING, fragment: 0x4000, ...parts },
  };
  return inRecords(message(whole), whole.record, whole.fragment);
}

export const old = (title: string, parts: Partial<Parts>): OddHello => ({
  title: `TLS 1.2, ${title}`,
  bytes: write(parts),
});
export const SUITES_13 = [0x1301, 0x1302, 0x1303];
export const modern = (title: string, parts: Partial<Parts>): OddHello => ({
  title: `TLS 1.3, ${title}`,
  bytes: write({ sessionId: Buffer.alloc(32, 7), suites: u16s(SUITES_13), extensions: E13, ...parts }),
});
export const both = (title: string, parts: Partial<Parts>): OddHello => ({
  title: `TLS 1.2 and 1.3, ${title}`,
  bytes: write({
    sessionId: Buffer.alloc(32, 7),
    suites: u16s([...SUITES_13, ...SUITES_12]),
    extensions: BOTH,
    ...parts,
  }),
});
export const raw = (title: string, bytes: Buffer): OddHello => ({ title, bytes });

export const record = (type: number, bytes: Buffer, version = 0x0301): Buffer =>
  Buffer.concat([u8(type), u16(version), vector16(bytes)]);
export const EMPTY = record(22, NOTHING);
export const HELLO_12 = write({});
export const HELLO_13 = modern("", {}).bytes;
export const unknown = (count: number, length = 0): Extension[] =>
  Array.from({ length: count }, (_, at) => [0x1000 + at, Buffer.alloc(length)] as const);
export const psk = (identity: Buffer, binder: Buffer): Buffer =>
  Buffer.concat([vector16(vector16(identity), Buffer.alloc(4)), vector16(vector8(binder))]);
