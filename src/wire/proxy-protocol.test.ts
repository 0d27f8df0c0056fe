import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PeerError } from "../errors.ts";
import { crc32c } from "./crc32c.ts";
import { LOCAL_HEADER, type ProxyHeader, readProxyHeader, writeProxyHeader } from "./proxy-protocol.ts";
import { u8, u16, vector16 } from "./writer.ts";

const NONE = { source: undefined, destination: undefined, alpn: undefined, authority: undefined, uniqueId: undefined };
const SIGNATURE = LOCAL_HEADER.subarray(0, 12);

/** A version 2 header over IPv4, from 192.0.2.1:40000 to 192.0.2.2:443, with these types and values. */
function second(...values: readonly (readonly [type: number, value: Uint8Array])[]): Buffer {
  const ends = [Buffer.from([192, 0, 2, 1, 192, 0, 2, 2]), u16(40_000), u16(443)];
  const more = values.flatMap(([type, value]) => [u8(type), vector16(value)]);
  return Buffer.concat([SIGNATURE, Buffer.from([0x21, 0x11]), vector16(...ends, ...more)]);
}

/** The header and the bytes after it, or the reason for the refusal. */
function outcome(bytes: Buffer): { header: ProxyHeader; rest: string } | "more" | "PeerError" {
  try {
    const reading = readProxyHeader(bytes);
    if (reading.kind === "more") return "more";
    return { header: reading.header, rest: bytes.toString("latin1", reading.length) };
  } catch (error) {
    if (error instanceof PeerError) return "PeerError";
    throw error;
  }
}

test("A line of version 1 gives both ends, and the bytes after it belong to the connection", () => {
  const v4 = outcome(Buffer.from("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET /"));
  assert.deepEqual(v4, {
    header: {
      ...NONE,
      command: "proxy",
      source: { address: "192.0.2.1", port: 56324 },
      destination: { address: "198.51.100.7", port: 443 },
    },
    rest: "GET /",
  });
  const v6 = outcome(Buffer.from("PROXY TCP6 2001:db8:0:0::1 ::ffff:192.0.2.1 1 65535\r\n"));
  assert.deepEqual(typeof v6 === "string" ? v6 : [v6.header.source, v6.header.destination], [
    { address: "2001:db8::1", port: 1 },
    { address: "192.0.2.1", port: 65535 },
  ]);
  assert.deepEqual(outcome(Buffer.from("PROXY UNKNOWN\r\n")), { header: { ...NONE, command: "proxy" }, rest: "" });
  assert.deepEqual(outcome(Buffer.from("PROXY UNKNOWN ffff:: a b c\r\n")), {
    header: { ...NONE, command: "proxy" },
    rest: "",
  });
});

for (const [what, line] of [
  ["another beginning", "GET / HTTP/1.1\r\n"],
  ["two spaces", "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n"],
  ["an address of the other family", "PROXY TCP4 ::1 ::2 1 2\r\n"],
  ["an invalid address", "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n"],
  ["a port above 65535", "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"],
  ["text after the ports", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"],
  ["no end within 107 bytes", `PROXY UNKNOWN ${"x".repeat(100)}`],
  ["an unknown family", "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"],
] as const) {
  test(`A line of version 1 with ${what} is refused`, () => {
    assert.equal(outcome(Buffer.from(line)), "PeerError");
  });
}

test("A header of version 2 gives both ends and the values that it was written with", () => {
  const values = {
    source: { address: "192.0.2.1", port: 40_000 },
    destination: { address: "192.0.2.2", port: 80 },
    alpn: "http/1.1",
    authority: "www.example.com",
    uniqueId: "m1x-0-7",
  };
  assert.deepEqual(outcome(Buffer.concat([writeProxyHeader(values), Buffer.from("more")])), {
    header: { ...values, command: "proxy", uniqueId: Buffer.from("m1x-0-7") },
    rest: "more",
  });
});

test("An IPv4 end beside an IPv6 one is read as IPv4", () => {
  const values = { source: { address: "127.0.0.1", port: 1 }, destination: { address: "2001:db8::2", port: 2 } };
  const found = outcome(writeProxyHeader(values));
  assert.deepEqual(found, { header: { ...NONE, ...values, command: "proxy" }, rest: "" });
});

test("A header of a local connection names no ends, whatever it contains", () => {
  const local = { header: { ...NONE, command: "local" }, rest: "" };
  assert.deepEqual(outcome(LOCAL_HEADER), local);
  const verbose = second();
  verbose[12] = 0x20;
  assert.deepEqual(outcome(verbose), local);
});

test("Values of other types are ignored, padding and TLS among them", () => {
  const found = outcome(
    second([0x04, Buffer.alloc(9)], [0x20, Buffer.from([1, 0, 0, 0, 0])], [0x05, Buffer.from("a")]),
  );
  assert.notEqual(typeof found, "string");
  assert.equal(typeof found === "string" ? "" : String(found.header.uniqueId), "a");
});

test("A checksum is verified when there is one", () => {
  // RFC 3720, appendix B.4: 32 bytes of zeroes.
  assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
  const bytes = second([0x03, Buffer.alloc(4)], [0x05, Buffer.from("a")]);
  bytes.writeUInt32BE(crc32c(bytes), 16 + 12 + 3);
  assert.notEqual(typeof outcome(bytes), "string");
  bytes[bytes.length - 1] = 0x62;
  assert.equal(outcome(bytes), "PeerError");
  assert.equal(outcome(second([0x03, Buffer.alloc(3)])), "PeerError");
});

for (const [what, change] of [
  ["version 3", (bytes: Buffer) => bytes.writeUInt8(0x31, 12)],
  ["an unknown command", (bytes: Buffer) => bytes.writeUInt8(0x22, 12)],
  ["UDP", (bytes: Buffer) => bytes.writeUInt8(0x12, 13)],
  ["a length below that of the addresses", (bytes: Buffer) => bytes.writeUInt16BE(11, 14)],
  ["a length above the limit", (bytes: Buffer) => bytes.writeUInt16BE(4097, 14)],
  ["a value longer than the header", (bytes: Buffer) => bytes.writeUInt16BE(2, 29)],
] as const) {
  test(`A header of version 2 with ${what} is refused`, () => {
    const bytes = second([0x05, Buffer.from("a")]);
    change(bytes);
    assert.equal(outcome(bytes), "PeerError");
  });
}

test("A unique ID longer than the protocol allows is refused", () => {
  assert.equal(outcome(second([0x05, Buffer.alloc(129)])), "PeerError");
});

const arbitraryHeader = fc.oneof(
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.concat([SIGNATURE, bytes])),
  fc
    .array(fc.tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 40 })), { maxLength: 5 })
    .map((values) => second(...values)),
  fc.string({ maxLength: 120 }).map((text) => Buffer.from(`PROXY ${text}\r\n`)),
  fc
    .tuple(fc.ipV6(), fc.ipV6(), fc.nat(70_000), fc.nat(70_000))
    .map((ends) => Buffer.from(`PROXY TCP6 ${ends.join(" ")}\r\n`)),
);

test("Any bytes give a header, more or a PeerError, and a part of them never gives another answer than the whole", () => {
  fc.assert(
    fc.property(arbitraryHeader, fc.nat(), (bytes, cut) => {
      const whole = outcome(bytes);
      const part = outcome(bytes.subarray(0, cut % (bytes.length + 1)));
      if (part === "more") return;
      if (part === "PeerError" || whole === "more" || whole === "PeerError") assert.deepEqual(part, whole);
      else assert.deepEqual(part.header, whole.header);
    }),
    { numRuns: 5_000 },
  );
});
