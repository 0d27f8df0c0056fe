import assert from "node:assert/strict";
import { test } from "node:test";
import { droppedIn } from "../linux/conntrack.ts";
import { createConntrackWatch } from "./conntrack.ts";

test("The packets that a full table dropped are the sum over all CPUs", () => {
  const text =
    "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error\n" +
    "0000001b  00000000 00000001 00000000 00000002 00000000 00000000 00000000 00000000 00000000 0000000a 00000003 00000000\n" +
    "0000001b  00000000 00000001 00000000 00000002 00000000 00000000 00000000 00000000 00000000 00000010 00000000 00000000\n";
  assert.equal(droppedIn(text), 26);
  assert.equal(droppedIn(""), 0);
});

test("A connection table that is nearly full, or was full meanwhile, is logged once a minute", () => {
  let [now, table] = [0, { entries: 10, most: 100, dropped: 5 }];
  const lines: string[] = [];
  const watch = createConntrackWatch(
    () => table,
    (about, says) => lines.push(`${says} ${about["dropped"]}`),
    () => now,
  );
  const look = (at: number, entries: number, dropped: number) => {
    now = at;
    table = { entries, most: 100, dropped };
    watch.look();
    return lines.splice(0).join();
  };
  assert.equal(look(0, 89, 5), "");
  assert.match(look(1_000, 90, 5), /nearly full, with 90 of at most 100.* 0$/);
  assert.equal(look(2_000, 100, 9), "");
  assert.match(look(61_000, 100, 12), /is full.* 7$/);
  assert.match(look(121_000, 20, 13), /was full 1$/);
  assert.equal(look(190_000, 20, 13), "");
});
