import { dirname, join, resolve } from "node:path";
import { readDocument } from "../config/document.ts";
import { loadConfig } from "../config/load.ts";
import { CONFIG } from "../config/schema.ts";
import { ConfigError } from "../errors.ts";

/** Where a node is to be found: what its configuration says of its API and of its data folder. */
export interface Place {
  /** Undefined: the embedded default. */
  readonly file: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  /** The certificate files of CAs that the user gave; the others are in the data folder. */
  readonly givenAuthorities: { readonly primary?: string; readonly secondary?: string };
}

/**
 * Reads only the keys that tell where the node is: the node runs, so a mistake made in its file since must not keep the
 * user from asking it. Throws ConfigError, or an AggregateError of them, when these keys cannot be read.
 */
export async function findNode(file: string | undefined): Promise<Place> {
  const standard = (await loadConfig(undefined)).config;
  const { root, errors } = file === undefined ? { root: {}, errors: [] } : await readDocument(file);
  if (root === undefined) throw new AggregateError(errors);
  const written = isGroup(root) ? root : {};
  const { console: api, dataDir, signing } = CONFIG.shape;
  const address = read("console", api, written, file);
  const folder = read("dataDir", dataDir, written, file);
  const { primary, secondary } = read("signing", signing, written, file);
  const at = (name: string) => resolve(dirname(resolve(file ?? "")), name);
  return {
    file,
    ...address.address,
    dataDir: folder === undefined ? standard.dataDir : at(folder),
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
  throw new ConfigError(key, `Cannot find the node: ${key} in ${file} is not usable; clearline check says why`);
}
