import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { ConfigError } from "../../errors.ts";
import { withExamples } from "../program.ts";

/** The lab is a program of its own: it starts this one in a network that it builds. */
export function labCommand(): Command {
  const command = new Command("lab")
    .description(
      "Run the whole topology on this machine: hosts in namespaces, real servers and traffic, the node in between. Needs root.",
    )
    .allowUnknownOption()
    .helpOption(false)
    .argument("[options...]", "the lab's own options: --topology bridge|routed, --check, --help")
    .action(async (options: string[]) => {
      const lab = fileURLToPath(new URL("../../../lab/main.ts", import.meta.url));
      if (!existsSync(lab))
        throw new ConfigError(
          "lab",
          "Cannot start the lab: an installed package does not have it. In a checkout: npm run lab",
        );
      // Ctrl-C reaches the lab too, which removes its network before it ends.
      process.on("SIGINT", () => {});
      const [code] = await once(spawn(process.execPath, [lab, ...options], { stdio: "inherit" }), "exit");
      process.exitCode = code ?? 1;
    });
  return withExamples(command, ["lab --topology routed", "lab --check"]);
}
