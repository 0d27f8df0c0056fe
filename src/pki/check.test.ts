import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { checkPki } from "./check.ts";

const keyPem = generateKeyPairSync("ec", { namedCurve: "P-256" })
  .privateKey.export({ type: "pkcs8", format: "pem" })
  .toString();

test("checkPki() reports every error of keys, CAs, secrets and trust files, each with its path", () => {
  const errors = checkPki(
    {
      keys: [{ hosts: ["a.example"], certificatePem: "nothing", keyPem, path: "keys[0]" }],
      signing: {
        primary: { certificatePem: "nothing", keyPem, path: "signing.primary" },
        secondary: { certificatePem: "nothing", keyPem: "nothing", path: "signing.secondary" },
      },
      keyStore: {
        current: { kind: "passphrase", text: "too short", path: "keyStore.passphraseFile" },
        former: { kind: "passphrase", text: "short", path: "keyStore.former.passphraseFile" },
      },
      trustFiles: [{ path: "trust.files[0]", pem: "nothing" }],
    },
    Date.now(),
  );
  assert.deepEqual(
    errors.map(({ path }) => path),
    ["keys[0]", "signing.primary", "signing.secondary", "keyStore.passphraseFile", "trust.files[0]"],
  );
});

test("checkPki() reports no error for a configuration without certificates and keys", () => {
  assert.deepEqual(checkPki({ keys: [], signing: {}, keyStore: {}, trustFiles: [] }, Date.now()), []);
});
