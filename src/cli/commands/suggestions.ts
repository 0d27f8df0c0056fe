import type { Command } from "commander";
import type { SuggestionInfo } from "../../control/api.ts";
import { openClient } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { fullTime, print, printJson, table } from "../render.ts";

export function suggestionsCommand(): Command {
  return createCommand("suggestions", "Show which clients refuse the node's certificates for which hosts.", [
    "suggestions",
  ])
    .option("--json", "print JSON")
    .action(async (options: CommonOptions & { json?: true }) => {
      const found = await (await openClient(options.config)).ask<SuggestionInfo[]>("GET", "/suggestions");
      if (options.json) return printJson(found, 2);
      if (found.length === 0) return print("No client refuses the node's certificates again and again.");
      print(
        table<SuggestionInfo>(
          [
            { title: "CLIENT", rank: 0, value: ({ client }) => client },
            { title: "HOST", rank: 0, value: ({ host }) => host },
            { title: "PORT", rank: 1, right: true, value: ({ port }) => port },
            { title: "REFUSALS", rank: 0, right: true, value: ({ refusals }) => refusals },
            {
              title: "HOW",
              rank: 0,
              value: ({ how }) =>
                Object.entries(how)
                  .map(([what, count]) => `${what} ${count}`)
                  .join(", "),
            },
            {
              title: "BYPASSED UNTIL",
              rank: 1,
              value: ({ bypassedUntil }) => bypassedUntil && fullTime(bypassedUntil),
            },
          ],
          found,
        ),
      );
      print([...new Set(found.map(({ remedy }) => remedy))].join("\n"));
    });
}
