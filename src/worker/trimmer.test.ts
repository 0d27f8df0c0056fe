import assert from "node:assert/strict";
import { test } from "node:test";
import { Trimmer } from "./trimmer.ts";

test("Memory is given back once after work, when a second was quiet", () => {
  let trims = 0;
  const trimmer = new Trimmer(() => {
    trims += 1;
  });
  const trimsAfter = (cpu: number) => {
    trimmer.look(cpu);
    return trims;
  };
  // At work, quiet, still quiet, at work for a short time, quiet, at work for long, quiet.
  assert.deepEqual([2, 2.05, 2.06, 2.5, 2.51, 3.4, 3.41].map(trimsAfter), [0, 1, 1, 1, 1, 1, 2]);
});
