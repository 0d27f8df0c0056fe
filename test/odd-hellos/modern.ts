import { createECDH } from "node:crypto";
import { GROUPS } from "../../src/wire/groups.ts";
import { SIGNATURE_SCHEMES } from "../../src/wire/signature-schemes.ts";
import { SUITES } from "../../src/wire/suites.ts";
import { u8, u16, u16s, vector8, vector16 } from "../../src/wire/writer.ts";
import {
  BOTH,
  both,
  E12,
  E13,
  e,
  list8of16,
  list16,
  modern,
  NOTHING,
  type OddHello,
  old,
  P256,
  P256_KEY,
  psk,
  RANDOM,
  SUITES_12,
  SUITES_13,
  share,
  without,
  withThe,
  X25519,
  X25519_KEY,
} from "./hello.ts";

const FIVE_SHARES = [
  share(P256, P256_KEY),
  share(X25519, X25519_KEY),
  share(0x0018, createECDH("secp384r1").generateKeys()),
  share(0x0019, createECDH("secp521r1").generateKeys()),
  share(0x001e, Buffer.alloc(56, 9)),
];

/** Extensions of TLS 1.3. */
export const MODERN: readonly OddHello[] = [
  modern("as usual", {}),
  both("as usual", {}),
  modern("a GREASE version", { extensions: withThe(E13, e("supported_versions", list8of16(0x7a7a, 0x0304))) }),
  modern("only a GREASE version", { extensions: withThe(E13, e("supported_versions", list8of16(0x7a7a))) }),
  modern("an empty list of versions", { extensions: withThe(E13, e("supported_versions", vector8())) }),
  modern("versions of an odd length", {
    extensions: withThe(E13, e("supported_versions", vector8(Buffer.from([3, 4, 3])))),
  }),
  modern("a version twice", { extensions: withThe(E13, e("supported_versions", list8of16(0x0304, 0x0304))) }),
  modern("only a draft", { extensions: withThe(E13, e("supported_versions", list8of16(0x7f1c))) }),
  modern("only version 0x0305", { extensions: withThe(E13, e("supported_versions", list8of16(0x0305))) }),
  both("only TLS 1.2 in supported_versions", { extensions: withThe(BOTH, e("supported_versions", list8of16(0x0303))) }),
  both("TLS 1.2 preferred", { extensions: withThe(BOTH, e("supported_versions", list8of16(0x0303, 0x0304))) }),
  both("no supported_versions", { extensions: without(BOTH, "supported_versions") }),
  both("suites of TLS 1.2 only", { suites: u16s(SUITES_12) }),
  modern("suites of TLS 1.2 only", { suites: u16s(SUITES_12) }),
  modern("no signature_algorithms", { extensions: without(E13, "signature_algorithms") }),
  both("no signature_algorithms", { extensions: without(BOTH, "signature_algorithms") }),
  modern("no supported_groups", { extensions: without(E13, "supported_groups") }),
  modern("no key_share", { extensions: without(E13, "key_share") }),
  both("no key_share", { extensions: without(BOTH, "key_share") }),
  modern("an empty key_share", { extensions: withThe(E13, e("key_share", vector16())) }),
  both("an empty key_share", { extensions: withThe(BOTH, e("key_share", vector16())) }),
  modern("a key_share of a group that nobody has", {
    extensions: withThe(E13, e("key_share", vector16(share(0x7777, u8(1))))),
  }),
  modern("a GREASE key_share", {
    extensions: withThe(E13, e("key_share", vector16(share(0x2a2a, u8(0)), share(X25519, X25519_KEY)))),
  }),
  modern("a key_share of a group that was not offered", {
    extensions: withThe(E13, e("supported_groups", list16(P256))),
  }),
  modern("a key_share of P-256", { extensions: withThe(E13, e("key_share", vector16(share(P256, P256_KEY)))) }),
  modern("a key_share in another order than the groups", {
    extensions: withThe(E13, e("key_share", vector16(share(P256, P256_KEY), share(X25519, X25519_KEY)))),
  }),
  modern("a key_share twice for a group", {
    extensions: withThe(E13, e("key_share", vector16(share(X25519, X25519_KEY), share(X25519, X25519_KEY)))),
  }),
  both("every group, signature scheme and suite that the node knows, twice", {
    extensions: withThe(
      BOTH,
      e("supported_groups", list16(...GROUPS.map(({ id }) => id), ...GROUPS.map(({ id }) => id))),
      e(
        "signature_algorithms",
        list16(...SIGNATURE_SCHEMES.map(({ id }) => id), ...SIGNATURE_SCHEMES.map(({ id }) => id)),
      ),
    ),
    suites: u16s([...SUITES, ...SUITES].map(({ id }) => id)),
  }),
  old("every group, signature scheme and suite that the node knows", {
    extensions: withThe(
      E12,
      e("supported_groups", list16(...GROUPS.map(({ id }) => id))),
      e("signature_algorithms", list16(...SIGNATURE_SCHEMES.map(({ id }) => id))),
    ),
    suites: u16s(SUITES.map(({ id }) => id)),
  }),
  modern("five key_shares", {
    extensions: withThe(
      E13,
      e("supported_groups", list16(P256, X25519, 0x0018, 0x0019, 0x001e)),
      e("key_share", vector16(...FIVE_SHARES)),
    ),
  }),
  modern("signature_algorithms_cert of RSA only", {
    extensions: withThe(E13, e("signature_algorithms_cert", list16(0x0401, 0x0501))),
  }),
  modern("a key_share that is too short", { extensions: withThe(E13, e("key_share", vector16(share(X25519, u8(9))))) }),
  modern("a key_share without a key", { extensions: withThe(E13, e("key_share", vector16(share(X25519, NOTHING)))) }),
  modern("a key_share that is no point", {
    extensions: withThe(E13, e("key_share", vector16(share(P256, Buffer.alloc(65, 4))))),
  }),
  modern("a key_share cut short", { extensions: withThe(E13, e("key_share", vector16(u16(X25519)))) }),
  modern("the one group P-521", {
    extensions: withThe(E13, e("supported_groups", list16(0x0019)), e("key_share", vector16())),
  }),
  modern("the one group ffdhe2048", {
    extensions: withThe(E13, e("supported_groups", list16(0x0100)), e("key_share", vector16())),
  }),
  modern("only unknown groups", {
    extensions: withThe(E13, e("supported_groups", list16(0x7777)), e("key_share", vector16())),
  }),
  modern("only groups of TLS 1.2", {
    extensions: withThe(E13, e("supported_groups", list16(0x0016, 0x001a)), e("key_share", vector16())),
  }),
  modern("no psk_key_exchange_modes", { extensions: without(E13, "psk_key_exchange_modes") }),
  modern("unknown psk_key_exchange_modes", { extensions: withThe(E13, e("psk_key_exchange_modes", vector8(u8(9)))) }),
  modern("empty psk_key_exchange_modes", { extensions: withThe(E13, e("psk_key_exchange_modes", vector8())) }),
  modern("early_data without pre_shared_key", { extensions: withThe(E13, e("early_data")) }),
  modern("early_data with data", { extensions: withThe(E13, e("early_data", u8(0))) }),
  modern("pre_shared_key that nobody knows", {
    extensions: withThe(E13, e("pre_shared_key", psk(Buffer.alloc(100, 6), RANDOM))),
  }),
  modern("early_data and pre_shared_key that nobody knows", {
    extensions: withThe(E13, e("early_data"), e("pre_shared_key", psk(Buffer.alloc(100, 6), RANDOM))),
  }),
  modern("pre_shared_key without its modes", {
    extensions: withThe(without(E13, "psk_key_exchange_modes"), e("pre_shared_key", psk(Buffer.alloc(100, 6), RANDOM))),
  }),
  modern("pre_shared_key that is not the last extension", {
    extensions: [e("pre_shared_key", psk(Buffer.alloc(100, 6), RANDOM)), ...E13],
  }),
  modern("pre_shared_key with an empty identity", {
    extensions: withThe(E13, e("pre_shared_key", psk(NOTHING, RANDOM))),
  }),
  modern("pre_shared_key of one byte", { extensions: withThe(E13, e("pre_shared_key", psk(u8(1), RANDOM))) }),
  modern("pre_shared_key with a short binder", {
    extensions: withThe(E13, e("pre_shared_key", psk(Buffer.alloc(9), u8(1)))),
  }),
  modern("pre_shared_key without data", { extensions: withThe(E13, e("pre_shared_key")) }),
  modern("pre_shared_key with fewer binders than identities", {
    extensions: withThe(
      E13,
      e(
        "pre_shared_key",
        Buffer.concat([
          vector16(vector16(u8(1)), Buffer.alloc(4), vector16(u8(2)), Buffer.alloc(4)),
          vector16(vector8(RANDOM)),
        ]),
      ),
    ),
  }),
  modern("a cookie", { extensions: withThe(E13, e("cookie", vector16(Buffer.alloc(40, 1)))) }),
  modern("an empty cookie", { extensions: withThe(E13, e("cookie", vector16())) }),
  modern("post_handshake_auth", { extensions: withThe(E13, e("post_handshake_auth")) }),
  modern("post_handshake_auth with data", { extensions: withThe(E13, e("post_handshake_auth", u8(1))) }),
  modern("record_size_limit 64", { extensions: withThe(E13, e("record_size_limit", u16(64))) }),
  modern("record_size_limit 16,385", { extensions: withThe(E13, e("record_size_limit", u16(16_385))) }),
  modern("max_fragment_length 1", { extensions: withThe(E13, e("max_fragment_length", u8(1))) }),
  modern("compress_certificate", { extensions: withThe(E13, e("compress_certificate", vector8(u16s([1, 2])))) }),
  modern("certificate_authorities", {
    extensions: withThe(
      E13,
      e("certificate_authorities", vector16(vector16(Buffer.from("300d310b3009060355040a0c0278", "hex")))),
    ),
  }),
  modern("certificate_authorities that is empty", {
    extensions: withThe(E13, e("certificate_authorities", vector16())),
  }),
  modern("oid_filters, which is none of a hello's", { extensions: withThe(E13, e("oid_filters", vector16())) }),
  modern("quic_transport_parameters", { extensions: withThe(E13, e("quic_transport_parameters", Buffer.alloc(10))) }),
  modern("encrypted_client_hello of GREASE", {
    extensions: withThe(
      E13,
      e(
        "encrypted_client_hello",
        Buffer.concat([u8(0), Buffer.alloc(8), vector16(X25519_KEY), vector16(Buffer.alloc(100))]),
      ),
    ),
  }),
  modern("encrypted_client_hello of the inner form", { extensions: withThe(E13, e("encrypted_client_hello", u8(1))) }),
  modern("encrypted_client_hello of an unknown type", { extensions: withThe(E13, e("encrypted_client_hello", u8(7))) }),
  modern("encrypted_client_hello without data", { extensions: withThe(E13, e("encrypted_client_hello")) }),
  modern("signature_algorithms: only SHA-1", {
    extensions: withThe(E13, e("signature_algorithms", list16(0x0201, 0x0203))),
  }),
  modern("signature_algorithms: only PKCS #1", { extensions: withThe(E13, e("signature_algorithms", list16(0x0401))) }),
  modern("signature_algorithms: only PSS", { extensions: withThe(E13, e("signature_algorithms", list16(0x0804))) }),
  modern("signature_algorithms: only unknown ones", {
    extensions: withThe(E13, e("signature_algorithms", list16(0x7777))),
  }),
  modern("signature_algorithms_cert", {
    extensions: withThe(E13, e("signature_algorithms_cert", list16(0x0401, 0x0403))),
  }),
  modern("signature_algorithms_cert with unknown ones only", {
    extensions: withThe(E13, e("signature_algorithms_cert", list16(0x7777))),
  }),
  modern("TLS_FALLBACK_SCSV", { suites: u16s([...SUITES_13, 0x5600]) }),
  both("TLS_FALLBACK_SCSV and TLS 1.2 at most", {
    extensions: withThe(BOTH, e("supported_versions", list8of16(0x0303))),
    suites: u16s([...SUITES_12, 0x5600]),
  }),
  modern("a renegotiation_info that is not empty", {
    extensions: withThe(E13, e("renegotiation_info", vector8(u8(1)))),
  }),
  modern("only unknown suites", { suites: u16s([0x13aa]) }),
  modern("only TLS_AES_128_CCM_8_SHA256", { suites: u16s([0x1305]) }),
];
