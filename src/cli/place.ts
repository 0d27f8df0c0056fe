import { dirname, join, resolve } from "node:path";
import { readDocument } from "../config/document.ts";
import { loadConfig } from "../config/load.ts";
import { findRunningNode } from "../config/node-file.ts";
import { CONFIG } from "../config/schema.ts";
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
  const { console: api, dataDir: folder, signing } = CONFIG.shape;
  const at = (name: string) => resolve(dirname(resolve(file ?? "")), name);
  const writtenFolder = read("dataDir", folder, written, file);
  const dataDir = writtenFolder === undefined ? (await loadConfig(undefined)).config.dataDir : at(writtenFolder);
  const { primary, secondary } = read("signing", signing, written, file);
  return {
    file,
    ...(findRunningNode(dataDir) ?? read("console", api, written, file).address),
    dataDir,
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

interface Readable<Value> {
  safeParse(value: unknown): { success: true; data: Value } | { success: false; error: Error };
}

function read<Value>(key: string, schema: Readable<Value>, from: Record<string, unknown>, file?: string): Value {
  const answer = schema.safeParse(from[key]);
  if (answer.success) return answer.data;
  throw new ConfigError(
    key,
    `Cannot find the node: ${key} in ${file} cannot be used. ${PROGRAM} check -c ${file} says what is wrong`,
  );
}
