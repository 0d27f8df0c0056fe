import assert from "node:assert/strict";
import { test } from "node:test";
import { createRendezvous } from "./rendezvous.ts";

test("The first key with exactly one owner decides", () => {
  const meeting = createRendezvous<string>();
  meeting.expect("a", ["id a", "pair 1"]);
  meeting.expect("b", ["id b", "pair 1"]);
  assert.equal(meeting.find(["id b", "pair 1"]), "b");
  assert.equal(meeting.find(["id of the tool's own", "id a"]), "a");
});

test("A key that two owners share identifies neither, until one of them forgets it", () => {
  const meeting = createRendezvous<string>();
  meeting.expect("a", ["pair"]);
  meeting.expect("b", ["pair"]);
  assert.equal(meeting.find(["pair"]), undefined);
  meeting.forget("a", ["pair"]);
  assert.equal(meeting.find(["pair"]), "b");
});

test("All keys of an owner that leaves are forgotten", () => {
  const meeting = createRendezvous<number>();
  meeting.expect(0, ["x", "y"]);
  meeting.expect(1, ["z"]);
  meeting.leave(0);
  assert.deepEqual([meeting.find(["x"]), meeting.find(["y"]), meeting.find(["z"])], [undefined, undefined, 1]);
});
