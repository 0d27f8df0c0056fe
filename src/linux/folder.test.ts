import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { makeFolder } from "./folder.ts";

const folder = mkdtempSync(join(tmpdir(), "clearline-folder-"));
after(() => rmSync(folder, { recursive: true }));

test("A folder is made with its missing parents, for this user only", async () => {
  const path = join(folder, "a", "b", "c");
  await makeFolder(path);
  await makeFolder(path);
  for (const one of [path, join(folder, "a")]) assert.equal(statSync(one).mode & 0o777, 0o700);
});

test("Two that make the same folder at once both succeed", async () => {
  // Often, because what goes wrong depends on who comes first.
  for (let round = 0; round < 100; round += 1) {
    const parent = join(folder, String(round), "y");
    await Promise.all([1, 2, 3].map((name) => makeFolder(join(parent, String(name)))));
    assert.ok(statSync(join(parent, "3")).isDirectory());
  }
});

test("A folder that the system refuses is an error at once, also in /proc", async () => {
  writeFileSync(join(folder, "file"), "");
  symlinkSync("nowhere", join(folder, "dangling"));
  for (const [path, code] of [
    ["/proc/clearline", "ENOENT"],
    ["/proc/clearline/data", "ENOENT"],
    [join(folder, "file"), "EEXIST"],
    [join(folder, "file", "data"), "ENOTDIR"],
    [join(folder, "dangling"), "EEXIST"],
  ] as const) {
    await assert.rejects(makeFolder(path), { code }, path);
  }
});
