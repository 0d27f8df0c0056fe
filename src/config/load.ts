import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { ConfigError } from "../errors.ts";
import type { PolicySource } from "../policy/rule.ts";
import { conflictsIn } from "./conflict.ts";
import { readDocument } from "./document.ts";
import { nameKnownKeys, pathOf, problemsOf, valueAt } from "./problem.ts";
import { type ReferencedFiles, readReferencedFiles } from "./referenced-files.ts";
import { CONFIG, type Config, type WrittenConfig } from "./schema.ts";

/** A certificate with its key, as texts. `path` is where the configuration names them: "keys[0]". */
interface KeyPair {
  readonly path: string;
  readonly certificatePem: string;
  readonly keyPem: string;
}

export interface InboundKey extends KeyPair {
  readonly hosts: readonly string[];
}

/**
 * A configuration with everything it names read, so that a worker never opens a file. Plain data that crosses process
 * borders as JSON. `signing` holds the CAs' keys: it stays in the supervisor.
 */
export interface Loaded {
  /** Undefined: the embedded default. */
  readonly file: string | undefined;
  readonly config: Config;
  readonly policy: PolicySource;
  readonly keys: readonly InboundKey[];
  readonly trustFiles: readonly { readonly path: string; readonly pem: string }[];
  readonly signing: { readonly primary?: KeyPair; readonly secondary?: KeyPair };
  /** One sentence each, for the log: what works and should still be changed. */
  readonly warnings: readonly string[];
}

/**
 * Loads a configuration file, or without one the embedded default: an explicit proxy and a pcapng feed. `checkPki` says
 * what is wrong with the certificates and keys that could be read; its errors join the others.
 * @throws AggregateError of ConfigErrors: every error at once, each with its path in the file.
 */
export async function loadConfig(
  file: string | undefined,
  checkPki: (given: Pick<Loaded, "keys" | "signing" | "trustFiles">) => readonly ConfigError[] = () => [],
): Promise<Loaded> {
  const name = file ?? "the embedded default";
  const { root, errors } = file === undefined ? { root: embeddedDefault(), errors: [] } : await readDocument(file);
  if (root === undefined) throw failure(name, errors);

  const folder = file === undefined ? process.cwd() : dirname(resolve(file));
  const files = await readReferencedFiles(root, folder);
  const checked = CONFIG.safeParse(root, { error: nameKnownKeys });
  const problems = [
    ...(checked.success ? [] : problemsOf(checked.error.issues, root)),
    ...conflictsIn(root),
    ...files.problems,
  ];
  const keys = inboundKeys(root, files);
  const all = [
    ...errors,
    ...problems.map(({ path, says }) => new ConfigError(path, `Cannot read ${name}: ${path || "it"} ${says}`)),
    ...checkPki({ keys, signing: signingOf(files), trustFiles: trustFilesOf(root, files) }),
  ];
  if (all.length > 0 || !checked.success) throw failure(name, all);
  return assemble(file, folder, checked.data, files, keys);
}

/** What `npm start` runs: no file, no root. */
function embeddedDefault(): object {
  return {
    listeners: [{ name: "proxy", mode: "explicit", address: "127.0.0.1:8080" }],
    feeds: [{ name: "captures", kind: "pcapng", directory: join(defaultDataDir(), "captures") }],
  };
}

function defaultDataDir(): string {
  return process.getuid?.() === 0 ? "/var/lib/clearline" : join(homedir(), ".local", "state", "clearline");
}

/** The pairs of which both files could be read, whatever else is wrong. */
function inboundKeys(root: unknown, files: ReferencedFiles): InboundKey[] {
  const entries = valueAt(root, ["keys"]);
  if (!Array.isArray(entries)) return [];
  return entries.flatMap((entry: unknown, index) => {
    const pair = keyPair(["keys", index], files);
    const hosts = valueAt(entry, ["hosts"]);
    return pair && Array.isArray(hosts) ? [{ ...pair, hosts: hosts.map(String) }] : [];
  });
}

function keyPair(keys: readonly PropertyKey[], { texts }: ReferencedFiles): KeyPair | undefined {
  const certificatePem = texts.get(pathOf([...keys, "certificate"]));
  const keyPem = texts.get(pathOf([...keys, "key"]));
  return certificatePem === undefined || keyPem === undefined
    ? undefined
    : { path: pathOf(keys), certificatePem, keyPem };
}

function signingOf(files: ReferencedFiles): Loaded["signing"] {
  const primary = keyPair(["signing", "primary"], files);
  const secondary = keyPair(["signing", "secondary"], files);
  return { ...(primary && { primary }), ...(secondary && { secondary }) };
}

/** Those that could be read. */
function trustFilesOf(root: unknown, { texts }: ReferencedFiles): Loaded["trustFiles"] {
  const names = valueAt(root, ["trust", "files"]);
  if (!Array.isArray(names)) return [];
  return names.flatMap((_, index) => {
    const path = pathOf(["trust", "files", index]);
    const pem = texts.get(path);
    return pem === undefined ? [] : [{ path, pem }];
  });
}

function assemble(
  file: string | undefined,
  folder: string,
  written: WrittenConfig,
  files: ReferencedFiles,
  keys: readonly InboundKey[],
): Loaded {
  const config = absolute(written, folder);
  const entries = (list: "bypass" | "decrypt") =>
    config.policy.lists[list].flatMap((_, index) => files.lists.get(pathOf(["policy", "lists", list, index])) ?? []);
  return {
    file,
    config,
    policy: { ...config.policy, lists: { bypass: entries("bypass"), decrypt: entries("decrypt") } },
    keys,
    trustFiles: trustFilesOf(written, files),
    signing: signingOf(files),
    warnings: [...files.warnings, ...oldVersions(config)],
  };
}

/** What the user has asked for and should know the price of. */
function oldVersions({ policy: { versions } }: Config): string[] {
  if (versions.min !== "SSLv3") return [];
  const price =
    versions.ssl3Suites === "rc4"
      ? "RC4 leaks what is sent again and again, such as cookies and passwords"
      : "POODLE (CVE-2014-3566) reads its block ciphers' plaintext, and cannot be mended; policy.versions.ssl3Suites: rc4 avoids it, at the price of RC4";
  return [`policy.versions.min is SSLv3: SSL 3.0 is broken. ${price}. Allow it only where a peer speaks nothing newer`];
}

/** File names are relative to the file that names them, not to where the node happens to be started. */
function absolute(written: WrittenConfig, folder: string): Config {
  const at = (name: string) => resolve(folder, name);
  const pair = <Pair extends { certificate: string; key: string }>(one: Pair): Pair => ({
    ...one,
    certificate: at(one.certificate),
    key: at(one.key),
  });
  const { policy, trust, signing, keys, feeds, dataDir } = written;
  return {
    ...written,
    dataDir: dataDir === undefined ? defaultDataDir() : at(dataDir),
    trust: { ...trust, files: trust.files.map(at) },
    policy: { ...policy, lists: { bypass: policy.lists.bypass.map(at), decrypt: policy.lists.decrypt.map(at) } },
    signing: {
      ...signing,
      ...(signing.primary && { primary: pair(signing.primary) }),
      ...(signing.secondary && { secondary: pair(signing.secondary) }),
    },
    keys: keys.map(pair),
    feeds: feeds.map((feed) => ({ ...feed, directory: at(feed.directory) })),
  };
}

function failure(name: string, errors: readonly ConfigError[]): AggregateError {
  return new AggregateError(errors, `Cannot use ${name}: ${errors.length} ${errors.length === 1 ? "error" : "errors"}`);
}
