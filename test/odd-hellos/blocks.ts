import { u8, u16, u16s, vector16 } from "../../src/wire/writer.ts";
import {
  E12,
  E13,
  e,
  list16,
  modern,
  NAME,
  NOTHING,
  type OddHello,
  old,
  SUITES_12,
  share,
  sni,
  unknown,
  X25519,
  X25519_KEY,
} from "./hello.ts";

/** The extensions block as a whole: unknown, repeated, long. */
export const BLOCKS: readonly OddHello[] = [
  old("an unknown extension", { extensions: [...E12, ...unknown(1, 3)] }),
  old("1,000 unknown extensions", { extensions: [...E12, ...unknown(1_000)] }),
  old("GREASE extensions", { extensions: [[0x0a0a, NOTHING], ...E12, [0xfafa, u8(0)]] }),
  old("an unknown extension twice", { extensions: [...E12, ...unknown(1), ...unknown(1)] }),
  old("a GREASE extension twice", { extensions: [[0x0a0a, NOTHING], ...E12, [0x0a0a, NOTHING]] }),
  old("the SNI twice", { extensions: [...E12, e("server_name", sni(NAME))] }),
  old("supported_groups twice", { extensions: [...E12, e("supported_groups", list16(X25519))] }),
  old("a ticket extension twice", { extensions: [...E12, e("session_ticket"), e("session_ticket")] }),
  modern("key_share twice", { extensions: [...E13, e("key_share", vector16(share(X25519, X25519_KEY)))] }),
  old("padding", { extensions: [...E12, e("padding", Buffer.alloc(500))] }),
  old("padding of 16 kB", { extensions: [...E12, e("padding", Buffer.alloc(16_384))] }),
  old("padding that is not zero", { extensions: [...E12, e("padding", Buffer.alloc(50, 1))] }),
  modern("padding of 60 kB", { extensions: [...E13, e("padding", Buffer.alloc(60_000))] }),
  old("padding of 60 kB in records of 100 bytes", {
    extensions: [...E12, e("padding", Buffer.alloc(60_000))],
    fragment: 100,
  }),
  old("padding of 60 kB in records of one byte", {
    extensions: [...E12, e("padding", Buffer.alloc(60_000))],
    fragment: 1,
  }),
  old("as large as a hello may be", {
    suites: u16s([...SUITES_12, ...Array.from({ length: 32_760 }, (_, at) => 0x2000 + (at % 0x1000))]),
    extensions: [...E12, e("padding", Buffer.alloc(65_380))],
    sessionId: Buffer.alloc(32, 4),
  }),
  old("an extension longer than the block", {
    extensions: null,
    trailing: Buffer.concat([u16(8), u16(10), u16(200), Buffer.alloc(4)]),
  }),
  old("an extensions block longer than the message", { extensions: null, trailing: u16(50) }),
  old("the head of an extension only", { extensions: null, trailing: Buffer.concat([u16(2), u16(10)]) }),
];
