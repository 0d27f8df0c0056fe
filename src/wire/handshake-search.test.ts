import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RECORDED } from "../../test/recorded/client-hello/recorded.ts";
import { findHandshake } from "./handshake-search.ts";

const GO = RECORDED["go"]!;
const SERVER_HELLO = Buffer.from("160303007a020000760303", "hex");
const SSLV2 = Buffer.from("802e0103010015000000100000", "hex");

test("A recorded ClientHello is found wherever it begins", () => {
  for (const [name, hello] of Object.entries(RECORDED)) {
    for (const before of ["", "x", "STARTTLS\r\n", "\x16", "\x16\x03", "\x16\x03\x01\x00\x00", "\x00".repeat(70_000)]) {
      const found = findHandshake(Buffer.concat([Buffer.from(before, "latin1"), hello]));
      // An empty record in front is a part of it.
      const at = before === "\x16\x03\x01\x00\x00" && hello[0] === 22 ? 0 : before.length;
      assert.deepEqual(found, { at, hello: "client" }, `${name} behind ${JSON.stringify(before.slice(0, 20))}`);
    }
  }
});

test("A ServerHello and an SSLv2-format hello are found too", () => {
  assert.deepEqual(findHandshake(SERVER_HELLO), { at: 0, hello: "server" });
  assert.deepEqual(findHandshake(Buffer.concat([Buffer.from("go\n"), SSLV2])), { at: 3, hello: "client" });
});

test("A hello in records of one byte is found, with empty records in between too", () => {
  const message = GO.subarray(5);
  const records = [...message.subarray(0, 40)].map((byte) => Buffer.of(22, 3, 1, 0, 1, byte));
  assert.deepEqual(findHandshake(Buffer.concat(records)), { at: 0, hello: "client" });
  const empty = Buffer.from("1603010000", "hex");
  const found = findHandshake(Buffer.concat(records.flatMap((record) => [empty, record])));
  assert.deepEqual(found, { at: 0, hello: "client" });
});

test("A beginning that is cut off is told, at its first byte", () => {
  for (let length = 1; length < 11; length++) {
    const bytes = Buffer.concat([Buffer.from("anything"), GO.subarray(0, length)]);
    assert.deepEqual(findHandshake(bytes), { at: 8, hello: undefined });
  }
});

test("What only resembles TLS is passed over", () => {
  for (const hex of [
    "1604010000",
    "16030500",
    "160301ffff0100",
    "16030100050200000101",
    "16030300040e000000",
    "17030300",
  ])
    assert.equal(findHandshake(Buffer.from(hex, "hex")), undefined, hex);
  const both = Buffer.concat([Buffer.from("16030300040e000000", "hex"), GO]);
  assert.deepEqual(findHandshake(both), { at: 9, hello: "client" });
});

test("Any bytes get an answer, and random ones hold no hello", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const found = findHandshake(Buffer.from(bytes));
      assert.ok(found === undefined || found.hello === undefined);
    }),
  );
});

test("Records without end cost no more than their bytes", () => {
  const flood = Buffer.alloc(65_535, Buffer.from("1603010000", "hex"));
  const found = findHandshake(flood);
  assert.ok(found === undefined || found.hello === undefined);
});
