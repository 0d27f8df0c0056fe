import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { scratch } from "../../test/processes.ts";
import { findRunningNode, removeNodeFile, writeNodeFile } from "./data-folder.ts";

const ADDRESS = { host: "127.0.0.1", port: 8484 };

test("A running node is found by its file, which only its user can read", () => {
  const folder = scratch();
  assert.equal(findRunningNode(folder), undefined);
  writeNodeFile(folder, ADDRESS);
  assert.deepEqual(findRunningNode(folder), ADDRESS);
  assert.equal(statSync(join(folder, "node.json")).mode & 0o777, 0o600);
  removeNodeFile(folder);
  assert.equal(findRunningNode(folder), undefined);
  assert.ok(!existsSync(join(folder, "node.json")));
});

test("The file of a process that has ended is ignored, also when its pid is in use again", () => {
  const folder = scratch();
  const file = join(folder, "node.json");
  writeNodeFile(folder, ADDRESS);
  const own = JSON.parse(readFileSync(file, "utf8"));
  writeFileSync(file, JSON.stringify({ ...own, started: "1" }));
  assert.equal(findRunningNode(folder), undefined);
  // No process has a pid above the kernel's limit.
  writeFileSync(file, JSON.stringify({ ...own, pid: 2 ** 30 }));
  assert.equal(findRunningNode(folder), undefined);
});

test("A file that cannot be read as one is ignored", () => {
  const folder = scratch();
  for (const text of ["", "{", "null", "{}", '{ "pid": "1", "started": "1", "host": "a", "port": 1 }']) {
    writeFileSync(join(folder, "node.json"), text);
    assert.equal(findRunningNode(folder), undefined, text);
  }
});

test("A node that stops leaves the file of another node", () => {
  const folder = scratch();
  const file = join(folder, "node.json");
  writeNodeFile(folder, ADDRESS);
  writeFileSync(file, readFileSync(file, "utf8").replace(`${process.pid}`, "1"));
  removeNodeFile(folder);
  assert.ok(existsSync(file));
});
