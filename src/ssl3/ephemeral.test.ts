import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { PeerError } from "../errors.ts";
import { ALERTS } from "../wire/alert.ts";
import { Reader } from "../wire/reader.ts";
import { vector16 } from "../wire/writer.ts";
import { answerPrime } from "./ephemeral.ts";

/** ServerDHParams with a prime of so many bits. It is odd, which is all that is looked at. */
function paramsOf(bits: number, leadingZeros = 0): Reader {
  const prime = Buffer.alloc(Math.ceil(bits / 8), 0xff);
  prime[0] = 0xff >> (7 - ((bits - 1) % 8));
  const two = Buffer.from([2]);
  const padded = Buffer.concat([Buffer.alloc(leadingZeros), prime]);
  return new Reader(Buffer.concat([vector16(padded), vector16(two), vector16(Buffer.from([4]))]), "the parameters");
}

for (const bits of [1023, 2049, 4096, 10_000]) {
  test(`A group of ${bits} bits is refused where 1024 to 2048 are allowed`, () => {
    assert.throws(
      () => answerPrime(paramsOf(bits), randomBytes, 2048),
      (error) => error instanceof PeerError && error.alert === ALERTS.insufficient_security,
    );
  });
}

test("Groups within the bounds are answered, whatever zeros are in front", () => {
  assert.equal(answerPrime(paramsOf(2048), randomBytes, 2048).group, "DH-2048");
  assert.equal(answerPrime(paramsOf(2048, 5), randomBytes, 2048).group, "DH-2048");
});
