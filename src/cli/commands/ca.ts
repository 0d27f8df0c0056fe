import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Command, Option } from "commander";
import type { AuthorityInfo, AuthorityRole } from "../../control/api.ts";
import { ConfigError } from "../../errors.ts";
import type { KeyType } from "../../vocabulary.ts";
import { openClient } from "../client.ts";
import { findNode, type Place } from "../place.ts";
import { type CommonOptions, createCommand, PROGRAM } from "../program.ts";
import { color, facts, fullTime, print, printJson } from "../render.ts";

const role = () => new Option("--role <role>", "the CA").choices(["primary", "secondary"]);
const keyType = () => new Option("--key-type <type>", "the type of its key").choices(["ecdsa", "rsa"]);

export function caCommand(): Command {
  return new Command("ca")
    .description("Show, export or renew the CAs that sign certificates for clients.")
    .addCommand(showCommand())
    .addCommand(exportCommand())
    .addCommand(renewCommand());
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
  return authorities.flatMap(({ role, keyType, subject, notBefore, notAfter, origin, sha256 }, index) => [
    ...(index > 0 ? [""] : []),
    color.bold(`${role} CA, ${keyType}`),
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
}

function exportCommand(): Command {
  return createCommand(
    "export",
    "Print the certificates that clients must trust, in PEM. Works without a running node.",
    ["ca export > clearline-ca.pem", "ca export --key-type ecdsa"],
  )
    .addOption(role().default("primary"))
    .addOption(keyType())
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
  const given = givenAuthorities[options.role];
  const types = options.keyType ? [options.keyType] : ["ecdsa", "rsa"];
  const files = given ? [given] : types.map((type) => join(dataDir, "ca", `${options.role}-${type}.pem`));
  // One after the other, so that the first missing file is the one that the error names.
  return Array.fromAsync(files, readCertificate);
}

/** The first certificate is the CA's own. Its issuers may follow. */
async function readCertificate(file: string): Promise<string> {
  try {
    const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(await readFile(file, "utf8"))?.[0];
    if (pem !== undefined) return pem;
    throw new ConfigError(file, `Cannot export the CA: ${file} holds no certificate in PEM`);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const made = `${file} does not exist. The node makes its CA on its first start: ${PROGRAM} run`;
    throw new ConfigError(file, `Cannot export the CA: ${code === "ENOENT" ? made : `${file}: ${code}`}`, {
      cause: error,
    });
  }
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
