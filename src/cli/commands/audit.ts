import type { Command } from "commander";
import type { AuditEntry, AuditList } from "../../control/api.ts";
import { openClient, queryOf } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { color, print, printJson, shortTime, table } from "../render.ts";
import { readSince } from "../spans.ts";
import { wholeNumber } from "../whole-number.ts";

interface Options extends CommonOptions {
  readonly since?: number;
  readonly who?: string;
  readonly action?: string;
  readonly limit?: number;
  readonly json?: true;
}

export function auditCommand(): Command {
  return createCommand("audit", "Show who changed something or looked at plaintext, the newest first.", [
    "audit",
    "audit --since 24h --who night-shift",
    "audit --action ca --json",
  ])
    .option("--since <when>", "only entries since then: 24h, 7d, or a date such as 2026-11-28", readSince)
    .option("--who <name>", "only this caller's, by the name of the token")
    .option("--action <action>", "only this action, as the list names it, or its first word")
    .option("--limit <n>", "how many at most (default: 100)", wholeNumber(1000))
    .option("--json", "print JSON")
    .action(async ({ config, json, ...query }: Options) => {
      const list = await (await openClient(config)).ask<AuditList>("GET", `/audit${queryOf({ ...query })}`);
      if (json) return printJson(list, 2);
      if (list.entries.length === 0) return print("There is no such entry.");
      print(table<AuditEntry>(COLUMNS, list.entries));
      if (list.more) print(color.dim("… and more; --limit shows them"));
    });
}

const COLUMNS = [
  { title: "TIME", rank: 0, value: ({ time }: AuditEntry) => shortTime(time) },
  { title: "WHO", rank: 0, min: 8, value: ({ who }: AuditEntry) => who },
  { title: "ACTION", rank: 0, value: ({ action }: AuditEntry) => action },
  { title: "SUBJECT", rank: 0, min: 12, value: ({ subject }: AuditEntry) => subject },
  {
    title: "OUTCOME",
    rank: 0,
    value: ({ outcome }: AuditEntry) => outcome,
    paint: ({ outcome }: AuditEntry) => OUTCOME_COLORS[outcome],
  },
  { title: "FROM", rank: 1, value: ({ address }: AuditEntry) => address },
  { title: "ROLE", rank: 3, value: ({ role }: AuditEntry) => role },
  { title: "DETAIL", rank: 2, min: 20, value: ({ detail }: AuditEntry) => detail },
];

const OUTCOME_COLORS = { begun: color.yellow, done: color.green, failed: color.red, refused: color.red } as const;
