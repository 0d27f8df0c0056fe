import { u8, u16, vector8, vector16 } from "../../src/wire/writer.ts";
import { E12, e, NAME, type OddHello, old, sni, without, withThe } from "./hello.ts";

/** The SNI and ALPN. */
export const NAMES: readonly OddHello[] = [
  old("no SNI", { extensions: without(E12, "server_name") }),
  old("an SNI extension without data", { extensions: withThe(E12, e("server_name")) }),
  old("an empty SNI list", { extensions: withThe(E12, e("server_name", vector16())) }),
  old("an SNI with an empty name", { extensions: withThe(E12, e("server_name", sni(""))) }),
  old("an SNI of an unknown type", {
    extensions: withThe(E12, e("server_name", vector16(u8(9), vector16(Buffer.from("x"))))),
  }),
  old("an SNI of an unknown type behind a name", {
    extensions: withThe(E12, e("server_name", vector16(u8(0), vector16(Buffer.from(NAME)), u8(9), vector16(u8(1))))),
  }),
  old("two names in the SNI", {
    extensions: withThe(
      E12,
      e("server_name", vector16(u8(0), vector16(Buffer.from(NAME)), u8(0), vector16(Buffer.from(NAME)))),
    ),
  }),
  old("an SNI with a NUL", { extensions: withThe(E12, e("server_name", sni(`${NAME}\0.evil`))) }),
  old("an SNI with a port", { extensions: withThe(E12, e("server_name", sni(`${NAME}:443`))) }),
  old("an SNI with a trailing dot", { extensions: withThe(E12, e("server_name", sni(`${NAME}.`))) }),
  old("an SNI in capitals", { extensions: withThe(E12, e("server_name", sni(NAME.toUpperCase()))) }),
  old("an SNI that is an IPv4 address", { extensions: withThe(E12, e("server_name", sni("127.0.0.1"))) }),
  old("an SNI that is an IPv6 address", { extensions: withThe(E12, e("server_name", sni("::1"))) }),
  old("an SNI of 255 characters", { extensions: withThe(E12, e("server_name", sni("x".repeat(255)))) }),
  old("an SNI of 256 characters", { extensions: withThe(E12, e("server_name", sni("x".repeat(256)))) }),
  old("an SNI of 5,000 characters", { extensions: withThe(E12, e("server_name", sni("x".repeat(5_000)))) }),
  old("an SNI with UTF-8", { extensions: withThe(E12, e("server_name", sni("b\xc3\xbccher.clearline.test"))) }),
  old("an SNI with a blank", { extensions: withThe(E12, e("server_name", sni("a b.clearline.test"))) }),
  old("an SNI with bytes behind it", { extensions: withThe(E12, e("server_name", Buffer.concat([sni(NAME), u8(0)]))) }),
  old("an SNI list longer than its extension", { extensions: withThe(E12, e("server_name", u16(99))) }),
  old("ALPN that the server lacks", { extensions: withThe(E12, e("alpn", vector16(vector8(Buffer.from("xyz"))))) }),
  old("ALPN with http/1.1", { extensions: withThe(E12, e("alpn", vector16(vector8(Buffer.from("http/1.1"))))) }),
  old("ALPN with GREASE", {
    extensions: withThe(E12, e("alpn", vector16(vector8(Buffer.from([0x8a, 0x8a])), vector8(Buffer.from("http/1.1"))))),
  }),
  old("ALPN with bytes above 0x7f", {
    extensions: withThe(E12, e("alpn", vector16(vector8(Buffer.from([0xff, 0, 0x80]))))),
  }),
  old("ALPN twice the same", {
    extensions: withThe(E12, e("alpn", vector16(vector8(Buffer.from("http/1.1")), vector8(Buffer.from("http/1.1"))))),
  }),
  old("an empty ALPN list", { extensions: withThe(E12, e("alpn", vector16())) }),
  old("an ALPN extension without data", { extensions: withThe(E12, e("alpn")) }),
  old("an empty ALPN name", { extensions: withThe(E12, e("alpn", vector16(vector8()))) }),
  old("an ALPN list with bytes behind it", {
    extensions: withThe(E12, e("alpn", Buffer.concat([vector16(vector8(u8(97))), u8(0)]))),
  }),
];
