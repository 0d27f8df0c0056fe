import { Command } from "commander";
import { openClient } from "./client.ts";
import { COMMANDS } from "./commands.ts";
import { type Suggestion, suggest } from "./completion.ts";
import { liveValues } from "./live-values.ts";
import { plain, print } from "./render.ts";

/** ms: somebody waits at the keyboard. */
const PATIENCE = 1500;

/**
 * Answers a shell's script, which calls this at each Tab: a line for each word that may stand at the cursor, with its help behind a
 * tab; ":files" leaves it to the shell. Nothing that fails is told: it would appear in the middle of the user's line.
 */
export async function complete(typed: readonly string[]): Promise<void> {
  const late = setTimeout(() => process.exit(0), PATIENCE);
  try {
    const program = new Command();
    const called = COMMANDS.filter(({ name }) => typed.length > 1 && name === typed[0]);
    for (const { load } of called.length > 0 ? called : COMMANDS) program.addCommand(await load());
    const found = suggest(program, typed);
    if (found.kind === "files") return print(":files");
    const words = found.kind === "words" ? found.words : await live(found.values, found.prefix, typed);
    const beginning = typed.at(-1) === "=" ? "" : (typed.at(-1) ?? "");
    for (const { word, help } of words) if (word.startsWith(beginning)) print(`${word}\t${plain(help)}`);
  } catch {
    process.exitCode = 1;
  } finally {
    clearTimeout(late);
  }
}

async function live(
  values: Parameters<typeof liveValues>[1],
  prefix: string,
  typed: readonly string[],
): Promise<readonly Suggestion[]> {
  const at = typed.findIndex((word) => word === "-c" || word === "--config");
  const client = await openClient(at < 0 ? undefined : typed[at + 1]);
  return (await liveValues(client, values)).map((value) => ({ word: prefix + value, help: "" }));
}
