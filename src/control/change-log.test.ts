import assert from "node:assert/strict";
import { test } from "node:test";
import type { Session } from "../sessions/record.ts";
import { ChangeLog } from "./change-log.ts";

const sessions = (...ids: string[]) => ids.map((id) => ({ id }) as Session);

test("What changed after a change is known, each session once, in the order of the last changes", () => {
  const log = new ChangeLog();
  log.note({ opened: sessions("a", "b"), changed: [], closed: [] });
  log.note({ opened: [], changed: sessions("a"), closed: [] });
  log.note({ opened: sessions("c"), changed: [], closed: sessions("b") });
  assert.deepEqual(
    [log.since(0), log.since(1), log.since(2), log.since(3)],
    [["a", "c", "b"], ["a", "c", "b"], ["c", "b"], []],
  );
});

test("A change that was forgotten, or that never was, is not answered", () => {
  const log = new ChangeLog(2);
  for (const id of ["a", "b", "c"]) log.note({ opened: sessions(id), changed: [], closed: [] });
  assert.deepEqual([log.since(0), log.since(1), log.since(2), log.since(4)], [undefined, ["b", "c"], ["c"], undefined]);
});
