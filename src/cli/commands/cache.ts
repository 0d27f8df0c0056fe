import { Command } from "commander";
import type { CacheInfo } from "../../control/api.ts";
import { openClient } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { print, printJson, table } from "../render.ts";

export function cacheCommand(): Command {
  return new Command("cache")
    .description("What the node remembers to be faster: show or flush it.")
    .addCommand(showCommand())
    .addCommand(flushCommand());
}

function showCommand(): Command {
  return createCommand("show", "Show how full the caches are and how often they helped.", ["cache show"])
    .option("--json", "for a machine")
    .action(async (options: CommonOptions & { json?: true }) => {
      const caches = await (await openClient(options.config)).ask<CacheInfo[]>("GET", "/caches");
      if (options.json) return printJson(caches, 2);
      print(
        table<CacheInfo>(
          [
            { title: "CACHE", rank: 0, value: ({ name }) => name },
            { title: "ENTRIES", rank: 0, right: true, value: ({ size }) => size },
            { title: "LIMIT", rank: 1, right: true, value: ({ limit }) => limit },
            { title: "HITS", rank: 0, right: true, value: ({ hits }) => hits },
            { title: "MISSES", rank: 0, right: true, value: ({ misses }) => misses },
          ],
          caches,
        ),
      );
    });
}

function flushCommand(): Command {
  return createCommand("flush", "Forget what one cache holds, or all of them.", ["cache flush", "cache flush mint"])
    .argument("[name]", "as `cache show` shows it")
    .action(async (name: string | undefined, options: CommonOptions) => {
      const path = name === undefined ? "/caches" : `/caches/${encodeURIComponent(name)}`;
      await (await openClient(options.config)).ask("DELETE", path);
      print(name === undefined ? "All caches are empty now." : `The cache ${name} is empty now.`);
    });
}
