#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { ConfigError, NetworkError } from "../errors.ts";
import { caCommand } from "./commands/ca.ts";
import { cacheCommand } from "./commands/cache.ts";
import { checkCommand } from "./commands/check.ts";
import { explainCommand } from "./commands/explain.ts";
import { inlineCommand } from "./commands/inline.ts";
import { keysCommand } from "./commands/keys.ts";
import { labCommand } from "./commands/lab.ts";
import { reloadCommand } from "./commands/reload.ts";
import { runCommand } from "./commands/run.ts";
import { sessionCommand } from "./commands/session.ts";
import { sessionsCommand } from "./commands/sessions.ts";
import { statsCommand } from "./commands/stats.ts";
import { PROGRAM } from "./program.ts";
import { plain } from "./render.ts";

/** The command line. Exit codes: 0, 1 something failed, 2 the configuration or the command is wrong. */

// npm starts scripts in the project's folder; file names are meant from where the user is.
if (PROGRAM !== "clearline" && process.env["INIT_CWD"]) process.chdir(process.env["INIT_CWD"]);
// Whoever reads this has seen enough: `clearline sessions | head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

try {
  await createProgram().parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

function createProgram(): Command {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  const program = new Command(PROGRAM)
    .description("Sees every TCP connection, decrypts by policy, shows the plaintext to tools, encrypts again.")
    .version(version)
    .addCommand(runCommand())
    .addCommand(checkCommand())
    .addCommand(sessionsCommand())
    .addCommand(sessionCommand())
    .addCommand(statsCommand())
    .addCommand(explainCommand())
    .addCommand(caCommand())
    .addCommand(keysCommand())
    .addCommand(cacheCommand())
    .addCommand(reloadCommand())
    .addCommand(inlineCommand())
    .addCommand(labCommand());
  throwAtMistakes(program);
  return program;
}

/** Commander would end the process itself, with code 1 for what the user mistyped. */
function throwAtMistakes(command: Command): void {
  command.exitOverride().showSuggestionAfterError();
  for (const part of command.commands) throwAtMistakes(part);
}

/** Tells the user what went wrong, and answers the exit code. */
function report(error: unknown): number {
  // Commander has told already. Help that was asked for is no mistake.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const errors = error instanceof AggregateError ? error.errors : [error];
  for (const one of errors) process.stderr.write(`${lineOf(one)}\n${excerptOf(one)}`);
  if (errors.length > 1) process.stderr.write(`${errors.length} errors\n`);
  return errors.every((one) => one instanceof ConfigError) ? 2 : 1;
}

/** On a terminal: the line of the configuration file, with a caret under the place of the error. */
function excerptOf(error: unknown): string {
  return error instanceof ConfigError && error.place && process.stderr.isTTY ? `${error.place.excerpt}\n` : "";
}

function lineOf(error: unknown): string {
  if (error instanceof ConfigError || error instanceof NetworkError) return plain(error.message);
  return `This is a bug of Clearline: ${error instanceof Error ? error.stack : error}`;
}
