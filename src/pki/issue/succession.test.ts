import assert from "node:assert/strict";
import { copyFileSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ConfigError } from "../../errors.ts";
import { privateKeyPem } from "../keys/private-key.ts";
import { createVault } from "../keys/vault.ts";
import { emptyFolder, make } from "../x509/test-chain.ts";
import { type Authorities, openAuthorities } from "./authority.ts";
import type { Authority } from "./authority-reading.ts";

const NOW = Date.now();
const YEAR = 365 * 86_400_000;
const primaries = ({ list }: Pick<Authorities, "list">) =>
  list().flatMap(({ role, sha256 }) => (role === "primary" ? [sha256] : []));
const following = ({ next }: Authorities) => primaries({ list: next });
const others = (folder: string) =>
  readdirSync(folder).filter((name) => !/^(?:primary|secondary)-\w+\.(?:pem|key)$/.test(name));

test("The next CA is made beside the present one, which signs until the next one is activated", async (t) => {
  const folder = emptyFolder(t);
  const authorities = await openAuthorities(folder, {}, NOW);
  const old = primaries(authorities);
  const secondary = authorities.find("secondary", "rsa").sha256;
  await authorities.makeNext("primary", NOW);
  const next = following(authorities);
  assert.equal(new Set([...old, ...next]).size, 4);
  assert.deepEqual(primaries(authorities), old);
  for (const name of others(folder)) assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600);
  assert.deepEqual(following(await openAuthorities(folder, {}, NOW)), next, "a start changes nothing");

  await authorities.activate("primary", NOW);
  assert.deepEqual([primaries(authorities), following(authorities)], [next, []]);
  assert.equal(authorities.find("secondary", "rsa").sha256, secondary);
  const again = await openAuthorities(folder, {}, NOW);
  assert.deepEqual([primaries(again), following(again), again.notices], [next, [], []]);
  assert.deepEqual(
    others(folder)
      .map((name) => name.replace(/old-.*/, "old"))
      .sort(),
    [...["primary-ecdsa.key.old", "primary-ecdsa.pem.old", "primary-rsa.key.old", "primary-rsa.pem.old"]],
  );
});

