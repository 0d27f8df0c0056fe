import { u8, u16s } from "../../src/wire/writer.ts";
import { both, modern, NOTHING, type OddHello, old, SUITES_12, SUITES_13 } from "./hello.ts";

/** Versions, session IDs, suites and compression. */
export const HEADS: readonly OddHello[] = [
  ...[0, 1, 8, 16, 31, 32, 33, 255].flatMap((length) => [
    old(`a session ID of ${length} bytes`, { sessionId: Buffer.alloc(length, 4) }),
    modern(`a session ID of ${length} bytes`, { sessionId: Buffer.alloc(length, 4) }),
  ]),
  ...[0x0300, 0x0301, 0x0302, 0x0304, 0x0305, 0x03ff, 0x0400, 0xffff, 0x0200, 0x0002].map((version) =>
    old(`version 0x${version.toString(16).padStart(4, "0")}`, { version }),
  ),
  ...[0x0301, 0x0302, 0x0304, 0x0400].map((version) => modern(`legacy version 0x${version.toString(16)}`, { version })),
  ...[0x0300, 0x0302, 0x0303, 0x0304, 0x03ff].flatMap((version) => [
    old(`records of version 0x${version.toString(16)}`, { record: version }),
    modern(`records of version 0x${version.toString(16)}`, { record: version }),
  ]),
  old("compression offered", { compression: [1, 0] }),
  old("compression behind null", { compression: [0, 1, 64] }),
  old("no null compression", { compression: [1] }),
  old("no compression methods", { compression: [] }),
  old("255 compression methods", { compression: Array.from({ length: 255 }, (_, at) => at) }),
  old("null compression twice", { compression: [0, 0] }),
  modern("compression offered", { compression: [1, 0] }),
  modern("no null compression", { compression: [1] }),
  both("compression offered", { compression: [0, 1] }),
  old("no suites", { suites: NOTHING }),
  old("suites of an odd length", { suites: Buffer.from([0xc0, 0x2b, 0xc0]) }),
  old("only signalling suites", { suites: u16s([0x00ff]) }),
  old("only unknown suites", { suites: u16s([0x7777, 0x8888]) }),
  old("only NULL suites", { suites: u16s([0x0001, 0x0002, 0x003b]) }),
  old("only anonymous suites", { suites: u16s([0xc018, 0x0034]) }),
  old("only export suites", { suites: u16s([0x0003, 0x0008]) }),
  old("only suites of TLS 1.3", { suites: u16s(SUITES_13) }),
  old("a suite ten times", { suites: u16s(Array.from({ length: 10 }, () => 0xc02f)) }),
  old("GREASE suites", { suites: u16s([0x0a0a, ...SUITES_12, 0xfafa]) }),
  old("30,000 suites", {
    suites: u16s([...Array.from({ length: 30_000 }, (_, at) => 0x2000 + (at % 0x1000)), 0xc02f, 0xc02b]),
  }),
  old("bytes behind the extensions", { trailing: u8(0) }),
  old("bytes where the extensions would be", { extensions: null, trailing: u8(0) }),
];
