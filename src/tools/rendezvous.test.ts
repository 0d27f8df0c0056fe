import assert from "node:assert/strict";
import { test } from "node:test";
import { createRendezvous } from "./rendezvous.ts";

const LONG = 60_000;

test("The first key that is one owner's decides", () => {
  const meeting = createRendezvous<string>(LONG);
  meeting.expect("a", ["id a", "pair 1"]);
  meeting.expect("b", ["id b", "pair 1"]);
  assert.equal(meeting.find(["id b", "pair 1"]), "b");
  assert.equal(meeting.find(["id of the tool's own", "id a"]), "a");
});

test("A key that two share is nobody's, until one of them is gone", () => {
  const meeting = createRendezvous<string>(LONG);
  meeting.expect("a", ["pair"]);
  meeting.expect("b", ["pair"]);
  assert.equal(meeting.find(["pair"]), undefined);
  meeting.forget("a", ["pair"]);
  assert.equal(meeting.find(["pair"]), "b");
});

test("Whoever leaves is forgotten whole", () => {
  const meeting = createRendezvous<number>(LONG);
  meeting.expect(0, ["x", "y"]);
  meeting.expect(1, ["z"]);
  meeting.leave(0);
  assert.deepEqual([meeting.find(["x"]), meeting.find(["y"]), meeting.find(["z"])], [undefined, undefined, 1]);
});

test("Word that comes a moment later is waited for, and no longer than that", async () => {
  const meeting = createRendezvous<string>(LONG);
  const found = meeting.await(["late"]);
  meeting.expect("a", ["other"]);
  meeting.expect("b", ["late"]);
  assert.equal(await found, "b");
  assert.equal(await createRendezvous<string>(1).await(["never"]), undefined);
});
