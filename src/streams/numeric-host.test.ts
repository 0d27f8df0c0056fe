import assert from "node:assert/strict";
import { test } from "node:test";
import { readNumericHost } from "./numeric-host.ts";

for (const [name, address] of [
  ["0", "0.0.0.0"],
  ["127.1", "127.0.0.1"],
  ["127.0.1", "127.0.0.1"],
  ["10.258", "10.0.1.2"],
  ["2130706433", "127.0.0.1"],
  ["4294967295", "255.255.255.255"],
  ["0x7f.1", "127.0.0.1"],
  ["0X7F000001", "127.0.0.1"],
  ["0177.0.0.1", "127.0.0.1"],
  ["017700000001", "127.0.0.1"],
  ["127.0.0.1", "127.0.0.1"],
  ["4294967296", undefined],
  ["127.0.256", "127.0.1.0"],
  ["127.65536.1", undefined],
  ["256.1", undefined],
  ["0188.1", undefined],
  ["1.2.3.4.5", undefined],
  ["127.1.example", undefined],
  ["0x7g.1", undefined],
  ["", undefined],
] as const) {
  test(`${JSON.stringify(name)} is ${address ?? "no address"}`, () => assert.equal(readNumericHost(name), address));
}
