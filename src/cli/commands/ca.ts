import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Command, Option } from "commander";
import type { AuthorityInfo, AuthorityRole } from "../../control/api.ts";
import { ConfigError } from "../../errors.ts";
import type { KeyType } from "../../vocabulary.ts";
import { openClient } from "../client.ts";
import { findNode, type Place } from "../place.ts";
import { type CommonOptions, createCommand, PROGRAM } from "../program.ts";
import { color, fullTime, print, printJson, table } from "../render.ts";

const role = () => new Option("--role <role>", "which CA").choices(["primary", "secondary"]);
const keyType = () => new Option("--key-type <type>", "of which type of key").choices(["ecdsa", "rsa"]);

export function caCommand(): Command {
  return new Command("ca")
    .description("The CAs that sign what clients are shown: show, export or renew them.")
    .addCommand(showCommand())
    .addCommand(exportCommand())
    .addCommand(renewCommand());
}

function showCommand(): Command {
  return createCommand("show", "Show the signing CAs.", ["ca show", "ca show --json"])
    .option("--json", "for a machine")
    .action(async (options: CommonOptions & { json?: true }) => {
      const authorities = await (await openClient(options.config)).ask<AuthorityInfo[]>("GET", "/ca");
      if (options.json) printJson(authorities, 2);
      else print(listing(authorities));
    });
}

function listing(authorities: readonly AuthorityInfo[]): string {
  return table<AuthorityInfo>(
    [
      { title: "ROLE", rank: 0, value: ({ role }) => role },
      { title: "KEY", rank: 0, value: ({ keyType }) => keyType },
      { title: "UNTIL", rank: 0, value: ({ notAfter }) => fullTime(notAfter).slice(0, 10) },
      { title: "FROM", rank: 3, value: ({ origin }) => (origin === "made" ? "this node" : "the configuration") },
      { title: "SUBJECT", rank: 1, min: 20, value: ({ subject }) => subject },
      { title: "SHA-256", rank: 0, min: 17, value: ({ sha256 }) => sha256 },
    ],
    authorities,
  );
}

interface ExportOptions extends CommonOptions {
  readonly role: AuthorityRole;
  readonly keyType?: KeyType;
}

function exportCommand(): Command {
  return createCommand("export", "Print the certificates for clients to trust, in PEM. The node need not run.", [
    "ca export > clearline-ca.pem",
    "ca export --key-type ecdsa",
  ])
    .addOption(role().default("primary"))
    .addOption(keyType())
    .action(async (options: ExportOptions) => {
      print((await readAuthorities(await findNode(options.config), options)).join("\n"));
      if (options.role === "secondary") {
        process.stderr.write(
          `${color.yellow("No client should trust the secondary CA: it signs for invalid servers.")}\n`,
        );
      }
    });
}

/** From the files, not from the node: whoever may read its token may read these. */
async function readAuthorities({ dataDir, givenAuthorities }: Place, options: ExportOptions): Promise<string[]> {
  const given = givenAuthorities[options.role];
  const types = options.keyType ? [options.keyType] : ["ecdsa", "rsa"];
  const files = given ? [given] : types.map((type) => join(dataDir, "ca", `${options.role}-${type}.pem`));
  // One after the other: of several that are missing always the same one is named.
  return Array.fromAsync(files, readCertificate);
}

/** The first certificate is the CA's own; what follows are those above it. */
async function readCertificate(file: string): Promise<string> {
  try {
    const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(await readFile(file, "utf8"))?.[0];
    if (pem !== undefined) return pem;
    throw new ConfigError(file, `Cannot export the CA: there is no certificate in ${file}`);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const made = `${file} is not there; the CA is made when the node first starts: ${PROGRAM} run`;
    throw new ConfigError(file, `Cannot export the CA: ${code === "ENOENT" ? made : `${file}: ${code}`}`, {
      cause: error,
    });
  }
}

function renewCommand(): Command {
  return createCommand("renew", "Make new keys for a CA. Clients must be given its new certificates.", [
    "ca renew --role primary",
  ])
    .addOption(role().makeOptionMandatory())
    .option("--json", "for a machine")
    .action(async (options: CommonOptions & { role: AuthorityRole; json?: true }) => {
      const client = await openClient(options.config);
      const authorities = await client.ask<AuthorityInfo[]>("POST", `/ca/${options.role}/renew`);
      if (options.json) return printJson(authorities, 2);
      print(listing(authorities.filter((one) => one.role === options.role)));
      if (options.role === "primary") print("", `Clients must trust the new certificates: ${PROGRAM} ca export`);
    });
}
