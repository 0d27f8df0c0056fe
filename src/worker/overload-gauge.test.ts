import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { OverloadLevel } from "../vocabulary.ts";
import { Gauge, levelAt } from "./overload-gauge.ts";

/** The threshold is 60: its two thirds are 40, and the middle between is 50. */
const THRESHOLD = 60;

describe("The level follows the value with hysteresis", () => {
  const CASES: readonly (readonly [values: readonly number[], levels: string])[] = [
    // Up to the threshold nothing changes, and there nothing is decrypted.
    [[0, 40, 50, 59, 60], "- - - - all"],
    // Falling: at the middle half, at two thirds none.
    [[60, 59, 51, 50, 45, 41, 40, 0], "all all all half half half - -"],
    // From the middle back up: only the threshold makes it all again.
    [[60, 50, 55, 59, 60, 59], "all half half half all all"],
    // Over the middle again and again changes nothing.
    [[60, 51, 49, 51, 49, 51], "all all half half half half"],
    // Below the two thirds it begins anew.
    [[60, 39, 50, 59, 60], "all - - - all"],
    [[60, 30, 59, 30, 59], "all - - - -"],
  ];
  for (const [values, levels] of CASES) {
    test(`${values.join(", ")}: ${levels}`, () => {
      const gauge = new Gauge("sessions");
      const seen = values.map((value, at) => gauge.look(value, THRESHOLD, { now: at * 100, rate: 1 }));
      assert.equal(seen.map((level) => (level === "none" ? "-" : level)).join(" "), levels);
    });
  }

  test("A threshold of 1 is met by one, and left with none", () => {
    assert.equal(levelAt("none", 1, 1), "all");
    assert.equal(levelAt("all", 0, 1), "none");
  });
});

describe("A delay that falls because nothing is decrypted is not believed at once", () => {
  /** Looks every 100 ms; [ms from the start, value, rate, level from then on]. */
  function follow(gauge: Gauge, steps: readonly (readonly [number, number, number, OverloadLevel])[]): void {
    for (const [now, value, rate, level] of steps)
      assert.equal(gauge.look(value, THRESHOLD, { now, rate }), level, `at ${now} ms`);
  }

  test("The rate of new sessions stands for it: by the same shares", () => {
    follow(new Gauge("eventLoopDelay"), [
      [10_000, 70, 300, "all"],
      [10_500, 0, 900, "all"],
      [11_500, 0, 900, "all"],
      [11_600, 0, 800, "all"],
      [11_900, 0, 750, "half"],
      [12_000, 0, 890, "half"],
      [12_400, 0, 600, "none"],
      [12_500, 0, 900, "none"],
    ]);
  });

  test("When the load is gone, so is the overload", () => {
    follow(new Gauge("cpu"), [
      [10_000, 60, 900, "all"],
      [12_000, 0, 880, "all"],
      // It accepts sessions in bursts.
      [12_200, 0, 300, "all"],
      [12_250, 0, 900, "all"],
      [12_500, 0, 0, "all"],
      [12_600, 0, 0, "none"],
    ]);
  });

  test("After 10 s it is put to the test, with few of the sessions, then with half, and after relapses ever later", () => {
    const gauge = new Gauge("eventLoopDelay");
    follow(gauge, [
      [10_000, 70, 900, "all"],
      [19_900, 0, 900, "all"],
      [20_100, 0, 900, "half"],
    ]);
    assert.equal(gauge.every, 8);
    // All of them would wait four times as long at least.
    follow(gauge, [
      [20_200, 14, 900, "half"],
      [20_300, 15, 900, "all"],
      [40_200, 0, 900, "all"],
      [40_400, 0, 900, "half"],
    ]);
    assert.equal(gauge.every, 8);
    follow(gauge, [[40_650, 0, 900, "half"]]);
    assert.equal(gauge.every, 2);
    // Half of the sessions are too many, too: all of them would wait twice as long.
    follow(gauge, [
      [40_900, 29, 900, "half"],
      [41_000, 31, 900, "all"],
      [80_900, 0, 900, "all"],
      [81_100, 0, 900, "half"],
      [81_800, 0, 900, "half"],
      [81_900, 0, 900, "none"],
      // All are too many.
      [82_000, 65, 900, "all"],
      [121_900, 0, 900, "all"],
      [122_100, 0, 900, "half"],
    ]);
  });

  test("When fewer come, half of the sessions are decrypted at once", () => {
    const gauge = new Gauge("eventLoopDelay");
    follow(gauge, [
      [10_000, 70, 900, "all"],
      [12_000, 0, 740, "half"],
    ]);
    assert.equal(gauge.every, 2);
  });

  test("Without new sessions, as beside one long pause, the value alone counts", () => {
    follow(new Gauge("eventLoopDelay"), [
      [10_000, 70, 0, "all"],
      [10_100, 45, 0, "half"],
      [10_200, 0, 0, "none"],
    ]);
  });

  test("What does not fall by bypassing is believed at once", () => {
    for (const load of ["memory", "descriptors", "sessions", "newSessions"] as const)
      follow(new Gauge(load), [
        [10_000, 60, 900, "all"],
        [10_100, 50, 900, "half"],
        [10_200, 40, 900, "none"],
      ]);
  });
});
