import type { Command } from "commander";
import { ConfigError } from "../../errors.ts";
import { openClient, queryOf } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { writeFileOrOutput } from "../save.ts";

interface Options extends CommonOptions {
  readonly host?: string;
  readonly bodies?: true;
  readonly output?: string;
}

export function harCommand(): Command {
  return createCommand("har", "Save HTTP transactions as a HAR file (needs a feed of kind http).", [
    "har mh2k8x1a-0-1f --bodies -o session.har",
    "har --host www.example.com -o example.har",
  ])
    .argument("[id]", "only those of this session")
    .option("--host <name>", "only those for this host; *.example.com: every subdomain")
    .option("--bodies", "with the bodies, decoded")
    .option("-o, --output <file>", "the file, made with mode 0600; without it, standard output")
    .action(async (id: string | undefined, { config, host, bodies, output }: Options) => {
      if (id !== undefined && host !== undefined) throw new ConfigError("--host", "Give an id or --host, not both");
      const path = id === undefined ? "/har" : `/sessions/${encodeURIComponent(id)}/har`;
      const pieces = (await openClient(config)).download(path + queryOf({ host, bodies: bodies && "true" }));
      await writeFileOrOutput(pieces, output, "text");
    });
}
