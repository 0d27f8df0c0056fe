import assert from "node:assert/strict";
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ConfigError } from "../../errors.ts";
import { emptyFolder, make } from "../x509/test-chain.ts";
import { openKeyFolder } from "./key-folder.ts";
import { requestKey } from "./key-request.ts";
import { readKey } from "./key-source.ts";
import { createVault, PLAIN_VAULT, type StoreSecret, type Vault } from "./vault.ts";

const EC = await make({ subject: "CN=ec" });
const OTHER = await make({ subject: "CN=other" });
const KEY = { hosts: ["a.example", "*.b.example"], certificatePem: EC.pem, keyPem: EC.keyPem };
const PASSPHRASE: StoreSecret = { kind: "passphrase", text: "a long passphrase", path: "keyStore.passphraseFile" };

const fail = (text: string): never => assert.fail(text);
const open = (folder: string, vault: Vault = PLAIN_VAULT, notice: (text: string) => void = fail) =>
  openKeyFolder(folder, vault, notice);

test("An added key has a file that only its owner may read, until it is removed", async (t) => {
  const folder = join(emptyFolder(t), "keys");
  const keys = open(folder);
  assert.deepEqual(await keys.read(), []);
  const { id } = await keys.add(KEY);
  await keys.add(KEY);
  const file = join(folder, `${id}.json`);
  assert.deepEqual(readdirSync(folder), [`${id}.json`]);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  assert.deepEqual(await keys.read(), [{ ...KEY, path: file }]);
  assert.equal(await keys.remove(id), true);
  assert.equal(await keys.remove(id), false);
  assert.deepEqual(await keys.read(), []);
});

test("add() refuses a key that does not fit its certificate, and invalid hosts", async (t) => {
  const keys = open(join(emptyFolder(t), "keys"));
  await assert.rejects(keys.add({ ...KEY, keyPem: OTHER.keyPem }), ConfigError);
  for (const hosts of [["a.example", "b example"], ["*"], ["a.*.example"], ["münchen.example"], [""]]) {
    await assert.rejects(keys.add({ ...KEY, hosts }), ConfigError);
    const make = () => assert.fail("A key was made");
    await assert.rejects(keys.addRequest(hosts, make), ConfigError);
  }
  // Without hosts the certificate's names are used; here the common name.
  assert.deepEqual((await keys.add({ ...KEY, hosts: [] })).hosts, ["ec"]);
  assert.equal((await keys.read()).length, 1);
});

test("remove() accepts only ids, and removes nothing outside its folder", async (t) => {
  const folder = emptyFolder(t);
  writeFileSync(join(folder, "0123456789abcdef.json"), "{}");
  for (const id of ["../0123456789abcdef", "", "0123456789ABCDEF", "0123456789abcdef.json"]) {
    assert.equal(await open(join(folder, "keys")).remove(id), false);
  }
  assert.equal(readFileSync(join(folder, "0123456789abcdef.json"), "utf8"), "{}");
});

test("read() names a malformed file, and removes other users' access", async (t) => {
  const folder = emptyFolder(t);
  const notices: string[] = [];
  const keys = open(folder, PLAIN_VAULT, (text) => notices.push(text));
  const { id } = await keys.add(KEY);
  chmodSync(join(folder, `${id}.json`), 0o640);
  await keys.read();
  assert.match(notices.join(), /^Other users could read/);
  for (const text of ["", "[]", "null", '{"hosts":"a"}']) {
    writeFileSync(join(folder, "0123456789abcdef.json"), text, { mode: 0o600 });
    await assert.rejects(keys.read(), /0123456789abcdef\.json: it was not written by "clearline keys add"/);
  }
});

test("With a secret all private keys in the folder are encrypted, those from before too", async (t) => {
  const folder = emptyFolder(t);
  const { id } = await open(folder).add(KEY);
  const request = await requestKey(["c.example"], "ecdsa");
  await open(folder).addRequest(["c.example"], async () => request);
  const notices: string[] = [];
  const sealed = open(folder, createVault({ current: PASSPHRASE }), (text) => notices.push(text));
  await sealed.add({ hosts: ["o.example"], certificatePem: OTHER.pem, keyPem: OTHER.keyPem });

  const [first, second] = await sealed.read();
  const [waiting] = await sealed.readRequests();
  assert.deepEqual([first!.keyPem, second!.keyPem].sort(), [EC.keyPem, OTHER.keyPem].sort());
  assert.equal(waiting!.keyPem, request.keyPem);
  assert.deepEqual(notices.length, 2);
  assert.match(notices[0]!, /^Rewrote 1 private keys in /);
  for (const name of readdirSync(folder)) {
    const text = readFileSync(join(folder, name), "utf8");
    assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600);
    assert.match(text, /BEGIN ENCRYPTED PRIVATE KEY/);
    for (const { keyPem } of [EC, OTHER, request]) assert.ok(!text.includes(keyPem.split("\n")[1]!));
  }
  // A second start has nothing to rewrite.
  await open(folder, createVault({ current: PASSPHRASE })).read();
  await assert.rejects(open(folder).read(), (error: Error) => {
    assert.ok(error instanceof ConfigError);
    assert.ok(error.path.endsWith(".json"));
    return true;
  });
  assert.ok(readdirSync(folder).includes(`${id}.json`));
});

test("A key waits until its certificate is added", async (t) => {
  const folder = emptyFolder(t);
  const keys = open(folder);
  const made = await requestKey(["c.example"], "ed25519");
  const waiting = await keys.addRequest(["c.example"], async () => made);
  assert.equal(waiting.keyType, "ed25519");
  assert.deepEqual(await keys.readRequests(), [waiting]);
  assert.deepEqual(await keys.read(), []);

  const own = await requestKey(["d.example"], "ecdsa");
  const second = await keys.addRequest(["d.example"], async () => own);
  assert.equal(await keys.remove(second.id), true);
  assert.deepEqual(await keys.readRequests(), [waiting]);

  const third = { keyPem: EC.keyPem, requestPem: "any" };
  await keys.addRequest(["ec"], async () => third);
  const entry = await keys.add(KEY);
  assert.deepEqual(await keys.readRequests(), [waiting]);
  assert.deepEqual((await keys.read()).map(readKey), [{ ...entry, path: join(folder, `${entry.id}.json`) }]);
});
