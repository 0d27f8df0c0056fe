import { fatalAlert } from "../../src/wire/alert.ts";
import { record } from "../../src/wire/record.ts";
import { u8, u16, vector8, vector16, vector24 } from "../../src/wire/writer.ts";
import {
  certificate,
  cookie,
  encrypted,
  encryptedExtensions,
  FINISHED,
  modern,
  retry,
  retryWith,
  share,
  signature,
  VERSION_13,
} from "./flights.ts";
import {
  type Breach,
  block,
  change,
  inRecord,
  many,
  message,
  NONE,
  olderHello as old,
  protocols,
  type Tls13,
  UNKNOWN,
  X25519,
} from "./scripted-server.ts";

const tail = (hex: string) => Buffer.concat([Buffer.alloc(24, 7), Buffer.from(hex, "hex")]);

/** Extensions of other messages, which a ServerHello, a HelloRetryRequest or EncryptedExtensions must not have. */
const MISPLACED: readonly Breach[] = [
  ["a share twice", modern({}, (own) => [VERSION_13, own, own]), "illegal_parameter"],
  ["its version twice", modern({}, (own) => [VERSION_13, VERSION_13, own]), "illegal_parameter"],
  ["renegotiation_info", modern({}, (own) => [VERSION_13, own, [0xff01, vector8()]]), "illegal_parameter"],
  ["extended_master_secret", modern({}, (own) => [VERSION_13, own, [23, NONE]]), "illegal_parameter"],
  ["a cookie", modern({}, (own) => [VERSION_13, own, cookie]), "illegal_parameter"],
  ["GREASE in TLS 1.3", modern({}, (own) => [VERSION_13, own, [0x0a0a, NONE]]), "unsupported_extension"],
  ["a HelloRetryRequest with ALPN", [retry(cookie, protocols("h2"))], "illegal_parameter"],
  ["a HelloRetryRequest with a pre-shared key", [retry(cookie, [41, u16(0)])], "illegal_parameter"],
  ["a HelloRetryRequest with two groups", [retry([51, u16(23)], [51, u16(23)])], "illegal_parameter"],
  ["a HelloRetryRequest with a key", [retry(share(Buffer.alloc(32, 4)))], "decode_error"],
  ...([1, 19, 20, 28, 57, 17_513, 0xfe0d] as const).map(
    (type): Breach => [
      `EncryptedExtensions with ${type}`,
      encrypted(encryptedExtensions([type, Buffer.alloc(1, 1)])),
      "unsupported_extension",
    ],
  ),
  ...([5, 11, 13, 18, 21, 23, 27, 35, 43, 44, 45, 49] as const).map(
    (type): Breach => [
      `EncryptedExtensions with ${type}`,
      encrypted(encryptedExtensions([type, NONE])),
      "illegal_parameter",
    ],
  ),
  [
    "EncryptedExtensions with a protocol twice",
    encrypted(encryptedExtensions(protocols("h2"), protocols("h2"))),
    "illegal_parameter",
  ],
  [
    "a Certificate with a timestamp",
    encrypted(encryptedExtensions(), certificate([[18, vector16(vector16(u8(0)))]])),
    "unsupported_extension",
  ],
  [
    "a Certificate with a staple twice",
    encrypted(
      encryptedExtensions(),
      certificate([
        [5, NONE],
        [5, NONE],
      ]),
    ),
    "illegal_parameter",
  ],
];

