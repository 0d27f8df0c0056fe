import { u8, u16, u16s, vector8, vector16 } from "../../src/wire/writer.ts";
import {
  E12,
  e,
  list16,
  NAME,
  type OddHello,
  old,
  P256,
  RANDOM,
  RSA_ONLY,
  SUITES_12,
  sni,
  without,
  withThe,
  X25519,
} from "./hello.ts";

/** Extensions of TLS 1.2: absent, odd and malformed ones. */
export const OLDER_EXTENSIONS: readonly OddHello[] = [
  old("as usual", {}),
  old("no extensions block", { extensions: null }),
  old("no extensions block, only RSA key exchange", { extensions: null, suites: u16s(RSA_ONLY) }),
  old("no extensions block, only DHE", { extensions: null, suites: u16s([0x009e, 0x0033]) }),
  old("an empty extensions block", { extensions: [] }),
  old("an empty extensions block, only RSA key exchange", { extensions: [], suites: u16s(RSA_ONLY) }),
  old("only RSA key exchange", { suites: u16s(RSA_ONLY) }),
  old("only DHE", { suites: u16s([0x009e, 0x0033]) }),
  old("only ECDHE with CBC", { suites: u16s([0xc00a, 0xc009, 0xc014, 0xc013]) }),
  old("only the SNI", { extensions: [e("server_name", sni(NAME))] }),
  old("only the SNI and only RSA key exchange", { extensions: [e("server_name", sni(NAME))], suites: u16s(RSA_ONLY) }),
  old("no signature_algorithms", { extensions: without(E12, "signature_algorithms") }),
  old("no signature_algorithms, only ECDHE-RSA", {
    extensions: without(E12, "signature_algorithms"),
    suites: u16s([0xc02f, 0xc014]),
  }),
  old("no signature_algorithms, only ECDHE-ECDSA", {
    extensions: without(E12, "signature_algorithms"),
    suites: u16s([0xc02b, 0xc00a]),
  }),
  old("no signature_algorithms, only DHE", {
    extensions: without(E12, "signature_algorithms"),
    suites: u16s([0x009e]),
  }),
  old("no signature_algorithms, only RSA key exchange", {
    extensions: without(E12, "signature_algorithms"),
    suites: u16s(RSA_ONLY),
  }),
  old("no supported_groups", { extensions: without(E12, "supported_groups") }),
  old("no ec_point_formats", { extensions: without(E12, "ec_point_formats") }),
  old("neither groups nor point formats", { extensions: without(E12, "supported_groups", "ec_point_formats") }),
  old("unknown point formats beside the uncompressed one", {
    extensions: withThe(E12, e("ec_point_formats", vector8(Buffer.from([9, 0, 1, 2, 77])))),
  }),
  old("only unknown point formats", { extensions: withThe(E12, e("ec_point_formats", vector8(u8(9)))) }),
  old("only compressed point formats", {
    extensions: withThe(E12, e("ec_point_formats", vector8(Buffer.from([1, 2])))),
  }),
  old("an empty list of point formats", { extensions: withThe(E12, e("ec_point_formats", vector8())) }),
  old("an empty list of groups", { extensions: withThe(E12, e("supported_groups", list16())) }),
  old("groups of an odd length", {
    extensions: withThe(E12, e("supported_groups", vector16(Buffer.from([0, 29, 0])))),
  }),
  old("only unknown groups", { extensions: withThe(E12, e("supported_groups", list16(0x7777, 0x8888))) }),
  old("only unknown groups and only ECDHE", {
    extensions: withThe(E12, e("supported_groups", list16(0x7777))),
    suites: u16s([0xc02b, 0xc02f]),
  }),
  old("only unknown groups and only RSA key exchange", {
    extensions: withThe(E12, e("supported_groups", list16(0x7777))),
    suites: u16s(RSA_ONLY),
  }),
  ...[0x0017, 0x0018, 0x0019, 0x001d, 0x001e, 0x001a].map((group) =>
    old(`the one group 0x${group.toString(16)}`, {
      extensions: withThe(E12, e("supported_groups", list16(group))),
      suites: u16s([0xc02f, 0x009e, 0x009c]),
    }),
  ),
  old("the one group P-384 and only ECDSA", {
    extensions: withThe(E12, e("supported_groups", list16(0x0018))),
    suites: u16s([0xc02b, 0xc02c]),
  }),
  old("only finite-field groups", {
    extensions: withThe(E12, e("supported_groups", list16(0x0100, 0x0101))),
    suites: u16s([0x009e, 0x009c]),
  }),
  old("groups with GREASE", { extensions: withThe(E12, e("supported_groups", list16(0x0a0a, X25519, 0xfafa))) }),
  old("a group twice", { extensions: withThe(E12, e("supported_groups", list16(P256, P256, P256))) }),
  ...(
    [
      ["only SHA-1", [0x0201, 0x0203]],
      ["only PKCS #1", [0x0401, 0x0501]],
      ["only PSS", [0x0804, 0x0805]],
      ["only ECDSA", [0x0403]],
      ["only Ed25519", [0x0807]],
      ["only MD5", [0x0101, 0x0103]],
      ["only unknown ones", [0x7777]],
      ["none", []],
      ["GREASE among them", [0x2a2a, 0x0403, 0x0401]],
      ["SHA-224 and SHA-1", [0x0301, 0x0303, 0x0201, 0x0203]],
    ] as const
  ).map(([what, ids]) =>
    old(`signature_algorithms: ${what}`, { extensions: withThe(E12, e("signature_algorithms", list16(...ids))) }),
  ),
  old("signature_algorithms of an odd length", {
    extensions: withThe(E12, e("signature_algorithms", vector16(Buffer.from([4, 3, 4])))),
  }),
  old("signature_algorithms_cert", {
    extensions: withThe(E12, e("signature_algorithms_cert", list16(0x0401, 0x0403))),
  }),
  old("signature_algorithms_cert with unknown ones only", {
    extensions: withThe(E12, e("signature_algorithms_cert", list16(0x7777))),
  }),
  old("signature_algorithms_cert that is empty", {
    extensions: withThe(E12, e("signature_algorithms_cert", list16())),
  }),
  old("no extended_master_secret", { extensions: without(E12, "extended_master_secret") }),
  old("extended_master_secret with data", { extensions: withThe(E12, e("extended_master_secret", u8(1))) }),
  old("encrypt_then_mac", { extensions: withThe(E12, e("encrypt_then_mac")), suites: u16s([0xc014, 0xc00a]) }),
  old("encrypt_then_mac with data", { extensions: withThe(E12, e("encrypt_then_mac", u8(1))) }),
  old("renegotiation_info that is not empty", {
    extensions: withThe(E12, e("renegotiation_info", vector8(RANDOM.subarray(0, 12)))),
  }),
  old("renegotiation_info cut short", { extensions: withThe(E12, e("renegotiation_info", u8(3))) }),
  old("no sign of secure renegotiation", { extensions: without(E12, "renegotiation_info") }),
  old("both signs of secure renegotiation", { suites: u16s([...SUITES_12, 0x00ff]) }),
  old("TLS_FALLBACK_SCSV", { suites: u16s([...SUITES_12, 0x5600]) }),
  old("TLS_FALLBACK_SCSV first", { suites: u16s([0x5600, ...SUITES_12]) }),
  ...[1, 2, 3, 4].map((code) =>
    old(`max_fragment_length ${code}`, { extensions: withThe(E12, e("max_fragment_length", u8(code))) }),
  ),
  old("max_fragment_length 0", { extensions: withThe(E12, e("max_fragment_length", u8(0))) }),
  old("max_fragment_length 5", { extensions: withThe(E12, e("max_fragment_length", u8(5))) }),
  old("max_fragment_length without a value", { extensions: withThe(E12, e("max_fragment_length")) }),
  old("record_size_limit 64", { extensions: withThe(E12, e("record_size_limit", u16(64))) }),
  old("record_size_limit 63", { extensions: withThe(E12, e("record_size_limit", u16(63))) }),
  old("heartbeat 1", { extensions: withThe(E12, e("heartbeat", u8(1))) }),
  old("heartbeat 3", { extensions: withThe(E12, e("heartbeat", u8(3))) }),
  old("a ticket of rubbish", { extensions: withThe(E12, e("session_ticket", Buffer.alloc(200, 5))) }),
  old("a ticket of one byte", { extensions: withThe(E12, e("session_ticket", u8(5))) }),
  old("an empty ticket", { extensions: withThe(E12, e("session_ticket")) }),
  old("a ticket of 20 kB", { extensions: withThe(E12, e("session_ticket", Buffer.alloc(20_000, 5))) }),
  old("a ticket and an identifier", {
    extensions: withThe(E12, e("session_ticket", Buffer.alloc(200, 5))),
    sessionId: Buffer.alloc(32, 3),
  }),
  old("status_request", { extensions: withThe(E12, e("status_request", Buffer.from([1, 0, 0, 0, 0]))) }),
  old("status_request of an unknown type", { extensions: withThe(E12, e("status_request", Buffer.from([9, 1, 2]))) }),
  old("status_request that is empty", { extensions: withThe(E12, e("status_request")) }),
  old("status_request cut short", { extensions: withThe(E12, e("status_request", u8(1))) }),
  old("status_request_v2", {
    extensions: withThe(E12, e("status_request_v2", vector16(Buffer.from([2, 0, 4, 0, 0, 0, 0])))),
  }),
  old("SRP", { extensions: withThe(E12, e("srp", vector8(Buffer.from("user")))) }),
  old("SRP that is empty", { extensions: withThe(E12, e("srp", vector8())) }),
  old("NPN and SCT", { extensions: withThe(E12, e("npn"), e("sct")) }),
  old("trusted_ca_keys and client_certificate_type", {
    extensions: withThe(E12, e("trusted_ca_keys", vector16(u8(0))), e("client_certificate_type", vector8(u8(2)))),
  }),
  old("extensions of TLS 1.3", {
    extensions: withThe(
      E12,
      e("key_share", vector16()),
      e("psk_key_exchange_modes", vector8(u8(1))),
      e("cookie", vector16(u8(1))),
    ),
  }),
];
