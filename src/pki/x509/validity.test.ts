import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { make } from "./test-chain.ts";
import { readValidity } from "./validity.ts";

const UTC_TIME = Buffer.from([0x30, 0x1e, 0x17, 0x0d]);

test("readValidity() answers the dates of the certificate", async () => {
  const { der } = await make({ from: -3, to: 4 });
  const { notBefore, notAfter } = readValidity(new X509Certificate(der));
  assert.equal(notAfter - notBefore, 7 * 86_400_000);
  assert.equal(Math.round((Date.now() - notBefore) / 86_400_000), 3);
});

test("A date that cannot be parsed is always NaN", async () => {
  const { der } = await make();
  const first = der.indexOf(UTC_TIME) + UTC_TIME.length;
  for (const [at, name] of [
    [first, "notBefore"],
    [first + 15, "notAfter"],
  ] as const) {
    const broken = Buffer.from(der);
    broken.write("not a date at", at, "latin1");
    const certificate = new X509Certificate(broken);
    for (let times = 0; times < 50; times += 1) assert.ok(Number.isNaN(readValidity(certificate)[name]));
  }
});
