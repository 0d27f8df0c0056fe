import type { Command } from "commander";
import { type CommonOptions, createCommand } from "../program.ts";

export function runCommand(): Command {
  return createCommand("run", "Start the node. It runs until Ctrl-C or SIGTERM.", [
    "run",
    "run -c clearline.yaml",
  ]).action(async (options: CommonOptions) => {
    // Only this command loads the node: the others start faster without it.
    const { runNode } = await import("../../supervisor/run.ts");
    await runNode({ file: options.config });
  });
}
