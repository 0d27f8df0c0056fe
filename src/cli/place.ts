import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { defaultDataDir, findRunningNode, type NodeAddress } from "../config/data-folder.ts";
import type { Document } from "../config/document.ts";
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
  /** Absent: it speaks plain HTTP. */
  readonly tls?: {
    /** The certificate that the node shows, in PEM, as it wrote it into its data folder. */
    readonly certificate?: string | undefined;
    /** The CAs that may have signed it, in PEM. Absent: those of the system. */
    readonly authorities?: readonly string[] | undefined;
  };
  /** A token that the user gave. Absent: the one in the data folder. */
  readonly token?: string | undefined;
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
  const { root, errors } = file === undefined ? { root: {}, errors: [] } : await readYaml(file);
  if (root === undefined) throw new AggregateError(errors);
  const written = isGroup(root) ? root : {};
  const at = (name: string) => resolve(dirname(resolve(file ?? "")), name);
  const dataDir = written["dataDir"] === undefined ? defaultDataDir() : at(textAt("dataDir", written, file));
  const { primary, secondary } = written["signing"] === undefined ? {} : await read("signing", written, file);
  const running = findRunningNode(dataDir);
  return {
    file,
    ...(namedNode(process.env) ??
      (running && reachedAt(running)) ??
      (await configuredNode(written, file, at, dataDir))),
    ...(process.env["CLEARLINE_TOKEN"] && { token: process.env["CLEARLINE_TOKEN"].trim() }),
    dataDir,
    runs: running !== undefined,
    givenAuthorities: {
      ...(primary && { primary: at(primary.certificate) }),
      ...(secondary && { secondary: at(secondary.certificate) }),
    },
  };
}

type Reached = Pick<Place, "host" | "port" | "tls">;

/** The node that the environment names: one of another machine, say. */
function namedNode(env: NodeJS.ProcessEnv): Reached | undefined {
  const { CLEARLINE_NODE: named, CLEARLINE_CA: file } = env;
  if (!named) return undefined;
  const url = URL.parse(named);
  if (!url || !["http:", "https:"].includes(url.protocol) || url.pathname !== "/")
    throw new ConfigError(
      "CLEARLINE_NODE",
      `CLEARLINE_NODE is "${named}", not an address such as https://10.0.0.5:8484`,
    );
  const isTls = url.protocol === "https:";
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: Number(url.port || (isTls ? 443 : 80)),
    ...(isTls && { tls: file ? { authorities: readCertificates("CLEARLINE_CA", [file]) } : {} }),
  };
}

function reachedAt({ host, port, certificate }: NodeAddress): Reached {
  return { host, port, ...(certificate !== undefined && { tls: { certificate } }) };
}

/** No node says where it is: it does not run, or could not write it. */
async function configuredNode(
  written: Record<string, unknown>,
  file: string | undefined,
  at: (name: string) => string,
  dataDir: string,
): Promise<Reached> {
  const { address, tls } = await read("console", written, file);
  if (!tls) return address;
  const made = ["ecdsa", "rsa"]
    .map((type) => join(dataDir, "ca", `primary-${type}.pem`))
    .filter((name) => existsSync(name));
  const authorities = tls.certificate === undefined ? made : [at(tls.certificate)];
  return { ...address, tls: { authorities: readCertificates("console.tls", authorities) } };
}

function readCertificates(path: string, files: readonly string[]): string[] {
  return files.map((file) => {
    try {
      return readFileSync(file, "utf8");
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw new ConfigError(path, `Cannot read the certificate ${file} (${path}): ${code}`, { cause: error });
    }
  });
}

export function tokenFile({ dataDir }: Place): string {
  return join(dataDir, "token");
}

/** The YAML reader is loaded only where there is a file. */
async function readYaml(file: string): Promise<Document> {
  const { readDocument } = await import("../config/document.ts");
  return readDocument(file);
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
