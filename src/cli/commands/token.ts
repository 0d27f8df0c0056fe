import { type Command, Option } from "commander";
import type { NewToken, ShownToken, TokenInfo } from "../../control/api.ts";
import { CALLER_ROLES } from "../../vocabulary.ts";
import { openClient } from "../client.ts";
import { type CommonOptions, createCommand, createGroup } from "../program.ts";
import { color, fullTime, plain, print, printJson, table } from "../render.ts";
import { readSpan } from "../spans.ts";

export function tokenCommand(): Command {
  return createGroup("token", "Make, list or withdraw the tokens with which others use this node's API.", [
    addCommand(),
    listCommand(),
    removeCommand(),
  ]);
}

interface AddOptions extends CommonOptions {
  readonly role: NewToken["role"];
  readonly for?: number;
  readonly json?: true;
}

function addCommand(): Command {
  return createCommand("add", "Make a token. It works at once, and is printed this once only.", [
    "token add grafana --role viewer > grafana.token",
    "token add night-shift --role operator --for 90d",
  ])
    .argument("<name>", "the name that the audit log has for it")
    .addOption(
      new Option("--role <role>", "what it may do: read; also flush, reload and bypass; also keys, CAs and tokens")
        .choices(CALLER_ROLES)
        .makeOptionMandatory(),
    )
    .option("--for <span>", "how long it is valid, such as 90d; without it, until it is removed", readSpan)
    .option("--json", "print JSON")
    .action(async (name: string, options: AddOptions) => {
      const { role, for: span } = options;
      const wanted: NewToken = { name, role, ...(span !== undefined && { validSeconds: Math.ceil(span / 1000) }) };
      const made = await (await openClient(options.config)).ask<ShownToken>("POST", "/tokens", wanted);
      if (options.json) return printJson(made, 2);
      const until = made.until === null ? "until it is removed" : `until ${fullTime(made.until)}`;
      // Only the token goes to standard output, which may lead to a file.
      process.stderr.write(`The token ${plain(made.name)} is good ${until}, as ${made.role}. It is shown only now:\n`);
      print(made.token);
    });
}

function listCommand(): Command {
  return createCommand("list", "List the tokens, and when each was used last.", ["token list", "token list --json"])
    .option("--json", "print JSON")
    .action(async (options: CommonOptions & { json?: true }) => {
      const tokens = await (await openClient(options.config)).ask<TokenInfo[]>("GET", "/tokens");
      if (options.json) return printJson(tokens, 2);
      if (tokens.length === 0) return print("There is no token but the owner's, in the data folder.");
      print(table<TokenInfo>(COLUMNS, tokens));
    });
}

const COLUMNS = [
  { title: "NAME", rank: 0, value: ({ name }: TokenInfo) => name },
  { title: "ROLE", rank: 0, value: ({ role }: TokenInfo) => role },
  {
    title: "GOOD UNTIL",
    rank: 1,
    value: ({ until }: TokenInfo) => (until === null ? "removed" : isOver(until) ? "expired" : fullTime(until)),
    paint: ({ until }: TokenInfo) => (until !== null && isOver(until) ? color.red : String),
  },
  { title: "LAST USED", rank: 2, value: ({ lastUsed }: TokenInfo) => lastUsed && fullTime(lastUsed) },
  { title: "MADE", rank: 3, value: ({ made }: TokenInfo) => fullTime(made) },
  { title: "BY", rank: 4, value: ({ by }: TokenInfo) => by },
];

function isOver(until: number): boolean {
  return until <= Date.now();
}

function removeCommand(): Command {
  return createCommand("remove", "Withdraw a token. It stops working at once.", ["token remove grafana"])
    .argument("<name>", "the token, as `token list` names it")
    .action(async (name: string, options: CommonOptions) => {
      await (await openClient(options.config)).ask("DELETE", `/tokens/${encodeURIComponent(name)}`);
      print(`The token ${plain(name)} no longer works.`);
    });
}
