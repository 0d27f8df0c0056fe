import assert from "node:assert/strict";
import { test } from "node:test";
import type { Config } from "../config/schema.ts";
import { CONFIG } from "../config/schema.ts";
import { capacityOf, warnOfCapacity } from "./capacity.ts";
import { createCounts } from "./counts.ts";
import { createShortageLog } from "./shortage-log.ts";

const GIB = 2 ** 30;
const PLENTY = { openFiles: 1_048_576, memory: 64 * GIB };

function config(sessions: number): Pick<Config, "limits" | "tools"> {
  const listeners = [{ name: "p", mode: "explicit", address: "127.0.0.1:1" }];
  return CONFIG.parse({ listeners, limits: { sessions } });
}

test("A worker's capacity is its share of limits.sessions, or what open files and memory allow", () => {
  assert.deepEqual(capacityOf(config(20_000), 4, PLENTY), { sessions: 5_000, bound: "limits.sessions" });
  assert.deepEqual(capacityOf(config(20_000), 1, { ...PLENTY, openFiles: 256 }), { sessions: 96, bound: "open files" });
  assert.deepEqual(capacityOf(config(20_000), 1, { ...PLENTY, openFiles: 65_536 }), {
    sessions: 20_000,
    bound: "limits.sessions",
  });
  const { sessions, bound } = capacityOf(config(20_000), 4, { ...PLENTY, memory: 2 * GIB });
  assert.equal(bound, "memory");
  assert.ok(sessions > 2_000 && sessions < 3_500, String(sessions));
  assert.deepEqual(capacityOf(config(20_000), 4, { openFiles: 20, memory: 0 }).sessions, 1);
});

test("The start warns when the node cannot carry what limits.sessions allows, and says what it can", () => {
  const warnings: string[] = [];
  const warn = (message: string) => void warnings.push(message);
  const state = (openFiles: number) => ({
    active: { loaded: { config: config(1_000) } },
    resources: { ...PLENTY, openFiles },
    workers: { count: 2 },
  });
  warnOfCapacity(state(65_536), warn);
  assert.deepEqual(warnings, []);
  warnOfCapacity(state(256), warn);
  assert.deepEqual(warnings, [
    "limits.sessions is 1000, but the open files of a process (256; ulimit -n, LimitNOFILE) are enough for 192 only. Give the node more, or lower the limit",
  ]);
});

test("Connections that were turned away are logged once a minute, with the limits that were met and how often", () => {
  const lines: unknown[] = [];
  let clock = 0;
  const counts = createCounts();
  const log = createShortageLog(
    counts,
    (about) => void lines.push(about),
    () => clock,
  );
  const report = (refused: number, evicted: number) => {
    const base = {
      sessions: 0,
      memory: 0,
      heap: 0,
      handles: 0,
      cpu: 0,
      delay: undefined,
      dns: { negative: 0, waiting: 0 },
      feeds: [],
      tools: [],
      caches: [],
    };
    const engine = { ends: 0, connections: 0, contexts: 0, writePairs: 0 };
    const overload = { level: "none", measures: [], bypassed: 0, dropped: 0 } as const;
    counts.report(0, { ...base, engine, overload, turnedAway: [{ limit: "limits.sessions", refused, evicted }] });
    log.look();
  };
  report(0, 0);
  report(2, 1);
  clock += 30_000;
  report(5, 1);
  clock += 30_000;
  report(7, 4);
  clock += 60_000;
  report(7, 4);
  assert.deepEqual(lines, [
    { limits: [{ limit: "limits.sessions", refused: 2, evicted: 1 }] },
    { limits: [{ limit: "limits.sessions", refused: 5, evicted: 3 }] },
  ]);
});
