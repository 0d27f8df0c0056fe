import type { Command } from "commander";
import { openClient } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { plain, print } from "../render.ts";

export function endCommand(): Command {
  return createCommand("end", "End a live session now: both its connections are reset.", ["end mh2k8x1a-0-1f"])
    .argument("<id>", "the session's ID, as `sessions` shows it")
    .action(async (id: string, options: CommonOptions) => {
      await (await openClient(options.config)).ask("DELETE", `/sessions/${encodeURIComponent(id)}`);
      print(`The session ${plain(id)} ends.`);
    });
}
