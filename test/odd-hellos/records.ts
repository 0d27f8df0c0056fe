import { u8, u16, vector24 } from "../../src/wire/writer.ts";
import { EMPTY, HELLO_12, HELLO_13, modern, type OddHello, old, raw, record } from "./hello.ts";

/** How a hello comes in records. */
export const RECORDS: readonly OddHello[] = [
  raw("An empty record in front", Buffer.concat([EMPTY, HELLO_12])),
  raw("An empty record in front, TLS 1.3", Buffer.concat([EMPTY, HELLO_13])),
  raw("30 empty records in front", Buffer.concat([...Array.from({ length: 30 }, () => EMPTY), HELLO_12])),
  raw("40 empty records in front", Buffer.concat([...Array.from({ length: 40 }, () => EMPTY), HELLO_12])),
  raw(
    "An empty record inside of the hello",
    Buffer.concat([...[record(22, HELLO_12.subarray(5, 50)), EMPTY, record(22, HELLO_12.subarray(50))]]),
  ),
  old("in records of one byte", { fragment: 1 }),
  modern("in records of one byte", { fragment: 1 }),
  old("in records of five bytes", { fragment: 5 }),
  raw(
    "A record header that says more than 16 KiB",
    Buffer.concat([Buffer.from([22, 3, 1, 0x48, 1]), Buffer.alloc(0x4801, 1)]),
  ),
  raw("A message that is no ClientHello", record(22, Buffer.concat([u8(2), vector24(Buffer.alloc(40))]))),
  raw("A HelloRequest", record(22, Buffer.concat([u8(0), vector24()]))),
  raw("A ClientHello without a body", record(22, Buffer.concat([u8(1), vector24()]))),
  raw("A ClientHello of two bytes", record(22, Buffer.concat([u8(1), vector24(u16(0x0303))]))),
  raw(
    "A ClientHello that says that it has 16 MB",
    record(22, Buffer.concat([u8(1), Buffer.from([0xff, 0xff, 0xff]), Buffer.alloc(100)])),
  ),
  raw(
    "A hello cut by application data",
    Buffer.concat([record(22, HELLO_12.subarray(5, 50)), record(23, HELLO_12.subarray(50))]),
  ),
  raw(
    "A hello cut by a fatal alert",
    Buffer.concat([record(22, HELLO_12.subarray(5, 50)), record(21, Buffer.from([2, 40]))]),
  ),
  raw("A fatal alert in front", Buffer.concat([record(21, Buffer.from([2, 40])), HELLO_12])),
  raw("Application data in front", Buffer.concat([record(23, Buffer.from("GET")), HELLO_12])),
];
