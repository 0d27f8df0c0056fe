import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";

import { type Command, Option } from "commander";
import type { AuthorityInfo, AuthorityRole } from "../../control/api.ts";
import { ConfigError } from "../../errors.ts";
import type { KeyType } from "../../vocabulary.ts";
import { type Client, openClient } from "../client.ts";
import { findNode, type Place } from "../place.ts";
import { type CommonOptions, createCommand, createGroup, PROGRAM } from "../program.ts";
import { color, facts, fullTime, print, printJson } from "../render.ts";

const role = () => new Option("--role <role>", "the CA").choices(["primary", "secondary"]);
const keyType = () => new Option("--key-type <type>", "the type of its key").choices(["ecdsa", "rsa"]);

export function caCommand(): Command {
  return createGroup("ca", "Show, export, replace or renew the CAs that sign certificates for clients.", [
    showCommand(),
    exportCommand(),
    nextCommand(),
    activateCommand(),
    destroyCommand(),
    renewCommand(),
  ]);
}

function showCommand(): Command {
  return createCommand("show", "Show the CAs, with the fingerprints to compare on clients.", [
    "ca show",
    "ca show --json",
  ])
    .option("--json", "print JSON")
    .action(async (options: CommonOptions & { json?: true }) => {
      const authorities = await (await openClient(options.config)).ask<AuthorityInfo[]>("GET", "/ca");
      if (options.json) printJson(authorities, 2);
      else print(...listing(authorities));
    });
}

/** A block for each, so that the fingerprint is whole on one line. */
function listing(authorities: readonly AuthorityInfo[]): string[] {
  return authorities.flatMap(({ role, keyType, subject, notBefore, notAfter, origin, sha256, stage }, index) => [
    ...(index > 0 ? [""] : []),
    color.bold(`${stage === "next" ? "next " : ""}${role} CA, ${keyType}`),
    ...facts([
      ["Subject", subject],
      ["Valid", [notBefore, notAfter].map((time) => fullTime(time).slice(0, 10)).join(" to ")],
      ["From", origin === "made" ? "this node" : "the configuration"],
      ["SHA-256", sha256],
    ]),
  ]);
}

interface ExportOptions extends CommonOptions {
  readonly role: AuthorityRole;
  readonly keyType?: KeyType;
  readonly next?: true;
}

function exportCommand(): Command {
  return createCommand(
    "export",
    "Print the certificates that clients must trust, in PEM. Works without a running node.",
    ["ca export > clearline-ca.pem", "ca export --key-type ecdsa", "ca export --next > clearline-next-ca.pem"],
  )
    .addOption(role().default("primary"))
    .addOption(keyType())
    .option("--next", "the CA that is to follow, which clients should trust before it is activated")
    .action(async (options: ExportOptions) => {
      print((await readAuthorities(await findNode(options.config), options)).join("\n"));
      if (options.role === "secondary") {
        process.stderr.write(
          `${color.yellow("Do not let clients trust the secondary CA: it signs for servers whose certificates are invalid.")}\n`,
        );
      }
    });
}

/** From the files, not from the node: a user who may read the node's token may read these too. */
async function readAuthorities({ dataDir, givenAuthorities }: Place, options: ExportOptions): Promise<string[]> {
  const given = options.next ? undefined : givenAuthorities[options.role];
  const types = options.keyType ? [options.keyType] : ["ecdsa", "rsa"];
  const prefix = options.next ? "next-" : "";
  const files = given ? [given] : types.map((type) => join(dataDir, "ca", `${prefix}${options.role}-${type}.pem`));
  const way = options.next ? `ca next --role ${options.role}` : "run";
  const made = options.next ? "There is no next CA until you make it" : "The node makes its CA on its first start";
  // One after the other, so that the first missing file is the one that the error names.
  return Array.fromAsync(files, (file) => readCertificate(file, `${made}: ${PROGRAM} ${way}`));
}

/** The first certificate is the CA's own. Its issuers may follow. `hint`: why the file may not be there. */
async function readCertificate(file: string, hint: string): Promise<string> {
  try {
    const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(await readFile(file, "utf8"))?.[0];
    if (pem !== undefined) return pem;
    throw new ConfigError(file, `Cannot export the CA: ${file} holds no certificate in PEM`);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const made = `${file} does not exist. ${hint}`;
    throw new ConfigError(file, `Cannot export the CA: ${code === "ENOENT" ? made : `${file}: ${code}`}`, {
      cause: error,
    });
  }
}

interface ChangeOptions extends CommonOptions {
  readonly role: AuthorityRole;
  readonly json?: true;
}