test("There is one next CA at a time, none to activate before, and none of a given CA", async (t) => {
  const authorities = await openAuthorities(emptyFolder(t), {}, NOW);
  await assert.rejects(
    authorities.activate("primary", NOW),
    /Cannot activate the next primary CA: there is none\. Make one/,
  );
  const both = await Promise.allSettled([1, 2].map(() => authorities.makeNext("primary", NOW)));
  assert.deepEqual(both.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
  await assert.rejects(authorities.makeNext("primary", NOW), /there is one already; activate it, or destroy it first/);
  await assert.rejects(authorities.activate("primary", NOW + 11 * YEAR), /it has expired/);

  const { pem, keyPem } = await make({ ca: true, subject: "CN=given", to: 100 });
  const signing = { primary: { certificatePem: pem, keyPem, path: "signing.primary" } };
  const given = await openAuthorities(emptyFolder(t), signing, NOW);
  for (const act of [given.makeNext, given.activate])
    await assert.rejects(
      act("primary", NOW),
      /the primary CA: it is given in signing\.primary; replace the files there/,
    );
  await assert.rejects(given.destroy("primary", "next"), ConfigError);
});

test("Destroying removes the former keys and leaves their certificates, or removes the next CA", async (t) => {
  const folder = emptyFolder(t);
  const authorities = await openAuthorities(folder, {}, NOW);
  await authorities.renew("primary", NOW);
  await authorities.renew("secondary", NOW);
  assert.equal(await authorities.destroy("primary", "former"), 2);
  const left = others(folder).filter((name) => name.includes(".key."));
  assert.deepEqual(
    left.map((name) => name.split(".")[0]),
    ["secondary-ecdsa", "secondary-rsa"],
  );
  assert.equal(await authorities.destroy("primary", "former"), 0);
  await authorities.makeNext("primary", NOW);
  assert.equal(await authorities.destroy("primary", "next"), 2);
  assert.deepEqual(following(authorities), []);
  await authorities.makeNext("primary", NOW);
  const again = await openAuthorities(folder, {}, NOW);
  assert.deepEqual([primaries(again), following(again)], [primaries(authorities), following(authorities)]);
});

test("An activation or a destruction that was interrupted is completed by the next start, wherever it stopped", async (t) => {
  const folder = emptyFolder(t);
  const authorities = await openAuthorities(folder, {}, NOW);
  const before = primaries(authorities);
  await authorities.makeNext("primary", NOW);
  const [next, kept] = [following(authorities), emptyFolder(t)];
  const names = readdirSync(folder).filter((name) => name.startsWith("next-"));
  for (const name of names) copyFileSync(join(folder, name), join(kept, name));
  const at = (name: string) => join(folder, name);
  const restore = () => {
    for (const name of names) copyFileSync(join(kept, name), at(name));
  };
  // The steps of a removal.
  const steps = [
    () => renameSync(at("next-primary-ecdsa.pem"), at("next-primary.leaving")),
    () => writeFileSync(at("next-primary-ecdsa.key"), "overwritten"),
    () => rmSync(at("next-primary-ecdsa.key")),
    () => rmSync(at("next-primary-rsa.key")),
    () => rmSync(at("next-primary-rsa.pem")),
  ];
  for (const signs of [before, next]) {
    restore();
    if (signs === next) await authorities.activate("primary", NOW);
    for (const done of steps.keys()) {
      restore();
      for (const step of steps.slice(0, done + 1)) step();
      const again = await openAuthorities(folder, {}, NOW);
      assert.deepEqual([primaries(again), following(again)], [signs, []]);
      assert.match(again.notices.join(), /Removing the next primary CA in .* was interrupted: it is complete now/);
      assert.ok(!readdirSync(folder).some((name) => name.startsWith("next-")));
    }
  }
  restore();
  const again = await openAuthorities(folder, {}, NOW);
  assert.deepEqual([primaries(again), following(again)], [next, []], "nothing of it is removed yet");
  await again.makeNext("primary", NOW);
  const third = await openAuthorities(folder, {}, NOW);
  assert.deepEqual([third.next().length, third.notices], [2, []]);
});

test("A next CA without its key, or its certificate, is an error that names the file", async (t) => {
  for (const missing of ["next-primary-rsa.key", "next-primary-rsa.pem"]) {
    const folder = emptyFolder(t);
    await (await openAuthorities(folder, {}, NOW)).makeNext("primary", NOW);
    rmSync(join(folder, missing));
    await assert.rejects(openAuthorities(folder, {}, NOW), ({ path, message }: ConfigError) => {
      assert.equal(path, join(folder, missing));
      assert.match(
        message,
        /Cannot open the next primary CA: .* is not there, but next-primary-rsa.*move all of next-primary-\* away/,
      );
      return true;
    });
  }
});

test("When the present CA has expired, the next one takes its place at the start", async (t) => {
  const folder = emptyFolder(t);
  const first = await openAuthorities(folder, {}, NOW);
  await first.makeNext("primary", NOW + 5 * YEAR);
  const next = following(first);
  const late = await openAuthorities(folder, {}, NOW + 11 * YEAR);
  assert.deepEqual([primaries(late), following(late)], [next, []]);
  assert.ok(late.notices.some((text) => /The primary CA had expired: the next one/.test(text)));
});

test("The next CA's key is encrypted like the others", async (t) => {
  const folder = emptyFolder(t);
  const vault = createVault({
    current: { kind: "passphrase", text: "a long passphrase", path: "keyStore.passphraseFile" },
  });
  const authorities = await openAuthorities(folder, {}, NOW, vault);
  await authorities.makeNext("primary", NOW);
  assert.doesNotMatch(readFileSync(join(folder, "next-primary-ecdsa.key"), "utf8"), /BEGIN PRIVATE KEY/);
  await authorities.activate("primary", NOW);
  assert.doesNotMatch(readFileSync(join(folder, "primary-ecdsa.key"), "utf8"), /BEGIN PRIVATE KEY/);
  assert.deepEqual(primaries(await openAuthorities(folder, {}, NOW, vault)), primaries(authorities));
});

test("A node follows another that had the same CA, once; what is older, broken or another's changes nothing", async (t) => {
  const [one, two] = [emptyFolder(t), emptyFolder(t)];
  const first = await openAuthorities(one, {}, NOW);
  for (const name of readdirSync(one)) copyFileSync(join(one, name), join(two, name));
  const second = await openAuthorities(two, {}, NOW);
  const pairsOf = (list: readonly Authority[]) =>
    list
      .filter(({ role }) => role === "primary")
      .map(({ keyType, certificatePem: pem, key }) => ({ keyType, pem, keyPem: privateKeyPem(key) }));
  const told = (before: readonly string[]) =>
    ({ role: "primary", before, present: pairsOf(first.list()), next: pairsOf(first.next()) }) as const;

  await first.makeNext("primary", NOW);
  const prepared = told([]);
  assert.equal(await second.follow(prepared, NOW), "followed");
  assert.deepEqual(following(second), following(first));
  assert.equal(await second.follow(prepared, NOW), "same");

  const old = primaries(first);
  await first.activate("primary", NOW);
  const activated = told(old);
  const broken = { ...activated, present: activated.present.map((pair) => ({ ...pair, keyPem: "" })) };
  assert.equal(await second.follow(broken, NOW), "foreign");
  assert.equal(await second.follow(activated, NOW), "followed");
  assert.deepEqual([primaries(second), following(second)], [primaries(first), []]);
  assert.equal(await second.follow(activated, NOW), "same");
  assert.equal(await second.follow(prepared, NOW), "foreign", "the store has repeated it");

  const stranger = await openAuthorities(emptyFolder(t), {}, NOW);
  assert.equal(await stranger.follow(activated, NOW), "foreign");
  assert.deepEqual(primaries(await openAuthorities(two, {}, NOW)), primaries(first));
});
