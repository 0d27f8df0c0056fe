import assert from "node:assert/strict";
import { createPublicKey, randomBytes, webcrypto } from "node:crypto";
import { test } from "node:test";
import { make } from "../pki/x509/test-chain.ts";
import { readShown } from "./shown-chain.ts";

const authority = await make({ subject: "CN=Costly CA", ca: true });

/** A certificate with an RSA key of these lengths, in bits. Nobody has the private key, and none is needed. */
async function withKey(modulus: number, exponent: number): Promise<Buffer> {
  const odd = (bits: number) => {
    const number = randomBytes(Math.ceil(bits / 8));
    number[0] = 1 << ((bits - 1) % 8);
    number[number.length - 1]! |= 1;
    return number.toString("base64url");
  };
  const jwk = { kty: "RSA", n: odd(modulus), e: exponent === 17 ? "AQAB" : odd(exponent) };
  const spki = createPublicKey({ key: jwk, format: "jwk" }).export({ type: "spki", format: "der" });
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  const publicKey = await webcrypto.subtle.importKey("spki", spki, algorithm, true, ["verify"]);
  const keys = { publicKey, privateKey: authority.keys.privateKey } as webcrypto.CryptoKeyPair;
  return (await make({ subject: "CN=costly", issuer: authority, keys })).der;
}

const cheap = await withKey(8_192, 17);
for (const [title, modulus, exponent] of [
  ["a modulus of 8,200 bits", 8_200, 17],
  ["a modulus of 16,384 bits", 16_384, 17],
  ["an exponent of 34 bits", 2_048, 34],
  ["an exponent of 3,072 bits", 3_072, 3_072],
] as const) {
  test(`A certificate whose RSA key has ${title} is not used: it would cost too much to verify with`, async () => {
    const costly = await withKey(modulus, exponent);
    assert.equal(readShown([costly, cheap]), undefined);
    const shown = readShown([cheap, costly]);
    assert.equal(shown?.chain.length, 1);
    assert.deepEqual(shown?.ders, [cheap]);
  });
}

test("RSA keys of up to 8,192 bits with a usual exponent are used", () => {
  assert.equal(readShown([cheap, cheap])?.chain.length, 2);
});
