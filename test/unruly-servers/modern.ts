import { make } from "../../src/pki/x509/test-chain.ts";
import { fatalAlert } from "../../src/wire/alert.ts";
import { CONTENT_TYPES, HANDSHAKE_TYPES } from "../../src/wire/numbers.ts";
import { record } from "../../src/wire/record.ts";
import { u8, u16, vector8, vector16, vector24 } from "../../src/wire/writer.ts";
import { RETRY } from "../recorded/client-hello/build.ts";
import {
  type Breach,
  block,
  change,
  type Extension,
  type HelloFields,
  inRecord,
  many,
  message,
  NONE,
  olderHello as old,
  protocols,
  type Script,
  serverHello,
  Tls13,
  UNKNOWN,
  X25519,
} from "./scripted-server.ts";

const tail = (hex: string) => Buffer.concat([Buffer.alloc(24, 7), Buffer.from(hex, "hex")]);

const VERSION_13: Extension = [43, u16(0x0304)];
const share = (key: Uint8Array, group = X25519): Extension => [51, Buffer.concat([u16(group), vector16(key)])];

/** A ServerHello of TLS 1.3, which answers the client's as it should but for these fields. */
function modern(
  fields: HelloFields,
  extensions: (own: Extension) => readonly Extension[] = (own) => [VERSION_13, own],
): Script {
  const own = share(new Tls13().share);
  return [
    ({ sessionId }) => inRecord(serverHello({ suite: 0x1301, sessionId, extensions: extensions(own), ...fields })),
  ];
}

/** The same, and behind it what only the keys can read. */
function encrypted(...flight: readonly (Buffer | ((keys: Tls13) => Buffer))[]): Script {
  return [
    (client) => {
      const keys = new Tls13();
      const extensions = [VERSION_13, share(keys.share)];
      const hello = serverHello({ suite: 0x1301, sessionId: client.sessionId, extensions });
      keys.begin(client, hello);
      const parts = flight.map((part) =>
        typeof part === "function" ? part(keys) : keys.encrypt(CONTENT_TYPES.handshake, part),
      );
      return Buffer.concat([inRecord(hello), ...parts]);
    },
  ];
}

const retry =
  (...extensions: readonly Extension[]) =>
  (client: { readonly sessionId: Buffer }): Buffer =>
    inRecord(
      serverHello({
        suite: 0x1301,
        random: RETRY,
        sessionId: client.sessionId,
        extensions: [VERSION_13, ...extensions],
      }),
    );
const cookie: Extension = [44, vector16(Buffer.from("again"))];

const encryptedExtensions = (...extensions: readonly Extension[]) => message(8, block(extensions));
const LEAF = (await make({ subject: "CN=unruly.test" })).der;
const certificate = (entry: readonly Extension[], context: Buffer = NONE) =>
  message(HANDSHAKE_TYPES.certificate, vector8(context), vector24(vector24(LEAF), block(entry)));

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
];
