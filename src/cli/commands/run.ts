import { type Command, Option } from "commander";
import { type CommonOptions, createCommand } from "../program.ts";

interface RunOptions extends CommonOptions {
  readonly listen?: string[];
  readonly mode?: string;
  readonly trust?: string[];
  readonly bypass?: string[];
  readonly insecure?: string[];
  readonly capture: boolean;
}

const DESCRIPTION =
  "Start the node. It runs until Ctrl-C or SIGTERM. The other options are for a node without a configuration file.";

export function runCommand(): Command {
  return createCommand("run", DESCRIPTION, [
    "run",
    "run --listen 8888 --insecure dev.example.com",
    "run --listen 0.0.0.0:8443 --mode forward:10.0.0.5:443",
    "run -c clearline.yaml",
  ])
    .addOption(spares("--listen <address>", "where it listens: a port of loopback, or ADDRESS:PORT").argParser(collect))
    .addOption(spares("--mode <mode>", "explicit: an HTTP proxy; forward:HOST:PORT: all to one server"))
    .addOption(spares("--trust <file>", "trust these certificates of servers or CAs too, in PEM").argParser(collect))
    .addOption(spares("--bypass <host>", "never decrypt this host, address or subnet").argParser(collect))
    .addOption(spares("--insecure <host>", "accept this server's certificate despite its faults").argParser(collect))
    .addOption(spares("--no-capture", "do not keep the plaintext in a file"))
    .addHelpText(
      "after",
      "\n--listen, --trust, --bypass and --insecure may be repeated. None of them goes together with --config.",
    )
    .action(async ({ config: file, ...flags }: RunOptions) => {
      // Only this command loads the node: the others start faster without it.
      const { runNode } = await import("../../supervisor/run.ts");
      await runNode({ file, flags });
    });
}

/** An option that spares a configuration file. Beside a file it would be unclear which of them counts. */
function spares(name: string, description: string): Option {
  return new Option(name, description).conflicts("config");
}

function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}
