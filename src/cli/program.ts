import { Command } from "commander";

/** How the user calls this program: the commands in examples and messages must be ones that can be typed. */
export const PROGRAM = ["clearline", "start"].includes(process.env["npm_lifecycle_event"] ?? "")
  ? "npm run -s clearline --"
  : "clearline";

/** A command with the option that all commands have, and examples under its help. */
export function createCommand(usage: string, description: string, examples: readonly string[]): Command {
  return new Command(usage)
    .description(description)
    .option("-c, --config <file>", "the node's configuration file; without it, the embedded default")
    .addHelpText("after", examplesOf(examples));
}

export function examplesOf(examples: readonly string[]): string {
  return `\nExamples:\n${examples.map((example) => `  ${PROGRAM} ${example}\n`).join("")}`;
}

/** The options of every command. */
export interface CommonOptions {
  readonly config?: string;
}
