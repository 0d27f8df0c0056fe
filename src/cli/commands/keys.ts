import { Command } from "commander";
import type { KeyInfo, NewKey } from "../../control/api.ts";
import { openClient } from "../client.ts";
import { readNamed } from "../named-file.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { fullTime, print, printJson, table } from "../render.ts";

export function keysCommand(): Command {
  return new Command("keys")
    .description("The certificates and keys of inbound servers: add, list or remove them.")
    .addCommand(addCommand())
    .addCommand(listCommand())
    .addCommand(removeCommand());
}

interface AddOptions extends CommonOptions {
  readonly host: readonly string[];
  readonly certificate: string;
  readonly key: string;
  readonly json?: true;
}

function addCommand(): Command {
  return createCommand("add", "Give the node a server's certificate and key. It keeps them over restarts.", [
    "keys add --host www.example.com --host '*.example.com' --certificate www.pem --key www.key",
  ])
    .requiredOption("--host <host...>", "the server's host names, wildcards and addresses")
    .requiredOption("--certificate <file>", "PEM: the server's certificate, then its chain")
    .requiredOption("--key <file>", "PEM: the private key, not encrypted")
    .option("--json", "for a machine")
    .action(async (options: AddOptions) => {
      const body: NewKey = {
        hosts: options.host,
        certificate: await readNamed("--certificate", options.certificate),
        key: await readNamed("--key", options.key),
      };
      const key = await (await openClient(options.config)).ask<KeyInfo>("POST", "/keys", body);
      if (options.json) return printJson(key, 2);
      print(`Added ${key.id}: new sessions with ${key.hosts.join(", ")} are shown this certificate.`);
    });
}

function listCommand(): Command {
  return createCommand("list", "List the keys that the node holds.", ["keys list"])
    .option("--json", "for a machine")
    .action(async (options: CommonOptions & { json?: true }) => {
      const keys = await (await openClient(options.config)).ask<KeyInfo[]>("GET", "/keys");
      if (options.json) return printJson(keys, 2);
      if (keys.length === 0) return print("The node holds no key of a server.");
      print(listing(keys));
    });
}

function listing(keys: readonly KeyInfo[]): string {
  return table<KeyInfo>(
    [
      { title: "ID", rank: 0, value: ({ id }) => id },
      { title: "HOSTS", rank: 0, min: 20, value: ({ hosts }) => hosts.join(", ") },
      { title: "KEY", rank: 2, value: ({ keyType }) => keyType },
      { title: "UNTIL", rank: 1, value: ({ notAfter }) => fullTime(notAfter).slice(0, 10) },
      { title: "FROM", rank: 3, value: ({ origin }) => (origin === "added" ? "keys add" : "the configuration") },
      { title: "SHA-256", rank: 4, min: 17, value: ({ sha256 }) => sha256 },
    ],
    keys,
  );
}

function removeCommand(): Command {
  return createCommand("remove", "Take a key that was added from the node.", ["keys remove 3f2a9c"])
    .argument("<id>", "as `keys list` shows it")
    .action(async (id: string, options: CommonOptions) => {
      await (await openClient(options.config)).ask("DELETE", `/keys/${encodeURIComponent(id)}`);
      print(`Removed ${id}.`);
    });
}
