import { availableParallelism } from "node:os";
import { Command } from "commander";
import { type CommonOptions, createCommand } from "../program.ts";
import { print } from "../render.ts";

export function inlineCommand(): Command {
  return new Command("inline")
    .description("What the node does to this machine's network, for inline listeners and inline tools")
    .addCommand(planCommand())
    .addCommand(undoCommand());
}

function planCommand(): Command {
  return createCommand("plan", "Print what the node would do to this machine's network, and do nothing.", [
    "inline plan -c clearline.yaml",
  ]).action(async ({ config: file }: CommonOptions) => {
    const { loadConfig } = await import("../../config/load.ts");
    const { planNetwork } = await import("../../kernel/listeners.ts");
    const { renderPlan } = await import("../../kernel/listener/plan.ts");
    const loaded = await loadConfig(file);
    const { workers } = loaded.config;
    const steps = planNetwork(loaded, workers === "auto" ? availableParallelism() : workers);
    print(steps.length > 0 ? renderPlan(steps) : "No listener and no tool is inline: the network is left alone.");
  });
}

function undoCommand(): Command {
  return createCommand("undo", "Take down what a node that was killed has left of it. Refused while the node runs.", [
    "inline undo -c clearline.yaml",
  ]).action(async ({ config: file }: CommonOptions) => {
    const { loadConfig } = await import("../../config/load.ts");
    const { undoNetwork } = await import("../../kernel/listeners.ts");
    const { dataDir } = (await loadConfig(file)).config;
    const problems = undoNetwork(dataDir);
    print(
      problems === undefined
        ? `Nothing is left to take down: ${dataDir} has neither inline.json nor tools.json.`
        : [...problems, "Taken down."].join("\n"),
    );
  });
}
