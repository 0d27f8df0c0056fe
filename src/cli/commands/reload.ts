import type { Command } from "commander";
import type { Reloaded } from "../../control/api.ts";
import { openClient } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { color, plain, print, printJson } from "../render.ts";

export function reloadCommand(): Command {
  return createCommand(
    "reload",
    "Make the node read its configuration again. Live sessions keep the policy that they began with.",
    ["reload", "reload -c clearline.yaml"],
  )
    .option("--json", "print JSON")
    .action(async (options: CommonOptions & { json?: true }) => {
      const reloaded = await (await openClient(options.config)).ask<Reloaded>("POST", "/reload");
      if (options.json) return printJson(reloaded, 2);
      const { changes, warnings } = reloaded;
      print(...(changes.length > 0 ? changes.map(plain) : ["Nothing has changed."]));
      print(...warnings.map((warning) => color.yellow(`Warning: ${plain(warning)}`)));
    });
}
