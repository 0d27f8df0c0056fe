import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ConfigError } from "../errors.ts";
import { within } from "../linux/netns.ts";
import { probeFeatures } from "../linux/nftables.ts";
import { needsNamespaces, routedNetwork, run } from "../linux/test-network.ts";
import { applyPlan } from "./apply.ts";
import type { PlanInput } from "./listener/lane.ts";
import { planInline } from "./listener/plan.ts";
import { createStanding } from "./standing.ts";

/** Runs inside the network namespace: each command is one that somebody else could give. */
const PROGRAM = `
import { execSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createStanding, deviationsLeft } from ${JSON.stringify(new URL("standing.ts", import.meta.url).href)};
const [, file, journal, ...commands] = process.argv;
const steps = JSON.parse(readFileSync(file, "utf8"));
const standing = createStanding(() => steps, { rules: -1, steps: -1 });
await standing.remember();
const found = [await standing.deviations()];
for (const command of commands) {
  execSync(command);
  found.push(await standing.deviations());
}
found.push(await deviationsLeft(journal));
console.log(JSON.stringify(found));
`;

test("Rules, routes and settings that others change are noticed", needsNamespaces(), () => {
  using network = routedNetwork();
  const folder = mkdtempSync(join(tmpdir(), "clearline-standing-"));
  try {
    const [file, journal] = [join(folder, "steps.json"), join(folder, "inline.json")];
    within(network.node, () => {
      const plan = planInline({ ...INPUT, features: { ...probeFeatures(), tagMemory: true } });
      applyPlan(plan, journal);
      writeFileSync(file, JSON.stringify(plan.steps));
    });
    const commands = [
      "nft add rule inet clearline arriving counter",
      "ip rule del priority 7700",
      "sysctl -qw net.ipv4.conf.na.forwarding=0",
      "nft delete table inet clearline",
    ];
    const output = run(
      network.node,
      process.execPath,
      "--input-type=module",
      "-e",
      PROGRAM,
      file,
      journal,
      ...commands,
    );
    const [untouched, rule, routing, setting, gone, left] = JSON.parse(output) as string[][];
    assert.deepEqual(untouched, []);
    assert.deepEqual(rule, ["the table inet clearline was changed"]);
    assert.equal(routing?.length, 2);
    assert.match(setting?.join() ?? "", /forward packets that are not intercepted/);
    assert.equal(gone?.[0], "the table inet clearline is gone");
    assert.deepEqual(left, gone);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("A node that cannot run nft says that it cannot compare its rules, and compares them once it can", async () => {
  const answers = ["no", "no", "as loaded", "as loaded", "changed"];
  const readRules = async () => {
    const answer = answers.shift()!;
    if (answer === "no")
      throw new ConfigError("listeners", "Cannot run nft: spawn EAGAIN", { cause: new Error("EAGAIN") });
    return [answer, ""];
  };
  const standing = createStanding(() => [], { rules: -1, steps: -1 }, readRules);
  await standing.remember();
  assert.deepEqual(await standing.deviations(), [
    "the rules cannot be compared with what was loaded: Cannot run nft: spawn EAGAIN",
  ]);
  assert.deepEqual(await standing.deviations(), []);
  assert.deepEqual(await standing.deviations(), ["the table inet clearline was changed"]);
});

const INPUT: Omit<PlanInput, "features"> = {
  listeners: [
    {
      ...{ name: "edge", path: "listeners[0]", topology: "routed", networkA: "na", networkB: "nb", synHold: false },
      ...{ addresses: [], gateways: [], routes: [], failure: "open", ports: "all", blockQuic: false },
      ...{ direction: "aToB", midStream: "pass", bgp: "pass" },
    },
  ],
  ...{
    apiPort: 8484,
    workers: 1,
    basePort: 15_001,
    baseQueue: 30,
    markShift: 16,
    routingTable: 7700,
    rulePriority: 7700,
  },
  ...{ bridgeMacs: {}, rows: [] },
};
