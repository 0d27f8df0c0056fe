import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { test } from "node:test";

/** Which folder of src/pki may import which other. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  x509: [],
  keys: ["x509"],
  revocation: ["x509"],
  issue: ["keys", "x509"],
  verify: ["keys", "revocation", "x509"],
};

test("The folders of src/pki import each other in one direction only", () => {
  const found = Object.entries(MAY_IMPORT).flatMap(([folder, allowed]) =>
    globSync(`src/pki/${folder}/*.ts`, { exclude: ["**/*.test.ts"] }).flatMap((file) =>
      [...readFileSync(file, "utf8").matchAll(/from "\.\.\/([a-z0-9]+)\//g)]
        .map(([, other]) => other!)
        .filter((other) => !allowed.includes(other))
        .map((other) => `${file} imports ${other}`),
    ),
  );
  assert.deepEqual(found, []);
});
