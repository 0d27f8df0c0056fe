import assert from "node:assert/strict";
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { loadConfig } from "../config/load.ts";
import { showLists, shrunkLists } from "./lists.ts";

const folder = mkdtempSync(join(tmpdir(), "clearline-lists-"));
after(() => rmSync(folder, { recursive: true }));
const file = (name: string) => join(folder, name);
writeFileSync(file("bypass.txt"), "# banks\n*.bank.example\nwww.bank.example\n192.0.2.0/24\n2001:db8::/32\n");
writeFileSync(file("decrypt.txt"), "www.bank.example\n192.0.2.7-192.0.2.9\n");
writeFileSync(
  file("clearline.yaml"),
  "listeners: [{ name: proxy, mode: explicit, address: 127.0.0.1:1 }]\n" +
    "policy: { lists: { bypass: [./bypass.txt], decrypt: [./decrypt.txt] } }\n",
);
const loaded = await loadConfig(file("clearline.yaml"));

async function matches(find: string) {
  const { lists } = await showLists(loaded, find);
  return lists.map((list) => list.matches);
}

test("The lists are shown with their files, and those that changed since are stale", async () => {
  for (const name of ["bypass.txt", "decrypt.txt"]) utimesSync(file(name), 1, 1);
  utimesSync(file("decrypt.txt"), 1, Date.now() / 1000 + 60);
  const { lists } = await showLists(loaded, undefined);
  assert.deepEqual(
    lists.map(({ kind, path, name, entries, stale, matches }) => [kind, path, name, entries, stale, matches]),
    [
      ["bypass", "policy.lists.bypass[0]", "bypass.txt", 4, false, []],
      ["decrypt", "policy.lists.decrypt[0]", "decrypt.txt", 2, true, []],
    ],
  );
  rmSync(file("bypass.txt"));
  assert.equal((await showLists(loaded, undefined)).lists[0]!.stale, true);
});

test("A list that ends in the middle of a line, or is much shorter after a reload, is warned of by its file and line", async () => {
  const config = (list: string) => {
    writeFileSync(file("cut.txt"), list);
    writeFileSync(
      file("cut.yaml"),
      "listeners: [{ name: proxy, mode: explicit, address: 127.0.0.1:1 }]\npolicy: { lists: { decrypt: [./cut.txt] } }\n",
    );
    return loadConfig(file("cut.yaml"));
  };
  const hosts = Array.from({ length: 200 }, (_, at) => `host-${at}.example\n`).join("");
  const [whole, half, less, cut, empty] = [
    await config(hosts),
    await config(hosts.slice(0, hosts.indexOf("host-100"))),
    await config(hosts.slice(0, hosts.indexOf("host-99."))),
    await config(`${hosts}host-200.exa`),
    await config(""),
  ];
  const place = `policy.lists.decrypt[0]: ${file("cut.txt")}`;
  assert.deepEqual([whole.warnings, half.warnings, empty.warnings], [[], [], []]);
  assert.equal(cut.warnings.length, 1);
  assert.ok(cut.warnings[0]?.startsWith(`${place}:201: the last line has no line end`));
  assert.deepEqual(shrunkLists(whole.lists, half.lists), []);
  assert.match(shrunkLists(whole.lists, less.lists).join(), /cut\.txt has 99 entries, and had 200 before/);
  assert.match(shrunkLists(whole.lists, empty.lists).join(), /cut\.txt has no entry, and had 200 before/);
  assert.deepEqual(shrunkLists(empty.lists, whole.lists), []);
});

test("The entries are found that match a host or an address, as the policy compares them", async () => {
  assert.deepEqual(await matches("WWW.bank.example."), [["www.bank.example", "*.bank.example"], ["www.bank.example"]]);
  assert.deepEqual(await matches("a.b.bank.example"), [["*.bank.example"], []]);
  assert.deepEqual(await matches("evilbank.example"), [[], []]);
  assert.deepEqual(await matches("192.0.2.8"), [["192.0.2.0/24"], ["192.0.2.7-192.0.2.9"]]);
  for (const address of ["2001:db8::1", "[2001:db8::1]"])
    assert.deepEqual(await matches(address), [["2001:db8::/32"], []]);
  assert.deepEqual(await matches("::ffff:192.0.2.1"), [["192.0.2.0/24"], []]);
});

test("What is neither a host nor an address is refused", async () => {
  for (const find of ["10.0.0.0/8", "a b", "-", "192.0.2.256"])
    await assert.rejects(matches(find), /not a host or an address/);
});
