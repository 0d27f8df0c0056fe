import type { Command } from "commander";
import type { TransactionInfo, TransactionList } from "../../control/api.ts";
import { ConfigError } from "../../errors.ts";
import { openClient, queryOf } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { bytes, color, duration, print, printJson, shortTime, table } from "../render.ts";
import { wholeNumber } from "../whole-number.ts";

interface Options extends CommonOptions {
  readonly host?: string;
  readonly limit?: number;
  readonly json?: true;
}

export function transactionsCommand(): Command {
  return createCommand("transactions", "List HTTP transactions, the newest first (needs a feed of kind http).", [
    "transactions",
    "transactions --host '*.example.com' --limit 20",
    "transactions mh2k8x1a-0-1f --json",
  ])
    .argument("[id]", "only those of this session")
    .option("--host <name>", "only those for this host; *.example.com: every subdomain")
    .option("--limit <n>", "how many at most (default: 100)", wholeNumber(5000))
    .option("--json", "print JSON")
    .action(async (id: string | undefined, { config, json, host, limit }: Options) => {
      const path = id === undefined ? "/transactions" : `/sessions/${encodeURIComponent(id)}/transactions`;
      if (id !== undefined && host !== undefined) throw new ConfigError("--host", "Give an id or --host, not both");
      const list = await (await openClient(config)).ask<TransactionList>("GET", path + queryOf({ host, limit }));
      if (json) return printJson(list, 2);
      if (list.transactions.length === 0) print("There is no such transaction.");
      else print(table<TransactionInfo>(COLUMNS, list.transactions));
      if (list.leftBehind > 0)
        print(color.yellow(`${list.leftBehind} sessions were left behind: the view could not follow`));
    });
}

const COLUMNS = [
  { title: "TIME", rank: 2, value: ({ started }: TransactionInfo) => shortTime(started) },
  { title: "SESSION", rank: 0, value: ({ session }: TransactionInfo) => session },
  { title: "STATUS", rank: 0, value: statusOf, paint: paintOf },
  { title: "METHOD", rank: 1, min: 4, value: ({ method }: TransactionInfo) => method },
  { title: "URL", rank: 0, min: 20, value: ({ url }: TransactionInfo) => url },
  { title: "TYPE", rank: 4, min: 10, value: ({ responseType }: TransactionInfo) => responseType },
  { title: "SENT", rank: 6, right: true, value: ({ requestBytes }: TransactionInfo) => bytes(requestBytes) },
  { title: "SIZE", rank: 3, right: true, value: ({ responseBytes }: TransactionInfo) => bytes(responseBytes) },
  { title: "TOOK", rank: 3, right: true, value: tookOf },
  { title: "HTTP", rank: 5, value: ({ version }: TransactionInfo) => version.replace("HTTP/", "") },
  { title: "NOTE", rank: 7, min: 10, value: ({ problem }: TransactionInfo) => problem },
];

function statusOf({ status, state }: TransactionInfo): string {
  if (state === "open") return status === null ? "open" : `${status} …`;
  return status === null ? state : state === "aborted" ? `${status} !` : String(status);
}

function paintOf({ status, state }: TransactionInfo): (text: string) => string {
  if (state === "aborted" || (status !== null && status >= 500)) return color.red;
  if (status === null) return color.dim;
  return status >= 400 ? color.yellow : color.green;
}

function tookOf({ started, ended }: TransactionInfo): string | null {
  return ended === null ? null : duration(ended - started);
}
