import type { Command } from "commander";
import { type CommonOptions, createCommand } from "../program.ts";

export function runCommand(): Command {
  return createCommand("run", "Start the node, and stay until it is told to end.", [
    "run",
    "run -c clearline.yaml",
  ]).action(async (options: CommonOptions) => {
    // Only this command is the node: the others must not wait for all of it to load.
    const { runNode } = await import("../../supervisor/run.ts");
    await runNode({ file: options.config });
  });
}
