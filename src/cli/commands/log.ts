import { type Command, Option } from "commander";
import type { LogEvents, LogLine, LogList } from "../../control/api.ts";
import { LOG_LEVELS } from "../../vocabulary.ts";
import { openClient, queryOf } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { color, harmlessJson, plain, print, printJson, shortTime } from "../render.ts";
import { wholeNumber } from "../whole-number.ts";

interface Options extends CommonOptions {
  readonly lines: number;
  readonly level?: string;
  readonly follow?: true;
  readonly json?: true;
}

export function logCommand(): Command {
  return createCommand("log", "Show the last lines of the running node's log, wherever it goes.", [
    "log",
    "log --level warn --lines 20",
    "log --follow --json | jq -r .message",
  ])
    .option("--lines <n>", "how many at most", wholeNumber(1000), 100)
    .addOption(new Option("--level <level>", "only lines of this level and of those above it").choices(LOG_LEVELS))
    .option("--follow", "then print new lines until Ctrl-C")
    .option("--json", "print a line of JSON for each")
    .action(async ({ config, lines, level, follow, json }: Options) => {
      const client = await openClient(config);
      const show = (line: LogLine) => (json ? printJson(line) : print(textOf(line)));
      // The stream is asked for first, so that no line between the two answers is missed.
      const news = follow && client.events<LogEvents>(`/log/events${queryOf({ level })}`, "lines");
      const first = news?.next();
      const list = await client.ask<LogList>("GET", `/log${queryOf({ lines, level })}`);
      for (const line of list.lines) show(line);
      if (!news || !first) return;
      const last = list.lines.at(-1)?.number ?? 0;
      for (let event = await first; !event.done; event = await news.next())
        for (const line of event.value.lines) if (line.number > last) show(line);
    });
}

const PAINT: Readonly<Record<LogLine["level"], (text: string) => string>> = {
  trace: color.dim,
  debug: color.dim,
  info: color.green,
  warn: color.yellow,
  error: color.red,
  fatal: color.red,
};

function textOf({ time, level, message, fields }: LogLine): string {
  const when = time === null ? "-" : shortTime(time);
  const more = Object.keys(fields).length === 0 ? "" : ` ${color.dim(harmlessJson(JSON.stringify(fields)))}`;
  return `${color.dim(when)} ${PAINT[level](level.padEnd(5))} ${plain(message)}${more}`;
}
