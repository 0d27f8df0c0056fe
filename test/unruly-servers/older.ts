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

const with12 = (...extensions: readonly Extension[]) => old({ extensions: [REPLIED, ...extensions] });

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
];
