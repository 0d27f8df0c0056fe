import assert from "node:assert/strict";
import { test } from "node:test";
import { createRendezvous } from "./rendezvous.ts";

const LONG = 60_000;

test("The first key with exactly one owner decides", () => {
  const meeting = createRendezvous<string>(LONG);
  meeting.expect("a", ["id a", "pair 1"]);
  meeting.expect("b", ["id b", "pair 1"]);
  assert.equal(meeting.find(["id b", "pair 1"]), "b");
  assert.equal(meeting.find(["id of the tool's own", "id a"]), "a");
});

test("A key that two owners share identifies neither, until one of them forgets it", () => {
  const meeting = createRendezvous<string>(LONG);
  meeting.expect("a", ["pair"]);
  meeting.expect("b", ["pair"]);
  assert.equal(meeting.find(["pair"]), undefined);
  meeting.forget("a", ["pair"]);
  assert.equal(meeting.find(["pair"]), "b");
});

test("All keys of an owner that leaves are forgotten", () => {
  const meeting = createRendezvous<number>(LONG);
  meeting.expect(0, ["x", "y"]);
  meeting.expect(1, ["z"]);
  meeting.leave(0);
  assert.deepEqual([meeting.find(["x"]), meeting.find(["y"]), meeting.find(["z"])], [undefined, undefined, 1]);
});

test("A key that is announced a moment later is awaited, for a limited time", async () => {
  const meeting = createRendezvous<string>(LONG);
  const found = meeting.await(["late"]);
  meeting.expect("a", ["other"]);
  meeting.expect("b", ["late"]);
  assert.equal(await found, "b");
  assert.equal(await createRendezvous<string>(1).await(["never"]), undefined);
});
