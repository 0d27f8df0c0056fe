import type { Command } from "commander";
import type { AddedBypass, BypassInfo } from "../../control/api.ts";
import { openClient } from "../client.ts";
import { type CommonOptions, createCommand, createGroup } from "../program.ts";
import { color, duration, fullTime, plain, print, printJson, table } from "../render.ts";

export function bypassCommand(): Command {
  return createGroup("bypass", "Bypass a host or an address for a time, without a change of the configuration.", [
    addCommand(),
    listCommand(),
    removeCommand(),
  ]);
}

interface AddOptions extends CommonOptions {
  readonly for: string;
  readonly because: string;
  readonly json?: true;
}

function addCommand(): Command {
  return createCommand(
    "add",
    "Stop decrypting a host or an address, from the next session on, until the time is over. Drop rules still hold.",
    [
      'bypass add app.example.com --for 24h --because "pins its key"',
      'bypass add "*.example.com" --for 1h --because "incident 4711"',
      'bypass add 192.0.2.0/24 --for ever --because "payment terminals"',
    ],
  )
    .argument("<entry>", "a host, a wildcard such as *.example.com, an address, a subnet or a range")
    .requiredOption("--for <time>", "for how long: 1h, 24h, 7d; ever: until it is removed")
    .requiredOption("--because <text>", "why; explanations and records show it")
    .option("--json", "print JSON")
    .action(async (entry: string, { for: time, because, json, config }: AddOptions) => {
      const wanted = { entry, for: time, comment: because };
      const added = await (await openClient(config)).ask<AddedBypass>("POST", "/bypasses", wanted);
      if (json) return printJson(added, 2);
      const { bypass, replaced, notes } = added;
      const end = bypass.expires === null ? "until it is removed" : `until ${fullTime(bypass.expires)}`;
      print(
        `${color.yellow("Bypassed")}: ${plain(bypass.entry)}, ${end} (bypass ${bypass.id}).`,
        "This holds for new sessions. Connections that are open now stay as they are.",
        ...(replaced ? [`It replaces the bypass ${replaced.id}, which would have ended ${endOf(replaced)}.`] : []),
        ...notes.map((note) => color.yellow(`Note: ${plain(note)}.`)),
      );
    });
}

function endOf({ expires }: Pick<BypassInfo, "expires">): string {
  return expires === null ? "never" : fullTime(expires);
}

function listCommand(): Command {
  return createCommand("list", "Show the bypasses that are in force, and how many sessions each has decided.", [
    "bypass list",
    "bypass list --json",
  ])
    .option("--json", "print JSON")
    .action(async ({ config, json }: CommonOptions & { json?: true }) => {
      const bypasses = await (await openClient(config)).ask<BypassInfo[]>("GET", "/bypasses");
      if (json) return printJson(bypasses, 2);
      if (bypasses.length === 0) return print("There is no bypass.");
      print(
        table<BypassInfo>(
          [
            { title: "ID", rank: 0, value: ({ id }) => id },
            { title: "ENTRY", rank: 0, min: 20, value: ({ entry }) => entry },
            {
              title: "ENDS IN",
              rank: 0,
              value: ({ remaining }) => (remaining === null ? "never" : duration(remaining)),
            },
            { title: "HITS", rank: 0, right: true, value: ({ hits }) => hits },
            { title: "LAST HIT", rank: 3, value: ({ lastHit }) => lastHit && fullTime(lastHit) },
            { title: "ENDS", rank: 2, value: ({ expires }) => expires && fullTime(expires) },
            { title: "BY", rank: 1, min: 8, value: ({ author }) => author },
            { title: "BECAUSE", rank: 0, min: 30, value: ({ comment }) => comment },
          ],
          bypasses,
        ),
      );
    });
}

function removeCommand(): Command {
  return createCommand("remove", "End a bypass now. New sessions are judged without it.", [
    "bypass remove 3fa92c01",
    "bypass remove app.example.com",
  ])
    .argument("<id>", "the bypass's ID or entry, as `bypass list` shows them")
    .action(async (id: string, { config }: CommonOptions) => {
      await (await openClient(config)).ask("DELETE", `/bypasses/${encodeURIComponent(id)}`);
      print(`The bypass ${plain(id)} has ended. New sessions are judged without it.`);
    });
}
