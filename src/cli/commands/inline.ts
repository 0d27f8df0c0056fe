import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { type CommonOptions, createCommand, createGroup } from "../program.ts";
import { print } from "../render.ts";

export function inlineCommand(): Command {
  return createGroup(
    "inline",
    "Show or undo what the node changes in this machine's network, for inline listeners and inline tools.",
    [planCommand(), undoCommand()],
  );
}

function planCommand(): Command {
  return createCommand("plan", "Print what the node would change in this machine's network, and change nothing.", [
    "inline plan -c clearline.yaml",
  ]).action(async ({ config: file }: CommonOptions) => {
    const { loadConfig } = await import("../../config/load.ts");
    const { planNetwork } = await import("../../kernel/network.ts");
    const { renderSteps } = await import("../../kernel/shell-script.ts");
    const loaded = await loadConfig(file);
    const { workers } = loaded.config;
    const steps = planNetwork(loaded, workers === "auto" ? availableParallelism() : workers);
    print(
      steps.length > 0
        ? renderSteps(steps)
        : "No listener and no tool is inline: the node changes nothing in the network.",
    );
  });
}

function undoCommand(): Command {
  return createCommand(
    "undo",
    "Undo what a node that was killed left in this machine's network. Refused while the node runs.",
    ["inline undo -c clearline.yaml"],
  ).action(async ({ config: file }: CommonOptions) => {
    const { loadConfig } = await import("../../config/load.ts");
    const { undoNetwork } = await import("../../kernel/network.ts");
    const { dataDir } = (await loadConfig(file)).config;
    const problems = undoNetwork(dataDir);
    print(
      problems === undefined
        ? `Nothing to undo: ${dataDir} has neither inline.json nor tools.json.`
        : [...problems, "Undone."].join("\n"),
    );
  });
}
