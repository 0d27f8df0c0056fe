import { Command } from "commander";

/** How the user calls this program: the commands in examples and messages must be ones that can be typed. */
export const PROGRAM = ["clearline", "start"].includes(process.env["npm_lifecycle_event"] ?? "")
  ? "npm run -s clearline --"
  : "clearline";

const EXAMPLES = new WeakMap<Command, readonly string[]>();

/** A command with the option that all commands have, and examples under its help. */
export function createCommand(usage: string, description: string, examples: readonly string[]): Command {
  const command = new Command(usage)
    .description(description)
    .option("-c, --config <file>", "the node's configuration file; without it, the embedded default");
  return withExamples(command, examples);
}

/** A command of several parts, with the first example of each under its help. */
export function createGroup(name: string, description: string, parts: readonly Command[]): Command {
  const group = new Command(name).description(description);
  for (const part of parts) group.addCommand(part);
  return withExamples(
    group,
    parts.flatMap((part) => exampleIn(part)),
  );
}

function exampleIn(part: Command): readonly string[] {
  return examplesUnder(part).slice(0, 1);
}

/** The examples under a command's help. */
export function examplesUnder(command: Command): readonly string[] {
  return EXAMPLES.get(command) ?? [];
}

export function withExamples(command: Command, examples: readonly string[]): Command {
  EXAMPLES.set(command, examples);
  const lines = examples.map((example) => `  ${PROGRAM} ${example}\n`);
  return command.addHelpText("after", `\nExamples:\n${lines.join("")}`);
}

/** The options of every command. */
export interface CommonOptions {
  readonly config?: string;
}
