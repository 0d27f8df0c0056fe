import assert from "node:assert/strict";
import { test } from "node:test";
import { flameGraph } from "./flame.ts";

const call = (id: number, functionName: string, children: number[] = [], url = "") => ({
  ...{ id, children },
  callFrame: { functionName, url, lineNumber: 9 },
});

test("A flame graph shows each call's share of the work, without idle time and the start", () => {
  const svg = flameGraph("a < b", {
    nodes: [
      call(1, "(root)", [2, 4, 5]),
      call(2, "run", [3], "file:///x/src/engine/loop.ts"),
      call(3, "send"),
      call(4, "(idle)"),
      call(5, "", [], "node:internal/main/run_main_module"),
    ],
    samples: [2, 3, 3, 3, 4, 5],
    timeDeltas: [10, 10, 10, 10, 1000, 1000],
  });
  const shares = [...svg.matchAll(/<title>(.*?), ([\d.]+) %/g)].map(([, name, share]) => [name, share]);
  assert.deepEqual(shares, [
    ["all", "100.0"],
    ["run loop.ts:10", "100.0"],
    ["send", "75.0"],
  ]);
  assert.match(svg, /<title id="t">a &lt; b</);
});
