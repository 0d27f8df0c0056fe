import { make } from "../../src/pki/x509/test-chain.ts";
import { record } from "../../src/wire/record.ts";
import { u8, u16, vector8, vector16, vector24 } from "../../src/wire/writer.ts";
import {
  type Breach,
  change,
  type Extension,
  inRecord,
  many,
  message,
  NONE,
  olderHello as old,
  protocols,
  REPLIED,
  serverHello,
  UNKNOWN,
} from "./scripted-server.ts";

const LEAF = (await make({ subject: "CN=unruly.test" })).der;
const with12 = (...extensions: readonly Extension[]) => old({ extensions: [REPLIED, ...extensions] });

/** A flight that begins with a right ServerHello and a Certificate. */
const certified = (...more: readonly Buffer[]) => old({}, inRecord(message(11, vector24(vector24(LEAF)))), ...more);
/** A ServerKeyExchange on this curve, with a signature of this scheme that is none. */
const exchange = (type: number, group: number, key: number, scheme: number) =>
  inRecord(
    message(12, u8(type), u16(group), vector8(Buffer.alloc(key, 9)), u16(scheme), vector16(Buffer.alloc(70))),
    message(14),
  );

const FLIGHTS: readonly Breach[] = [
  ["change_cipher_spec behind its Certificate", certified(change()), "unexpected_message"],
  ["change_cipher_spec behind its last message", certified(exchange(3, 29, 32, 0x0403), change()), "decrypt_error"],
  ["no ServerKeyExchange", certified(inRecord(message(14))), "unexpected_message"],
  ["no Certificate", old({}, inRecord(message(14))), "unexpected_message"],
  ["a Certificate without any", old({}, inRecord(message(11, vector24()))), "decode_error"],
  ["a curve that was not offered", certified(exchange(3, 25, 133, 0x0403)), "illegal_parameter"],
  ["a curve of its own", certified(exchange(1, 29, 32, 0x0403)), "illegal_parameter"],
  ["a signature with MD5", certified(exchange(3, 29, 32, 0x0103)), "illegal_parameter"],
  ["a signature of another key's kind", certified(exchange(3, 29, 32, 0x0401)), "illegal_parameter"],
  ["a signature that is none", certified(exchange(3, 29, 32, 0x0403)), "decrypt_error"],
  ["a staple without an extension", certified(inRecord(message(22, u8(1), vector24(NONE)))), "unexpected_message"],
  ["a ticket without an extension", certified(inRecord(message(4, Buffer.alloc(10)))), "unexpected_message"],
  ["data in the handshake", certified(record(23, 0x0303, u8(1))), "unexpected_message"],
  ["a heartbeat", certified(record(24, 0x0303, Buffer.of(1, 0x40, 0))), "unexpected_message"],
];

/** To a client of TLS 1.2. */
export const OLDER: readonly Breach[] = [
  ["an extension that OpenSSL does not know", with12(UNKNOWN), "unsupported_extension"],
  ["GREASE", with12([0x0a0a, NONE]), "unsupported_extension"],
  ["an extension for private use", with12([0xffff, NONE]), "unsupported_extension"],
  ["two unknown extensions", with12(UNKNOWN, [0xff77, NONE], [0xffff, NONE]), "unsupported_extension"],
  ["an unknown extension twice", with12(UNKNOWN, UNKNOWN), "unsupported_extension"],
  ["a known extension that was not offered", with12([1, u8(1)]), "unsupported_extension"],
  ["next_protocol_negotiation", with12([0x3374, NONE]), "unsupported_extension"],
  ["a signed certificate timestamp", with12([18, vector16(vector16(u8(0)))]), "unsupported_extension"],
  ["a known extension twice", with12([23, NONE], [23, NONE]), "illegal_parameter"],
  ["ALPN with a protocol that was not offered", with12(protocols("h3")), "decode_error"],
  ["ALPN with two protocols", with12(protocols("h2", "http/1.1")), "decode_error"],
  ["ALPN without a protocol", with12(protocols()), "decode_error"],
  ["a renegotiation_info that is not empty", old({ extensions: [[0xff01, vector8(u8(1))]] }), "illegal_parameter"],
  ["an extension of TLS 1.3", with12([51, Buffer.alloc(36)]), "unsupported_extension"],
  ["a name", with12([0, vector16(u8(0), vector16(Buffer.from("other.test")))]), "decode_error"],
  ["bytes behind the extensions", old({ trailer: u8(0) }), "decode_error"],
  ["a block of extensions that is cut off", old({ extensions: undefined, trailer: u16(4) }), "decode_error"],
  ["compression", old({ compression: 1 }), "illegal_parameter"],
  ["a suite that was not offered", old({ suite: 0x0005 }), "illegal_parameter"],
  ["a suite of TLS 1.3 in TLS 1.2", old({ suite: 0x1301 }), "illegal_parameter"],
  ["a signal as the suite", old({ suite: 0x5600 }), "illegal_parameter"],
  ["a session ID of 33 bytes", old({ sessionId: Buffer.alloc(33) }), "illegal_parameter"],
  ["change_cipher_spec first", [() => Buffer.concat([change(), inRecord(serverHello({}))])], "unexpected_message"],
  ["change_cipher_spec behind its hello", old({}, change()), "unexpected_message"],
  ["a Certificate first", [() => inRecord(message(11, vector24()))], "unexpected_message"],
  ["its hello twice", old({}, inRecord(serverHello({}))), "unexpected_message"],
  ["a message of 16 MiB", [() => inRecord(Buffer.from([2, 0xff, 0xff, 0xff]), NONE)], "illegal_parameter"],
  ["a record above the limit", [() => record(22, 0x0303, Buffer.alloc(0x4900))], "record_overflow"],
  ["a flood of empty records", [() => many(100, record(22, 0x0303, NONE))], "unexpected_message"],
  ["a flood of warnings", [() => many(100, record(21, 0x0303, Buffer.from([1, 90])))], "unexpected_message"],
  ...[15, 24, 28, 41, 43, 30_032].map(
    (type): Breach => [`extension ${type}`, with12([type, u16(0)]), "unsupported_extension"],
  ),
  ...[13, 14, 42, 44].map((type): Breach => [`extension ${type}`, with12([type, u16(0)]), "illegal_parameter"]),
  ...[0x0002, 0x0003, 0x0034, 0x000a].map((suite): Breach => [`suite ${suite}`, old({ suite }), "illegal_parameter"]),
  ...FLIGHTS,
];