function nextCommand(): Command {
  return createCommand("next", "Make the CA that is to follow. The present one signs until it is activated.", [
    "ca next",
    "ca next --role secondary",
  ])
    .addOption(role().default("primary"))
    .option("--json", "print JSON")
    .action(async (options: ChangeOptions) => {
      const client = await openClient(options.config);
      const authorities = await client.ask<AuthorityInfo[]>("POST", `/ca/${options.role}/next`);
      if (options.json) return printJson(authorities, 2);
      print(...listing(authorities.filter((one) => one.role === options.role && one.stage === "next")), "");
      if (options.role === "primary")
        print(`Have clients trust it as well as the present one: ${PROGRAM} ca export --next`);
      print(`Then let it sign: ${PROGRAM} ca activate --role ${options.role}`);
    });
}

function activateCommand(): Command {
  return createCommand("activate", "Let the next CA sign from now on. Clients must trust it already.", [
    "ca activate",
    "ca activate --destroy-former --yes",
  ])
    .addOption(role().default("primary"))
    .option("--destroy-former", "destroy the private keys of the former CAs, which the node keeps otherwise")
    .option("--yes", "do not ask")
    .option("--json", "print JSON")
    .action(async (options: ChangeOptions & { destroyFormer?: true; yes?: true }) => {
      if (options.destroyFormer)
        await confirm(`Activate the next ${options.role} CA and destroy the former keys`, options);
      const client = await openClient(options.config);
      const authorities = await client.ask<AuthorityInfo[]>("POST", `/ca/${options.role}/activate`);
      const destroyed = options.destroyFormer && (await destroy(client, options.role, "former"));
      if (options.json) return printJson(authorities, 2);
      print(...listing(authorities.filter((one) => one.role === options.role)), "");
      print("It signs new sessions from now on.");
      print(destroyed ?? `The former keys are kept. Destroy them with: ${PROGRAM} ca destroy --role ${options.role}`);
    });
}

function destroyCommand(): Command {
  return createCommand(
    "destroy",
    "Destroy the private keys of former CAs, or the next CA. Their certificates stay. Backups and snapshots are yours to clean.",
    ["ca destroy", "ca destroy --role secondary --yes", "ca destroy --next"],
  )
    .addOption(role().default("primary"))
    .option("--next", "destroy the CA that is to follow instead")
    .option("--yes", "do not ask")
    .option("--json", "print JSON")
    .action(async (options: ChangeOptions & { next?: true; yes?: true }) => {
      const which = options.next ? "next" : "former";
      await confirm(`Destroy the private keys of the ${which} ${options.role} CAs, for good`, options);
      const client = await openClient(options.config);
      if (options.json) return printJson(await client.ask("DELETE", `/ca/${options.role}/${which}`), 2);
      print(await destroy(client, options.role, which));
    });
}

async function destroy(client: Client, role: AuthorityRole, which: "former" | "next"): Promise<string> {
  const { keys } = await client.ask<{ keys: number }>("DELETE", `/ca/${role}/${which}`);
  const count = keys === 0 ? "no private key" : keys === 1 ? "1 private key" : `${keys} private keys`;
  return `Destroyed ${count} of the ${which} ${role} CAs.`;
}

/** What cannot be undone needs --yes, or a yes on the terminal. */
async function confirm(what: string, { yes }: { readonly yes?: true }): Promise<void> {
  if (yes) return;
  if (process.stdin.isTTY && process.stdout.isTTY) {
    const terminal = createInterface({ input: process.stdin, output: process.stdout });
    const answer = await terminal.question(`${what}? [y/N] `).finally(() => terminal.close());
    if (/^y(?:es)?$/i.test(answer.trim())) return;
    throw new ConfigError("--yes", "Nothing was changed");
  }
  throw new ConfigError("--yes", `${what}: this cannot be undone. Say --yes to do it`);
}

function renewCommand(): Command {
  return createCommand("renew", "Make new keys for a CA. Clients must then trust its new certificates.", [
    "ca renew --role primary",
  ])
    .addOption(role().makeOptionMandatory())
    .option("--json", "print JSON")
    .action(async (options: CommonOptions & { role: AuthorityRole; json?: true }) => {
      const client = await openClient(options.config);
      const authorities = await client.ask<AuthorityInfo[]>("POST", `/ca/${options.role}/renew`);
      if (options.json) return printJson(authorities, 2);
      print(...listing(authorities.filter((one) => one.role === options.role)));
      if (options.role === "primary") print("", `Clients must trust the new certificates: ${PROGRAM} ca export`);
    });
}
