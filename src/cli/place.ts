import { dirname, join, resolve } from "node:path";
import { defaultDataDir, findRunningNode } from "../config/data-folder.ts";
import { readDocument } from "../config/document.ts";
import type { WrittenConfig } from "../config/schema.ts";
import { ConfigError } from "../errors.ts";
import { PROGRAM } from "./program.ts";

/** Where a node is to be found. */
export interface Place {
  /** The configuration file. Undefined: the embedded default. */
  readonly file: string | undefined;
  /** Where the API is: as the running node says, else as the configuration says. */
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  /** A node runs with this data folder, as far as its node.json tells. */
  readonly runs: boolean;
  /** The certificate files of CAs that the user gave; the others are in the data folder. */
  readonly givenAuthorities: { readonly primary?: string; readonly secondary?: string };
}

/**
 * Reads only the keys that say where the node is: the node may run with an earlier version of the file, and a mistake made in
 * it since must not keep the user from asking the node. Throws ConfigError, or an AggregateError of them, when one of these
 * keys cannot be used.
 */
export async function findNode(file: string | undefined): Promise<Place> {
  const { root, errors } = file === undefined ? { root: {}, errors: [] } : await readDocument(file);
  if (root === undefined) throw new AggregateError(errors);
  const written = isGroup(root) ? root : {};
  const at = (name: string) => resolve(dirname(resolve(file ?? "")), name);
  const dataDir = written["dataDir"] === undefined ? defaultDataDir() : at(textAt("dataDir", written, file));
  const { primary, secondary } = written["signing"] === undefined ? {} : await read("signing", written, file);
  const running = findRunningNode(dataDir);
  return {
    file,
    ...(running ?? (await read("console", written, file)).address),
    dataDir,
    runs: running !== undefined,
    givenAuthorities: {
      ...(primary && { primary: at(primary.certificate) }),
      ...(secondary && { secondary: at(secondary.certificate) }),
    },
  };
}

export function tokenFile({ dataDir }: Place): string {
  return join(dataDir, "token");
}

function isGroup(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function textAt(key: string, written: Record<string, unknown>, file: string | undefined): string {
  const value = written[key];
  if (typeof value === "string" && value !== "") return value;
  throw unusable(key, file);
}

/** The schema is loaded when it is needed: it takes longer than most commands, and a running node is found without it. */
async function read<Key extends "console" | "signing">(
  key: Key,
  written: Record<string, unknown>,
  file: string | undefined,
): Promise<WrittenConfig[Key]> {
  const { CONFIG } = await import("../config/schema.ts");
  const answer = CONFIG.shape[key].safeParse(written[key]);
  if (answer.success) return answer.data as WrittenConfig[Key];
  throw unusable(key, file);
}

function unusable(key: string, file: string | undefined): ConfigError {
  const check = `${PROGRAM} check -c ${file}`;
  return new ConfigError(key, `Cannot find the node: ${key} in ${file} cannot be used. ${check} says what is wrong`);
}