/** What comes between a HelloRetryRequest and the Finished. */
const DISORDERED: readonly Breach[] = [
  [
    "a HelloRetryRequest with another session ID",
    retryWith({ sessionId: Buffer.alloc(32, 9) }, VERSION_13, cookie),
    "illegal_parameter",
  ],
  ["a HelloRetryRequest with compression", retryWith({ compression: 1 }, VERSION_13, cookie), "illegal_parameter"],
  ["a HelloRetryRequest without a version", retryWith({}, cookie), "missing_extension"],
  ["a HelloRetryRequest of TLS 1.2", retryWith({}, [43, u16(0x0303)], cookie), "illegal_parameter"],
  ["a HelloRetryRequest with an empty cookie", [retry([44, vector16()])], "illegal_parameter"],
  ["another group than it asked for", [retry([51, u16(23)]), ...modern({})], "illegal_parameter"],
  ["TLS 1.2 behind its HelloRetryRequest", [retry(cookie), ...old({})], "protocol_version", "handshake_failure"],
  [
    "a suite of TLS 1.2 in its HelloRetryRequest and its hello",
    [...retryWith({ suite: 0xc02b }, VERSION_13, cookie), ...modern({ suite: 0xc02b })],
    "illegal_parameter",
  ],
  ["EncryptedExtensions twice", encrypted(encryptedExtensions(), encryptedExtensions()), "unexpected_message"],
  ["its Finished without a Certificate", encrypted(encryptedExtensions(), FINISHED), "unexpected_message"],
  ["a ticket in the handshake", encrypted(encryptedExtensions(), message(4, Buffer.alloc(20))), "unexpected_message"],
  ["a KeyUpdate in the handshake", encrypted(encryptedExtensions(), message(24, u8(0))), "unexpected_message"],
  ["a signature without a Certificate", encrypted(encryptedExtensions(), signature(0x0403)), "unexpected_message"],
  ["a Certificate without any", encrypted(encryptedExtensions(), message(11, vector8(), vector24())), "decode_error"],
  ["a signature with SHA-1", encrypted(encryptedExtensions(), certificate([]), signature(0x0203)), "illegal_parameter"],
  [
    "a signature with PKCS #1",
    encrypted(encryptedExtensions(), certificate([]), signature(0x0401)),
    "illegal_parameter",
  ],
  [
    "a signature of another key's kind",
    encrypted(encryptedExtensions(), certificate([]), signature(0x0807)),
    "illegal_parameter",
  ],
  ["a signature that is none", encrypted(encryptedExtensions(), certificate([]), signature(0x0403)), "decrypt_error"],
  [
    "a compressed Certificate",
    encrypted(encryptedExtensions(), message(25, u16(1), vector24(NONE), vector24(NONE))),
    "unexpected_message",
  ],
  ["data in the handshake", encrypted((keys) => keys.encrypt(23, u8(1))), "unexpected_message"],
  ["a heartbeat", encrypted((keys) => keys.encrypt(24, Buffer.of(1, 0x40, 0))), "unexpected_message"],
  ["an empty alert", encrypted((keys) => keys.encrypt(21, NONE)), "unexpected_message"],
  [
    "a flood of encrypted warnings",
    encrypted(...Array.from({ length: 50 }, () => (keys: Tls13) => keys.encrypt(21, Buffer.of(1, 90)))),
    "unexpected_message",
  ],
];

