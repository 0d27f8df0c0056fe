import type { Command } from "commander";
import { openClient } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { writeFileOrOutput } from "../save.ts";

interface Options extends CommonOptions {
  readonly output?: string;
}

export function pcapCommand(): Command {
  return createCommand("pcap", "Save one session's plaintext as pcapng, for Wireshark (needs a feed of kind http).", [
    "pcap mh2k8x1a-0-1f -o session.pcapng",
    "pcap mh2k8x1a-0-1f | tshark -r -",
  ])
    .argument("<id>", "the session's id, as `sessions` and `transactions` show it")
    .option("-o, --output <file>", "the file, made with mode 0600; without it, standard output")
    .action(async (id: string, { config, output }: Options) => {
      const pieces = (await openClient(config)).download(`/sessions/${encodeURIComponent(id)}/pcap`);
      await writeFileOrOutput(pieces, output, "bytes");
    });
}
