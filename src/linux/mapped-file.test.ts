import assert from "node:assert/strict";
import { mkdtempSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { letGo, mapFile } from "./mapped-file.ts";
import { residentBytes } from "./test-mappings.ts";

test("The memory of a mapped file that was let go is free, and the file can still be read, even a deleted one", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "clearline-mapped-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "table");
  const content = Buffer.alloc(2 ** 20, "table");
  writeFileSync(file, content);
  const mapped = mapFile(file);
  assert.ok(content.equals(mapped));
  assert.equal(residentBytes(file), content.length);
  letGo(mapped);
  assert.equal(residentBytes(file), 0);
  unlinkSync(file);
  assert.ok(content.equals(mapped));
});
