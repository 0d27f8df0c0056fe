import { type Command, Option } from "commander";
import type { TopList } from "../../control/api.ts";
import { openClient, queryOf } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { amount, bytes, type Column, color, print, printJson, shortTime, table } from "../render.ts";
import { readSince } from "../spans.ts";
import { wholeNumber } from "../whole-number.ts";

interface Options extends CommonOptions {
  readonly by: string;
  readonly since?: number;
  readonly until?: number;
  readonly host?: string;
  readonly client?: string;
  readonly limit?: number;
  readonly json?: true;
}

/** As the API has it; the CLI loads no schema. */
const KEYS = ["host", "client", "rule", "version", "suite", "fingerprint"];

export function topCommand(): Command {
  return createCommand("top", "Show what most sessions have in common: hosts, clients, rules, versions…", [
    "top --by host",
    "top --by client --since 1h",
    "top --by fingerprint --host '*.example.com'",
  ])
    .addOption(new Option("--by <what>", "what to count by").choices(KEYS).default("host"))
    .option("--since <time>", "began then or later: 1h, 30m, 2026-11-28T14:00 (default: 24h)", readSince)
    .option("--until <time>", "began before, alike", readSince)
    .option("--host <host>", "the SNI, the CONNECT host or a name in the server's certificate; * matches any text")
    .option("--client <address>", "the client's address or subnet")
    .option("--limit <n>", "the most rows (default: 20)", wholeNumber(1000))
    .option("--json", "print JSON")
    .action(async ({ config, json, ...wanted }: Options) => {
      const top = await (await openClient(config)).ask<TopList>("GET", `/top${queryOf({ ...wanted })}`);
      if (json) return printJson(top, 2);
      if (top.sessions === 0) return print(`No session began since ${shortTime(top.since)}.`);
      if (top.rows.length > 0) print(table(columns(top), top.rows));
      const { others, without } = top;
      const rest = [
        ...(others > 0 ? [`${amount(others, "session")} of others`] : []),
        ...(without > 0 ? [`${amount(without, "session")} without a ${top.by}`] : []),
      ];
      if (rest.length > 0) print(color.dim(`… and ${rest.join(", ")}`));
    });
}

type Row = TopList["rows"][number];

function columns({ by, sessions: all }: TopList): Column<Row>[] {
  return [
    { title: by.toUpperCase(), rank: 0, min: 20, value: ({ key }) => key },
    { title: "SESSIONS", rank: 0, right: true, value: ({ sessions }) => sessions },
    { title: "SHARE", rank: 3, right: true, value: ({ sessions }) => `${Math.round((100 * sessions) / all)} %` },
    {
      title: "FAILED",
      rank: 0,
      right: true,
      value: ({ failed }) => failed,
      paint: ({ failed }) => (failed > 0 ? color.red : color.dim),
    },
    { title: "UP", rank: 2, right: true, value: ({ received }) => bytes(received) },
    { title: "DOWN", rank: 1, right: true, value: ({ sent }) => bytes(sent) },
    { title: "LAST", rank: 4, value: ({ last }) => shortTime(last) },
  ];
}
