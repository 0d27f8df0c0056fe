import assert from "node:assert/strict";
import { constants, generateKeyPairSync, privateDecrypt } from "node:crypto";
import { test } from "node:test";
import { decryptPremaster, encryptPremaster } from "./key-exchange.ts";

const RSA = generateKeyPairSync("rsa", { modulusLength: 1024 });

test("A premaster secret is padded with random bytes that are asked for together, and of which none is zero", () => {
  const sizes: number[] = [];
  const random = (size: number) => {
    sizes.push(size);
    // A single byte is asked for in place of each zero; the first one is zero too.
    return size > 1 ? Buffer.alloc(size, Buffer.of(0, 7, 8)) : Buffer.of(sizes.filter((one) => one === 1).length - 1);
  };
  const { premaster, message } = encryptPremaster(RSA.publicKey, 0x0300, random);
  const block = privateDecrypt({ key: RSA.privateKey, padding: constants.RSA_NO_PADDING }, message);
  const padding = 1024 / 8 - 2 - 1 - premaster.length;
  assert.deepEqual(sizes.slice(0, 2), [premaster.length - 2, padding]);
  assert.equal(sizes.length - 2, Math.ceil(padding / 3) + 1);
  assert.equal(block.subarray(2).indexOf(0), padding);
  assert.deepEqual(
    decryptPremaster(RSA.privateKey, message, 0x0300, (size) => Buffer.alloc(size)),
    premaster,
  );
});
