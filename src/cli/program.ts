import { Command } from "commander";

/** How the user calls this program: what is shown must be what can be typed. */
export const PROGRAM = ["clearline", "start"].includes(process.env["npm_lifecycle_event"] ?? "")
  ? "npm run -s clearline --"
  : "clearline";

/** A command with the option that all of them have, and examples under its help. */
export function createCommand(usage: string, description: string, examples: readonly string[]): Command {
  const shown = examples.map((example) => `  ${PROGRAM} ${example}\n`).join("");
  return new Command(usage)
    .description(description)
    .option("-c, --config <file>", "the configuration file that the node runs with; none: the embedded default")
    .addHelpText("after", `\nExamples:\n${shown}`);
}

/** What `createCommand` gives every command's action. */
export interface CommonOptions {
  readonly config?: string;
}
