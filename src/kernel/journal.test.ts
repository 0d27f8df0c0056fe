import assert from "node:assert/strict";
import { utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { scratch } from "../../test/processes.ts";
import { ConfigError } from "../errors.ts";
import { undoPlan } from "./apply.ts";
import { readJournal, writeJournal } from "./journal.ts";

const DAMAGED = [
  "",
  "null",
  "[]",
  '{"place":"here"}',
  '{"place":"here","entries":[{}]}',
  '{"place":"here","entr',
  "\0\0\0",
];

test("A damaged journal is an error that says what to do, and one of another boot is nothing to undo", () => {
  const file = join(scratch(), "inline.json");
  for (const text of DAMAGED) {
    writeFileSync(file, text);
    assert.throws(
      () => undoPlan(file),
      (error: Error) =>
        error instanceof ConfigError && /inline\.json.*damaged\. Start the machine again, or/.test(error.message),
      text,
    );
    utimesSync(file, 1, 1);
    assert.deepEqual(undoPlan(file), []);
    assert.equal(readJournal(file), undefined, "it is removed");
  }
});

test("A journal is read as it was written", () => {
  const file = join(scratch(), "inline.json");
  const step = { kind: "setting", why: "", values: {} } as const;
  const journal = { place: "here", owner: { pid: 1, since: "2" }, entries: [{ step, done: false }] };
  writeFileSync(file, JSON.stringify(journal));
  const read = readJournal(file);
  assert.deepEqual(read, journal);
  writeJournal(file, read!);
  assert.deepEqual(readJournal(file), journal);
});
