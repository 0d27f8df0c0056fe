import type { Command, Option } from "commander";

/** What may stand at the cursor. */
export type Suggestions =
  | { readonly kind: "words"; readonly words: readonly Suggestion[] }
  /** Names of files, which the shell knows best. */
  | { readonly kind: "files" }
  /** Values that only a running node knows. */
  | { readonly kind: "live"; readonly values: LiveValues; readonly prefix: string };

export interface Suggestion {
  readonly word: string;
  readonly help: string;
}

export type LiveValues = "hosts" | "sessions" | "listeners" | "tokens" | "keys" | "caches" | "bypasses";

/** What an option's or an argument's value is, by what stands for it in the help: "--host", "token remove <name>". */
const LIVE: Readonly<Record<string, LiveValues>> = {
  "--host": "hosts",
  "--sni": "hosts",
  "--listener": "listeners",
  "--who": "tokens",
  "session <id>": "sessions",
  "end <id>": "sessions",
  "explain <id>": "sessions",
  "follow <id>": "sessions",
  "pcap <id>": "sessions",
  "har <id>": "sessions",
  "token remove <name>": "tokens",
  "keys remove <id>": "keys",
  "cache flush <name>": "caches",
  "bypass add <entry>": "hosts",
  "bypass remove <entry>": "bypasses",
  "bypass remove <id>": "bypasses",
};

/**
 * What may stand at the cursor, by the commands themselves. `typed`: the words behind the program's name, the one at the cursor last;
 * it may be empty. What the suggestions must begin with is not looked at, except that "-" asks for options.
 */
export function suggest(program: Command, typed: readonly string[]): Suggestions {
  const words = joinEquals(typed);
  const current = words.at(-1) ?? "";
  const { command, path, waiting, given, ended } = follow(program, words.slice(0, -1));
  if (waiting) return valuesFor(waiting, "");
  const [, name, value] = /^(--[\w-]+)=(.*)$/.exec(current) ?? [];
  if (!ended && name !== undefined && value !== undefined) {
    const option = optionOf(command, name);
    return option ? valuesFor(option, `${name}=`) : NOTHING;
  }
  if (!ended && current.startsWith("-")) return { kind: "words", words: optionsOf(command) };
  const parts = given.length === 0 ? partsOf(command) : [];
  if (parts.length > 0) return { kind: "words", words: parts };
  return argumentAt(command, path, given.length);
}

const NOTHING: Suggestions = { kind: "words", words: [] };

/** Bash takes "--verdict=drop" apart: --verdict, =, drop. */
function joinEquals(typed: readonly string[]): readonly string[] {
  return typed.flatMap((word, index) => {
    if (word !== "=" || !typed[index - 1]?.startsWith("--")) return [word];
    return index === typed.length - 1 ? [""] : [];
  });
}

interface Followed {
  readonly command: Command;
  /** The command's name, with those that it is part of: "token remove". */
  readonly path: string;
  /** The option whose value comes next. */
  readonly waiting: Option | undefined;
  /** The arguments before the cursor. */
  readonly given: readonly string[];
  /** "--" has been typed: what follows are arguments. */
  readonly ended: boolean;
}

function follow(program: Command, words: readonly string[]): Followed {
  let command = program;
  let waiting: Option | undefined;
  let ended = false;
  const path: string[] = [];
  const given: string[] = [];
  for (const word of words) {
    if (waiting) waiting = undefined;
    else if (!ended && word === "--") ended = true;
    else if (!ended && word.startsWith("-")) waiting = takesValue(optionOf(command, word));
    else {
      const part = given.length === 0 ? command.commands.find((one) => one.name() === word) : undefined;
      if (part) path.push(word);
      else given.push(word);
      command = part ?? command;
    }
  }
  return { command, path: path.join(" "), waiting, given, ended };
}

function optionOf(command: Command, word: string): Option | undefined {
  return command.options.find(({ long, short }) => long === word || short === word);
}

function takesValue(option: Option | undefined): Option | undefined {
  return option?.required || option?.optional ? option : undefined;
}

function valuesFor(option: Option, prefix: string): Suggestions {
  const { argChoices, long, flags } = option;
  if (argChoices) return { kind: "words", words: argChoices.map((word) => ({ word: prefix + word, help: "" })) };
  const live = LIVE[long ?? ""];
  if (live) return { kind: "live", values: live, prefix };
  return isFile(flags) ? { kind: "files" } : NOTHING;
}

/** "--certificate <file>", "[file]". */
function isFile(text: string): boolean {
  return /[<[](?:file|folder)\b/.test(text);
}

function optionsOf(command: Command): readonly Suggestion[] {
  const own = command.options.filter(({ hidden }) => !hidden);
  const words = own.map(({ long, short, description }) => ({ word: long ?? short ?? "", help: description }));
  return [...words, { word: "--help", help: "show help" }];
}

function partsOf(command: Command): readonly Suggestion[] {
  return command.commands.map((part) => ({ word: part.name(), help: part.description() }));
}

function argumentAt(command: Command, path: string, index: number): Suggestions {
  const known = command.registeredArguments;
  const last = known.at(-1);
  const argument = known[index] ?? (last?.variadic ? last : undefined);
  if (!argument) return NOTHING;
  if (argument.argChoices) return { kind: "words", words: argument.argChoices.map((word) => ({ word, help: "" })) };
  const live = LIVE[`${path} <${argument.name()}>`];
  if (live) return { kind: "live", values: live, prefix: "" };
  return isFile(`<${argument.name()}>`) ? { kind: "files" } : NOTHING;
}
