import type { Command } from "commander";
import type { CacheInfo } from "../../control/api.ts";
import { openClient } from "../client.ts";
import { type CommonOptions, createCommand, createGroup } from "../program.ts";
import { print, printJson, table } from "../render.ts";

export function cacheCommand(): Command {
  return createGroup("cache", "Show or flush the node's caches.", [showCommand(), flushCommand()]);
}

function showCommand(): Command {
  return createCommand("show", "Show how full the caches are and how often they helped.", ["cache show"])
    .option("--json", "print JSON")
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
  return createCommand("flush", "Empty one cache, or all of them.", ["cache flush", "cache flush mint"])
    .argument("[name]", "the cache, as `cache show` names it; without it, all caches")
    .action(async (name: string | undefined, options: CommonOptions) => {
      const path = name === undefined ? "/caches" : `/caches/${encodeURIComponent(name)}`;
      await (await openClient(options.config)).ask("DELETE", path);
      print(name === undefined ? "All caches are empty now." : `The cache ${name} is empty now.`);
    });
}
