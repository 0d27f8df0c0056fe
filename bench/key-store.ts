import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openKeyFolder } from "../src/pki/keys/key-folder.ts";
import { makeSelfSigned } from "../src/pki/keys/key-request.ts";
import { createKeyReader } from "../src/pki/keys/key-source.ts";
import { createKeystore } from "../src/pki/keys/keystore.ts";
import { createVault } from "../src/pki/keys/vault.ts";

/**
 * `node bench/key-store.ts` measures thousands of inbound keys: reading them from an encrypted store at the start and at a
 * reload, building a worker's look-up table, and finding a key for a handshake, among few keys and among many. `--keys N`:
 * how many (default 5000).
 */

const { values } = parseArgs({ options: { keys: { type: "string", default: "5000" } } });
const COUNT = Number(values.keys);
const LOOKUPS = 200_000;
const ADDRESS = "192.0.2.1";

const folder = mkdtempSync(join(tmpdir(), "clearline-bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const secret = { kind: "passphrase", text: "a passphrase of the bench", path: "keyStore.passphraseFile" } as const;
const fail = (text: string): never => {
  throw new Error(text);
};
const openFolder = () => openKeyFolder(join(folder, "keys"), createVault({ current: secret }), fail);

const hosts = Array.from({ length: COUNT }, (_, index) => `host-${index}.clearline.test`);
const now = Date.now();
const store = openFolder();
await timed(`make and add ${COUNT} keys`, async () => {
  for (const host of hosts)
    await store.add({ hosts: [host], ...(await makeSelfSigned([host], "ecdsa", now, now + 1e9)) });
});
const reader = createKeyReader();
const started = openFolder();
const read = async () => (await started.read()).map(reader.read);
const entries = await timed(`open and read ${COUNT} keys, at the start`, read);
await timed(`open and read ${COUNT} keys, at a reload`, read);
const large = await timed(`build the look-up table of ${COUNT} keys`, async () => createKeystore(entries));
const small = createKeystore(entries.slice(0, 10));
for (const [keys, { find, keys: held }] of [[10, small] as const, [COUNT, large] as const]) {
  const begun = performance.now();
  for (let index = 0; index < LOOKUPS; index += 1) {
    const host = held[index % held.length]?.hosts[0];
    if (find(index % 2 ? host : `not.ours.${host}`, ADDRESS).length !== index % 2)
      fail("A look-up found the wrong key");
  }
  const each = ((performance.now() - begun) * 1e6) / LOOKUPS;
  console.log(`${`find one of ${keys} keys, half of them missing`.padEnd(50)}${each.toFixed(0).padStart(8)} ns each`);
}

async function timed<Value>(what: string, act: () => Promise<Value>): Promise<Value> {
  const started = performance.now();
  const value = await act();
  console.log(`${what.padEnd(50)}${(performance.now() - started).toFixed(0).padStart(8)} ms`);
  return value;
}
