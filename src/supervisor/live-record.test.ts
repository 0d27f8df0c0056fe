import assert from "node:assert/strict";
import { test } from "node:test";
import { testSession } from "../control/test-operations.ts";
import type { Session } from "../sessions/record.ts";
import { LiveRecord } from "./live-record.ts";

const NONE = { opened: [], changed: [], closed: [] };
const live = (id: string, verdict: Session["verdict"]): Session => ({
  ...testSession(id, 0),
  end: null,
  verdict,
  protocol: null,
});

function setUp() {
  const sessions = new Map<string, Session>();
  const record = new LiveRecord();
  return {
    open(now: number, ...opened: Session[]) {
      for (const one of opened) sessions.set(one.id, one);
      record.note({ ...NONE, opened }, now);
    },
    change(now: number, ...changed: Session[]) {
      for (const one of changed) sessions.set(one.id, one);
      record.note({ ...NONE, changed }, now);
    },
    close(now: number, ...closed: Session[]) {
      for (const one of closed) sessions.set(one.id, { ...one, end: 1 });
      record.note({ ...NONE, closed }, now);
    },
    take: (now: number) =>
      record
        .take((id) => sessions.get(id), now)
        .map(({ id }) => id)
        .join(" "),
  };
}

test("A session is recorded at its verdict, at another verdict, and once a minute", () => {
  const { open, change, take } = setUp();
  open(0, live("a", null));
  assert.equal(take(100), "");
  change(200, live("a", "decrypt"));
  assert.equal(take(250), "a");
  change(300, live("a", "decrypt"));
  assert.equal(take(350), "");
  change(400, live("a", "bypass"));
  assert.equal(take(450), "a");
  assert.equal(take(60_000), "");
  assert.equal(take(60_450), "a");
  assert.equal(take(60_451), "");
});

test("A session without a verdict is recorded after a minute", () => {
  const { open, take } = setUp();
  open(0, live("a", null));
  assert.equal(take(59_999), "");
  assert.equal(take(60_000), "a");
});

test("A session that turns out to be no TLS is recorded without a verdict", () => {
  const { open, change, take } = setUp();
  open(0, live("a", null));
  change(10, { ...live("a", null), protocol: "other" });
  assert.equal(take(250), "a");
});

test("A session that ends before it is recorded is left to its end", () => {
  const { open, close, take } = setUp();
  open(0, live("a", "decrypt"), live("b", "drop"));
  close(10, live("a", "decrypt"));
  assert.equal(take(250), "b");
  close(300, live("b", "drop"));
  assert.equal(take(90_000), "");
});

test("Thousands that come due at once are spread, and verdicts do not wait for them", () => {
  const { open, change, take } = setUp();
  const many = Array.from({ length: 1_000 }, (_, at) => live(`s${at}`, null));
  open(0, ...many);
  change(70_000, live("s999", "decrypt"));
  const seen = new Set<string>();
  const first = take(70_000).split(" ");
  assert.ok(first.includes("s999"));
  for (let now = 70_000, ids = first; ids.length > 1; now += 250, ids = take(now).split(" ")) {
    assert.ok(ids.length <= 250, `${ids.length}`);
    for (const id of ids) seen.add(id);
  }
  assert.equal(seen.size, 1_000);
});
