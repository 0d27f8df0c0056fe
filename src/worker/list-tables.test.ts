import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { residentBytes } from "../linux/test-mappings.ts";
import { FAULTS, type Fault } from "../vocabulary.ts";
import { type ListTables, withLists } from "./list-tables.ts";

const POLICY = {
  default: "decrypt",
  versions: { min: "TLSv1.2", max: "TLSv1.3", belowMin: "bypass", aboveMax: "drop" },
  rules: [],
  certificate: Object.fromEntries(FAULTS.map((fault) => [fault, "drop"])) as Record<Fault, "drop">,
  clientCertificate: { action: "bypass", for: 3_600_000 },
} as const;

test("The lists of a policy that was replaced take no memory, although sessions still have it", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "clearline-lists-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const [kept, old, fresh] = ["kept", "old", "fresh"].map((name) => join(folder, name)) as [string, string, string];
  for (const file of [kept, old, fresh]) writeFileSync(file, Buffer.alloc(2 ** 20, file));
  const tables: ListTables = new Map();
  /** As a policy is compiled, which reads its lists. */
  const read = (bypass: string, decrypt: string) => {
    const { lists } = withLists({ policy: POLICY, lists: { bypass: [bypass], decrypt: [decrypt] } }, tables);
    return [...lists.bypass, ...lists.decrypt].map((table) => Buffer.from(table as Uint8Array));
  };
  const before = withLists({ policy: POLICY, lists: { bypass: [old], decrypt: [kept] } }, tables);
  read(old, kept);
  assert.deepEqual([old, kept].map(residentBytes), [2 ** 20, 2 ** 20]);
  read(fresh, kept);
  assert.deepEqual([old, kept, fresh].map(residentBytes), [0, 2 ** 20, 2 ** 20]);
  assert.deepEqual(Buffer.from(before.lists.bypass[0] as Uint8Array), Buffer.alloc(2 ** 20, old));
});
