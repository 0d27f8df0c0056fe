import { type Command, InvalidArgumentError, Option } from "commander";
import type { GeneratedKey, KeyInfo, NewKey } from "../../control/api.ts";
import { ConfigError } from "../../errors.ts";
import { openClient } from "../client.ts";
import { readNamed } from "../named-file.ts";
import { type CommonOptions, createCommand, createGroup, PROGRAM } from "../program.ts";
import { color, fullTime, print, printJson, table } from "../render.ts";

export function keysCommand(): Command {
  return createGroup("keys", "Add, generate, list or remove certificates and keys of inbound servers.", [
    addCommand(),
    generateCommand(),
    listCommand(),
    removeCommand(),
  ]);
}

interface AddOptions extends CommonOptions {
  readonly host?: readonly string[];
  readonly certificate?: string;
  readonly key?: string;
  readonly pkcs12?: string;
  readonly passphraseFile?: string;
  readonly json?: true;
}

function addCommand(): Command {
  return createCommand("add", "Give the node a server's certificate and key. They survive restarts.", [
    "keys add --certificate www.pem --key www.key",
    "keys add --host '*.example.com' --certificate www.pem --key www.key",
    "keys add --pkcs12 www.p12 --passphrase-file www.pass",
    "keys add --certificate signed.pem     # for a key that the node holds",
  ])
    .option("--host <host...>", "the server's host names, wildcards and addresses (default: those in the certificate)")
    .option("--certificate <file>", "PEM: the server's certificate, then its chain")
    .option("--key <file>", "PEM: the private key")
    .option("--pkcs12 <file>", "PKCS#12 (.p12, .pfx), instead of the two PEM files")
    .option("--passphrase-file <file>", "a file whose first line is the passphrase of the key or the PKCS#12 file")
    .option("--json", "print JSON")
    .action(async (options: AddOptions) => {
      const added = await readNewKey(options);
      const key = await (await openClient(options.config)).ask<KeyInfo>("POST", "/keys", added);
      if (options.json) return printJson(key, 2);
      print(`Added key ${key.id}: new sessions with ${key.hosts.join(", ")} get this certificate.`);
      if (key.state !== "valid") print(color.yellow(`The state of its certificate: ${key.state}.`));
    });
}

async function readNewKey({ host, certificate, key, pkcs12, passphraseFile }: AddOptions): Promise<NewKey> {
  if (certificate === undefined && pkcs12 === undefined) {
    throw new ConfigError("--certificate", "Cannot add a key: name its file with --certificate or --pkcs12");
  }
  const passphrase = passphraseFile && (await readNamed("--passphrase-file", passphraseFile)).split(/\r?\n/, 1)[0];
  return {
    ...(host && { hosts: host }),
    ...(certificate !== undefined && { certificate: await readNamed("--certificate", certificate) }),
    ...(key !== undefined && { key: await readNamed("--key", key) }),
    ...(pkcs12 !== undefined && { pkcs12: await readNamed("--pkcs12", pkcs12, "base64") }),
    ...(passphrase !== undefined && { passphrase }),
  };
}

interface GenerateOptions extends CommonOptions {
  readonly host: readonly string[];
  readonly type: string;
  readonly selfSigned?: number;
  readonly json?: true;
}

function generateCommand(): Command {
  return createCommand(
    "generate",
    "Make a key in the node, and print a request for its certificate (PKCS#10) to send to a CA.",
    ["keys generate --host www.example.com > www.csr", "keys generate --host intra.example.com --self-signed 90"],
  )
    .requiredOption("--host <host...>", "the server's host names, wildcards and addresses")
    .addOption(new Option("--type <type>", "the type of key").choices(["ecdsa", "rsa", "ed25519"]).default("ecdsa"))
    .option(
      "--self-signed <days>",
      "make a self-signed certificate instead of a request, valid for so many days",
      readDays,
    )
    .option("--json", "print JSON")
    .action(async ({ config, host, type, selfSigned, json }: GenerateOptions) => {
      const client = await openClient(config);
      const { key, request } = await client.ask<GeneratedKey>("POST", "/keys/generate", {
        hosts: host,
        keyType: type,
        selfSignedDays: selfSigned,
      });
      if (json) return printJson({ key, request }, 2);
      if (request === null)
        return print(`Added key ${key.id}: new sessions with ${key.hosts.join(", ")} get its certificate.`);
      process.stderr.write(
        `Key ${key.id} waits for its certificate. Add it with: ${PROGRAM} keys add --certificate FILE\n`,
      );
      process.stdout.write(request);
    });
}

function readDays(text: string): number {
  const days = Number(text);
  if (Number.isInteger(days) && days >= 1 && days <= 3650) return days;
  throw new InvalidArgumentError("It must be a whole number of days from 1 to 3650.");
}

function listCommand(): Command {
  return createCommand("list", "List the keys that the node holds.", ["keys list"])
    .option("--json", "print JSON")
    .action(async (options: CommonOptions & { json?: true }) => {
      const keys = await (await openClient(options.config)).ask<KeyInfo[]>("GET", "/keys");
      if (options.json) return printJson(keys, 2);
      if (keys.length === 0) return print("The node holds no keys of servers.");
      print(listing(keys));
    });
}

function listing(keys: readonly KeyInfo[]): string {
  return table<KeyInfo>(
    [
      { title: "ID", rank: 0, value: ({ id }) => id },
      { title: "HOSTS", rank: 0, min: 20, value: ({ hosts }) => hosts.join(", ") },
      { title: "KEY", rank: 2, value: ({ keyType }) => keyType },
      { title: "UNTIL", rank: 1, value: ({ notAfter }) => notAfter && fullTime(notAfter).slice(0, 10) },
      { title: "STATE", rank: 1, value: ({ state }) => state, paint: ({ state }) => STATE_COLORS[state] },
      { title: "FROM", rank: 3, value: ({ origin }) => (origin === "added" ? "keys add" : "the configuration") },
      { title: "SHA-256", rank: 4, min: 17, value: ({ sha256 }) => sha256 },
    ],
    keys,
  );
}

const plainly = (text: string) => text;
const STATE_COLORS: Readonly<Record<KeyInfo["state"], (text: string) => string>> = {
  valid: plainly,
  waiting: plainly,
  "expires soon": color.yellow,
  expired: color.red,
  "not yet valid": color.red,
};

function removeCommand(): Command {
  return createCommand("remove", "Remove a key that was added or generated.", ["keys remove 3f2a9c"])
    .argument("<id>", "the key's id, as `keys list` shows it")
    .action(async (id: string, options: CommonOptions) => {
      await (await openClient(options.config)).ask("DELETE", `/keys/${encodeURIComponent(id)}`);
      print(`Removed key ${id}.`);
    });
}
