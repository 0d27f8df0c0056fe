import { Command } from "commander";
import type { GeneratedKey, KeyInfo, NewKey } from "../../control/api.ts";
import { ConfigError } from "../../errors.ts";
import { openClient } from "../client.ts";
import { readNamed } from "../named-file.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { color, fullTime, print, printJson, table } from "../render.ts";

export function keysCommand(): Command {
  return new Command("keys")
    .description("The certificates and keys of inbound servers: add, generate, list or remove them.")
    .addCommand(addCommand())
    .addCommand(generateCommand())
    .addCommand(listCommand())
    .addCommand(removeCommand());
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
  return createCommand("add", "Give the node a server's certificate and key. It keeps them over restarts.", [
    "keys add --host www.example.com --host '*.example.com' --certificate www.pem --key www.key",
    "keys add --pkcs12 www.p12 --passphrase-file www.pass",
    "keys add --certificate signed.pem   # the node made the key, or holds it already",
  ])
    .option("--host <host...>", "the server's host names, wildcards and addresses; else those of the certificate")
    .option("--certificate <file>", "PEM: the server's certificate, then its chain")
    .option("--key <file>", "PEM: the private key")
    .option("--pkcs12 <file>", "instead of both: one PKCS#12 file (.p12, .pfx)")
    .option("--passphrase-file <file>", "its first line is the passphrase that the key is encrypted under")
    .option("--json", "for a machine")
    .action(async (options: AddOptions) => {
      const added = await readNewKey(options);
      const key = await (await openClient(options.config)).ask<KeyInfo>("POST", "/keys", added);
      if (options.json) return printJson(key, 2);
      print(`Added ${key.id}: new sessions with ${key.hosts.join(", ")} are shown this certificate.`);
      if (key.state !== "valid") print(color.yellow(`The certificate: ${key.state}.`));
    });
}

async function readNewKey({ host, certificate, key, pkcs12, passphraseFile }: AddOptions): Promise<NewKey> {
  if (certificate === undefined && pkcs12 === undefined) {
    throw new ConfigError("--certificate", "Cannot add a key: --certificate or --pkcs12 must name a file");
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
  readonly selfSigned?: string;
  readonly json?: true;
}

function generateCommand(): Command {
  return createCommand(
    "generate",
    "Make a key in the node, and print the request that a CA makes its certificate of.",
    [
      "keys generate --host www.example.com > www.csr",
      "keys generate --host intra.example.com --type ed25519 --self-signed 90",
    ],
  )
    .requiredOption("--host <host...>", "the server's host names, wildcards and addresses")
    .option("--type <type>", "ecdsa, rsa or ed25519", "ecdsa")
    .option("--self-signed <days>", "no CA: the key signs its certificate itself, for so many days")
    .option("--json", "for a machine")
    .action(async ({ config, host, type, selfSigned, json }: GenerateOptions) => {
      const days = selfSigned === undefined ? {} : { selfSignedDays: Number(selfSigned) };
      const client = await openClient(config);
      const { key, request } = await client.ask<GeneratedKey>("POST", "/keys/generate", {
        hosts: host,
        keyType: type,
        ...days,
      });
      if (json) return printJson({ key, request }, 2);
      if (request === null)
        return print(`Added ${key.id}: new sessions with ${key.hosts.join(", ")} are shown its certificate.`);
      process.stderr.write(`Key ${key.id} waits for its certificate: clearline keys add --certificate FILE\n`);
      process.stdout.write(request);
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
  return createCommand("remove", "Take a key that was added, or waits for its certificate, from the node.", [
    "keys remove 3f2a9c",
  ])
    .argument("<id>", "as `keys list` shows it")
    .action(async (id: string, options: CommonOptions) => {
      await (await openClient(options.config)).ask("DELETE", `/keys/${encodeURIComponent(id)}`);
      print(`Removed ${id}.`);
    });
}
