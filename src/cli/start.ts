import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { ConfigError, isPassing, NetworkError } from "../errors.ts";
import { COMMANDS } from "./commands.ts";
import { PROGRAM, withExamples } from "./program.ts";
import { plain } from "./render.ts";

/**
 * The command line. Exit codes: 0; 1, something failed; 2, the configuration or the command is wrong; 75 (EX_TEMPFAIL of sysexits.h), the
 * machine is short of something, a full disk for example, and a later attempt may succeed.
 */
const TRY_AGAIN = 75;

// npm starts scripts in the project's folder, but the user's file names are relative to the user's own.
if (PROGRAM !== "clearline" && process.env["INIT_CWD"]) process.chdir(process.env["INIT_CWD"]);
// The reader has closed the pipe, as in `clearline sessions | head`: there is nothing left to do.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

try {
  // What the shells' scripts call. It is no command for people.
  if (process.argv[2] === "__complete") await (await import("./complete.ts")).complete(process.argv.slice(3));
  else await (await createProgram()).parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

/** Loads the command that is called, or all commands where it is not clear which: for help, and for a mistyped one. */
async function createProgram(): Promise<Command> {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  const program = new Command(PROGRAM)
    .description("Sees every TCP connection, decrypts by policy, shows the plaintext to tools, encrypts again.")
    .version(version)
    // Behind a command, --version is the command's own.
    .enablePositionalOptions();
  withExamples(program, ["run", "sessions --host '*.example.com'", "explain --host www.example.com"]);
  const called = COMMANDS.filter(({ name }) => name === process.argv[2]);
  const isVersion = ["--version", "-V"].includes(process.argv[2] ?? "");
  for (const { load } of called.length > 0 || isVersion ? called : COMMANDS) program.addCommand(await load());
  throwAtMistakes(program, PROGRAM);
  return program;
}

/** Left to itself, Commander would end the process with code 1 for a mistyped command. */
function throwAtMistakes(command: Command, typed: string): void {
  command.exitOverride().showSuggestionAfterError().showHelpAfterError(`See: ${typed} --help`);
  for (const part of command.commands) throwAtMistakes(part, `${typed} ${part.name()}`);
}

/** Prints what went wrong, and returns the exit code. */
function report(error: unknown): number {
  // Commander has printed its message. To ask for help is not a mistake.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const errors = error instanceof AggregateError ? error.errors : [error];
  for (const one of errors) process.stderr.write(`${lineOf(one)}\n${excerptOf(one)}`);
  if (errors.length > 1) process.stderr.write(`${errors.length} errors\n`);
  if (errors.some(isPassing)) return TRY_AGAIN;
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
