import type { Command } from "commander";
import type { FleetNodeInfo, FleetNodes } from "../../control/api.ts";
import { openClient } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { color, duration, print, printJson, table } from "../render.ts";

export function fleetCommand(): Command {
  return createCommand("fleet", "Show the nodes that share this one's store, and how they are.", [
    "fleet",
    "fleet --json | jq '.nodes[] | select(.health.status != \"ready\")'",
  ])
    .option("--json", "print JSON")
    .action(async (options: CommonOptions & { json?: true }) => {
      const fleet = await (await openClient(options.config)).ask<FleetNodes>("GET", "/fleet");
      if (options.json) return printJson(fleet, 2);
      print(table<FleetNodeInfo>(COLUMNS, fleet.nodes));
      if (fleet.store === null) print(color.dim("resumption.shared is not set: this node shares nothing with others."));
      if (fleet.store === "alone") print(color.yellow("The store does not answer: other nodes are not known."));
    });
}

const COLUMNS = [
  { title: "NODE", rank: 0, value: ({ name, self }: FleetNodeInfo) => (self ? `${name} (this)` : name) },
  {
    title: "HEALTH",
    rank: 0,
    value: ({ health }: FleetNodeInfo) => health?.status ?? "no answer",
    paint: ({ health }: FleetNodeInfo) => (health ? HEALTH_COLORS[health.status] : color.red),
  },
  { title: "WHY", rank: 2, value: ({ health }: FleetNodeInfo) => health?.reasons.map(({ fact }) => fact).join(", ") },
  { title: "VERSION", rank: 1, value: ({ version }: FleetNodeInfo) => version },
  { title: "UP FOR", rank: 3, value: ({ since }: FleetNodeInfo) => duration(Date.now() - since) },
  { title: "LIVE", rank: 0, right: true, value: ({ live }: FleetNodeInfo) => live },
  { title: "LAST HOUR", rank: 0, right: true, value: (node: FleetNodeInfo) => ended(node, () => true) },
  { title: "FAILED", rank: 0, right: true, value: (node: FleetNodeInfo) => ended(node, (name) => !WELL.has(name)) },
  { title: "API", rank: 4, value: ({ api }: FleetNodeInfo) => api },
];

const HEALTH_COLORS = { ready: color.green, degraded: color.yellow, failing: color.red } as const;
/** The outcomes that policy wanted. */
const WELL: ReadonlySet<string> = new Set(["decrypted", "bypassed", "plaintext", "dropped"]);

function ended({ outcomes }: FleetNodeInfo, counts: (outcome: string) => boolean): number | null {
  if (!outcomes) return null;
  return Object.entries(outcomes).reduce((sum, [name, sessions]) => sum + (counts(name) ? sessions : 0), 0);
}
