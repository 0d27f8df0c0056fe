import type { Command } from "commander";
import type { TroubleList, TroubleRow } from "../../control/api.ts";
import { openClient, queryOf } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import {
  amount,
  type Column,
  color,
  endpoint,
  outcomeColor,
  plain,
  print,
  printJson,
  shortTime,
  table,
  wrapped,
} from "../render.ts";
import { readSince } from "../spans.ts";
import { wholeNumber } from "../whole-number.ts";

interface Options extends CommonOptions {
  readonly since?: number;
  readonly until?: number;
  readonly host?: string;
  readonly client?: string;
  readonly limit?: number;
  readonly json?: true;
}

export function troubleCommand(): Command {
  return createCommand("trouble", "Show what failed, by host and cause, and what to do about it; the last first.", [
    "trouble",
    "trouble --since 1h",
    "trouble --client 10.9.0.0/16 --json | jq '.troubles[].host'",
  ])
    .option("--since <time>", "began then or later: 1h, 30m, 2026-11-28T14:00 (default: 24h)", readSince)
    .option("--until <time>", "began before, alike", readSince)
    .option("--host <host>", "the SNI, the CONNECT host or a name in the server's certificate; * matches any text")
    .option("--client <address>", "the client's address or subnet")
    .option("--limit <n>", "the most rows (default: 50)", wholeNumber(1000))
    .option("--json", "print JSON")
    .action(async ({ config, json, ...wanted }: Options) => {
      const found = await (await openClient(config)).ask<TroubleList>("GET", `/trouble${queryOf({ ...wanted })}`);
      if (json) return printJson(found, 2);
      if (found.troubles.length === 0) return print(`Nothing has failed since ${shortTime(found.since)}.`);
      print(...page(found));
    });
}

/** Each row of the table, and under it what to do. */
function page({ troubles, more, complete }: TroubleList): string[] {
  const [titles = "", ...rows] = table(COLUMNS, troubles).split("\n");
  const notes = [
    ...(more ? ["… and more: try a higher --limit"] : []),
    ...(complete ? [] : ["So many sessions failed that only the last of them were looked at"]),
  ];
  return [
    titles,
    ...rows.flatMap((row, index) => [row, ...underneath(troubles[index]!)]),
    ...notes.map((note) => color.dim(note)),
  ];
}

function underneath({ remedy, clients, clientExamples, example, server }: TroubleRow): string[] {
  const others = clients > clientExamples.length ? ", …" : "";
  const who = `${amount(clients, "client")}: ${clientExamples.join(", ")}${others}`;
  const from = `${who}${server ? `, to ${endpoint(server)}` : ""}; last session ${example}`;
  return [...wrapped(plain(remedy), INDENT), ...wrapped(plain(from), INDENT).map((line) => color.dim(line))];
}

const INDENT = "    ";

const COLUMNS: readonly Column<TroubleRow>[] = [
  { title: "LAST", rank: 0, value: ({ last }) => shortTime(last) },
  { title: "COUNT", rank: 0, right: true, value: ({ sessions }) => sessions },
  { title: "HOST", rank: 0, min: 20, value: ({ host }) => host },
  {
    title: "OUTCOME",
    rank: 0,
    value: ({ outcome }) => outcome,
    paint: ({ outcome }) => outcomeColor(outcome),
  },
  { title: "CAUSE", rank: 0, min: 12, value: ({ cause }) => cause },
  { title: "FIRST", rank: 2, value: ({ first }) => shortTime(first) },
];
