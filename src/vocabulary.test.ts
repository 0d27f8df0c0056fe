import assert from "node:assert/strict";
import { test } from "node:test";
import { nameVersion } from "./vocabulary.ts";

test("A version is written by its name, and in hexadecimal when it has none", () => {
  assert.deepEqual([0x0002, 0x0300, 0x0303, 0x0305].map(nameVersion), ["SSLv2", "SSLv3", "TLSv1.2", "0x0305"]);
});
