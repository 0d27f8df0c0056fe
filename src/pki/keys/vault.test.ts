import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { needs, program } from "../../../test/needs.ts";
import { must } from "../../../test/processes.ts";
import { ConfigError } from "../../errors.ts";
import { emptyFolder, make } from "../x509/test-chain.ts";
import { createVault, PLAIN_VAULT, type StoreSecret } from "./vault.ts";

const { keyPem } = await make();
const RSA = (await make({ algorithm: "rsa" })).keyPem;
const phrase = (text: string): StoreSecret => ({ kind: "passphrase", text, path: "keyStore.passphraseFile" });
const bytes = randomBytes(32);
const KEY_FILE: StoreSecret = { kind: "keyFile", text: bytes.toString("base64"), path: "keyStore.keyFile" };
const vault = createVault({ current: phrase("a long passphrase") });

test("A sealed key is encrypted, and another vault with the same passphrase opens it", () => {
  const sealed = vault.seal(keyPem);
  assert.match(sealed, /^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
  assert.ok(!sealed.includes(keyPem.split("\n")[1]!));
  for (const one of [vault, createVault({ current: phrase("a long passphrase") })]) {
    assert.deepEqual(one.open("F", sealed), { keyPem, stale: false });
  }
});

test("Sealing a key twice gives different files, and all files of a secret have the same salt, even after a restart", () => {
  const restarted = createVault({ current: phrase("a long passphrase") });
  const first = vault.seal(keyPem);
  restarted.open("F", first);
  const sealed = [first, vault.seal(keyPem), restarted.seal(RSA)];
  assert.equal(new Set(sealed).size, 3);
  // From the OID of PBKDF2 to its salt.
  const salts = sealed.map((pem) => {
    const der = Buffer.from(pem.split("\n").slice(1, -2).join(""), "base64");
    return der
      .subarray(der.indexOf(Buffer.from("2a864886f70d01050c", "hex")))
      .subarray(0, 29)
      .toString("hex");
  });
  assert.equal(new Set(salts).size, 1);
});

test("A wrong or missing passphrase is an error that names the file and says what to do", () => {
  const sealed = vault.seal(keyPem);
  const cases: [RegExp, ReturnType<typeof createVault>][] = [
    [
      /keys\/1\.json: the secret in keyStore\.passphraseFile is wrong.*keyStore\.former/,
      createVault({ current: phrase("another passphrase") }),
    ],
    [/keys\/1\.json: the secret in keyStore\.keyFile is wrong/, createVault({ current: KEY_FILE })],
    [/keys\/1\.json: give its secret in keyStore\.passphraseFile or keyStore\.keyFile/, PLAIN_VAULT],
  ];
  for (const [message, wrong] of cases) {
    assert.throws(
      () => wrong.open("keys/1.json", sealed),
      (error: Error) => {
        assert.ok(error instanceof ConfigError);
        assert.equal(error.path, "keys/1.json");
        assert.match(error.message, message);
        return true;
      },
    );
  }
  for (const broken of [sealed.slice(0, 200), sealed.replace(/\n.{20}/, "\nAAAAAAAAAAAAAAAAAAAA")]) {
    assert.throws(() => vault.open("F", broken), ConfigError);
  }
});

test("A key that is encrypted with the former secret, or not at all, is opened and stale", () => {
  const former = phrase("a long passphrase");
  const moved = createVault({ current: KEY_FILE, former });
  assert.deepEqual(moved.open("F", vault.seal(keyPem)), { keyPem, stale: true });
  assert.deepEqual(moved.open("F", keyPem), { keyPem, stale: true });
  assert.deepEqual(moved.open("F", moved.seal(keyPem)), { keyPem, stale: false });
  // Only a former secret: the keys are decrypted again.
  const plain = createVault({ former });
  assert.deepEqual(plain.open("F", vault.seal(keyPem)), { keyPem, stale: true });
  assert.equal(plain.seal(keyPem), keyPem);
  assert.deepEqual(PLAIN_VAULT.open("F", keyPem), { keyPem, stale: false });
});

test(
  "openssl decrypts sealed keys with the passphrase, or with the SHA-256 of a key file",
  needs("openssl"),
  async (t) => {
    const file = join(emptyFolder(t), "sealed.pem");
    const read = (password: string) => must(program("openssl"), ["pkey", "-in", file, "-passin", `pass:${password}`]);
    writeFileSync(file, vault.seal(RSA));
    assert.equal(await read("a long passphrase"), RSA);
    writeFileSync(file, createVault({ current: KEY_FILE }).seal(RSA));
    assert.equal(await read(createHash("sha256").update(bytes).digest("hex")), RSA);
  },
);