/** To a client of TLS 1.3. */
export const MODERN: readonly Breach[] = [
  ["the sentinel of TLS 1.2", old({ random: tail("444f574e47524401") }), "illegal_parameter", "inappropriate_fallback"],
  [
    "the sentinel of TLS 1.1 in TLS 1.2",
    old({ random: tail("444f574e47524400") }),
    "illegal_parameter",
    "inappropriate_fallback",
  ],
  ["TLS 1.3 in the field for older versions", old({ version: 0x0304 }), "illegal_parameter"],
  ["a version that does not exist", old({ version: 0x0305 }), "protocol_version", "illegal_parameter"],
  ["an extension that OpenSSL does not know", modern({}, (own) => [VERSION_13, UNKNOWN, own]), "unsupported_extension"],
  ["ALPN outside of EncryptedExtensions", modern({}, (own) => [VERSION_13, own, protocols("h2")]), "illegal_parameter"],
  [
    "a pre-shared key that was not offered",
    modern({}, (own) => [VERSION_13, own, [41, u16(0)]]),
    "unsupported_extension",
  ],
  ["another session ID", modern({ sessionId: Buffer.alloc(32, 9) }), "illegal_parameter"],
  ["no session ID", modern({ sessionId: NONE }), "illegal_parameter"],
  ["compression", modern({ compression: 1 }), "illegal_parameter"],
  ["a suite of TLS 1.2", modern({ suite: 0xc02b }), "illegal_parameter"],
  ["a suite of TLS 1.3 that was not offered", modern({ suite: 0x1305 }), "illegal_parameter"],
  ["no share", modern({}, () => [VERSION_13]), "illegal_parameter", "handshake_failure"],
  [
    "no share, and an odd version in the field for older ones",
    modern({ version: 0x0305 }, () => [VERSION_13]),
    "illegal_parameter",
    "handshake_failure",
  ],
  [
    "a share of a group that was not offered",
    modern({}, () => [VERSION_13, share(Buffer.alloc(133, 4), 25)]),
    "illegal_parameter",
  ],
  ["a share that is too short", modern({}, () => [VERSION_13, share(Buffer.alloc(31, 4))]), "illegal_parameter"],
  ["a share of zeros", modern({}, () => [VERSION_13, share(Buffer.alloc(32))]), "illegal_parameter"],
  ["TLS 1.2 in supported_versions", modern({}, (own) => [[43, u16(0x0303)], own]), "illegal_parameter"],
  [
    "a version that was not offered in supported_versions",
    modern({}, (own) => [[43, u16(0x0305)], own]),
    "illegal_parameter",
  ],
  ["a HelloRetryRequest with an unknown extension", [retry(cookie, UNKNOWN)], "unsupported_extension"],
  ["a HelloRetryRequest that changes nothing", [retry()], "illegal_parameter"],
  ["a HelloRetryRequest for a share that it has", [retry([51, u16(X25519)])], "illegal_parameter"],
  ["a HelloRetryRequest for a group that was not offered", [retry([51, u16(25)])], "illegal_parameter"],
  ["two HelloRetryRequests", [retry(cookie), retry(cookie)], "unexpected_message"],
  [
    "another suite than that of its HelloRetryRequest",
    [retry(cookie), ...modern({ suite: 0x1302 })],
    "illegal_parameter",
  ],
  ["EncryptedExtensions with an unknown one", encrypted(encryptedExtensions(UNKNOWN)), "unsupported_extension"],
  ["EncryptedExtensions with early_data", encrypted(encryptedExtensions([42, NONE])), "unsupported_extension"],
  ["EncryptedExtensions with a share", encrypted(encryptedExtensions(share(Buffer.alloc(32, 4)))), "illegal_parameter"],
  [
    "EncryptedExtensions with two protocols",
    encrypted(encryptedExtensions(protocols("h2", "http/1.1"))),
    "decode_error",
  ],
  [
    "EncryptedExtensions with a protocol that was not offered",
    encrypted(encryptedExtensions(protocols("h3"))),
    "decode_error",
  ],
  [
    "a Certificate with an unknown extension",
    encrypted(encryptedExtensions(), certificate([UNKNOWN])),
    "unsupported_extension",
  ],
  [
    "a Certificate with a share",
    encrypted(encryptedExtensions(), certificate([share(Buffer.alloc(32, 4))])),
    "illegal_parameter",
  ],
  ["a Certificate with a context", encrypted(encryptedExtensions(), certificate([], u8(1))), "decode_error"],
  ["a Certificate before EncryptedExtensions", encrypted(certificate([])), "unexpected_message"],
  [
    "its Finished behind a CertificateRequest, whose unknown extension counts for nothing",
    encrypted(
      encryptedExtensions(),
      message(13, vector8(), block([UNKNOWN, [13, vector16(u16(0x0403))]])),
      message(20, Buffer.alloc(32)),
    ),
    "unexpected_message",
  ],
  ["EncryptedExtensions in plaintext", encrypted(() => inRecord(encryptedExtensions())), "unexpected_message"],
  ["a damaged record", encrypted((keys) => keys.encrypt(22, encryptedExtensions()).fill(0, 10)), "bad_record_mac"],
  ["a record with nothing inside", encrypted((keys) => keys.encrypt(22, NONE)), "unexpected_message"],
  ["change_cipher_spec with another value", encrypted(() => change(2)), "unexpected_message"],
  ["a flood of change_cipher_spec", encrypted(() => many(100, change())), "unexpected_message"],
  ["change_cipher_spec in encryption", encrypted((keys) => keys.encrypt(20, u8(1))), "unexpected_message"],
  ["an alert that is cut off", [() => record(21, 0x0303, fatalAlert(40).subarray(5, 6))], "unexpected_message"],
  ...MISPLACED,
  ...DISORDERED,
];
