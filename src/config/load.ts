import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { ConfigError } from "../errors.ts";
import type { PolicySource } from "../policy/rule.ts";
import { conflictsIn } from "./conflict.ts";
import { readDocument } from "./document.ts";
import { feedWarnings, resolvedFeed } from "./feed.ts";
import { nameKnownKeys, type Problem, pathOf, problemsOf, valueAt } from "./problem.ts";
import { type ReferencedFiles, readReferencedFiles } from "./referenced-files.ts";
import { CONFIG, type Config, type WrittenConfig } from "./schema.ts";
import { toolWarnings } from "./tool-conflict.ts";

/** A certificate with its key, as texts. `path` is where the configuration names them: "keys[0]". */
interface KeyPair {
  readonly path: string;
  readonly certificatePem: string;
  readonly keyPem: string;
  /** That the key is encrypted under. */
  readonly passphrase?: string;
}

/** `hosts` empty: those that the certificate names. `pkcs12`: base64. */
export type InboundKey = { readonly hosts: readonly string[] } & (
  | KeyPair
  | (Pick<KeyPair, "path" | "passphrase"> & { readonly pkcs12: string })
);

/** What the private keys in the data folder are encrypted under. A key file's text is base64; `path`: "keyStore.keyFile". */
interface StoreSecret {
  readonly kind: "passphrase" | "keyFile";
  readonly text: string;
  readonly path: string;
}

/**
 * A configuration with everything it names read, so that a worker never opens a file. Plain data that crosses process
 * borders as JSON. `signing` holds the CAs' keys and `keyStore` the way to others: they stay in the supervisor.
 */
export interface Loaded {
  /** Undefined: the embedded default. */
  readonly file: string | undefined;
  readonly config: Config;
  readonly policy: PolicySource;
  readonly keys: readonly InboundKey[];
  readonly trustFiles: readonly { readonly path: string; readonly pem: string }[];
  readonly signing: { readonly primary?: KeyPair; readonly secondary?: KeyPair };
  /** What the nodes that share a store have in common; undefined: the primary CA's key. */
  readonly sharedSecret?: string;
  readonly keyStore: { readonly current?: StoreSecret; readonly former?: StoreSecret };
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
  checkPki: (given: Pick<Loaded, "keys" | "signing" | "trustFiles" | "keyStore">) => readonly ConfigError[] = () => [],
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
    ...shortSecret(files),
  ];
  const keys = inboundKeys(root, files);
  const all = [
    ...errors,
    ...problems.map(({ path, says }) => new ConfigError(path, `Cannot read ${name}: ${path || "it"} ${says}`)),
    ...checkPki({
      keys,
      signing: signingOf(files),
      trustFiles: trustFilesOf(root, files),
      keyStore: keyStoreOf(files),
    }),
  ];
  if (all.length > 0 || !checked.success) throw failure(name, all);
  return assemble(file, folder, checked.data, files, keys);
}

/** What can be guessed opens everything that the nodes share. */
function shortSecret({ texts }: ReferencedFiles): Problem[] {
  const length = Buffer.byteLength(texts.get("resumption.secret")?.trim() ?? "x".repeat(32));
  return length >= 32
    ? []
    : [{ path: "resumption.secret", says: `names a file of ${length} bytes; it needs 32 or more` }];
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

/** Those whose files could be read, whatever else is wrong. */
function inboundKeys(root: unknown, files: ReferencedFiles): InboundKey[] {
  const entries = valueAt(root, ["keys"]);
  if (!Array.isArray(entries)) return [];
  return entries.flatMap((entry: unknown, index): InboundKey[] => {
    const keys = ["keys", index];
    const pair = keyPair(keys, files);
    const pkcs12 = files.texts.get(pathOf([...keys, "pkcs12"]));
    const written = valueAt(entry, ["hosts"]);
    const hosts = Array.isArray(written) ? written.map(String) : [];
    if (pkcs12 !== undefined) return [{ path: pathOf(keys), ...passphraseOf(keys, files), pkcs12, hosts }];
    return pair ? [{ ...pair, hosts }] : [];
  });
}

function keyPair(keys: readonly PropertyKey[], files: ReferencedFiles): KeyPair | undefined {
  const certificatePem = files.texts.get(pathOf([...keys, "certificate"]));
  const keyPem = files.texts.get(pathOf([...keys, "key"]));
  return certificatePem === undefined || keyPem === undefined
    ? undefined
    : { path: pathOf(keys), certificatePem, keyPem, ...passphraseOf(keys, files) };
}

function passphraseOf(keys: readonly PropertyKey[], { texts }: ReferencedFiles): { readonly passphrase?: string } {
  const passphrase = texts.get(pathOf([...keys, "passphraseFile"]));
  return passphrase === undefined ? {} : { passphrase };
}

function keyStoreOf({ texts }: ReferencedFiles): Loaded["keyStore"] {
  const secretAt = (keys: readonly string[]): StoreSecret | undefined => {
    const [passphraseFile, keyFile] = ["passphraseFile", "keyFile"].map((name) => pathOf([...keys, name]));
    const [passphrase, bytes] = [texts.get(passphraseFile!), texts.get(keyFile!)];
    if (passphrase !== undefined) return { kind: "passphrase", text: passphrase, path: passphraseFile! };
    return bytes === undefined ? undefined : { kind: "keyFile", text: bytes, path: keyFile! };
  };
  const [current, former] = [secretAt(["keyStore"]), secretAt(["keyStore", "former"])];
  return { ...(current && { current }), ...(former && { former }) };
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
  const sharedSecret = files.texts.get("resumption.secret");
  const entries = (list: "bypass" | "decrypt") =>
    config.policy.lists[list].flatMap((_, index) => files.lists.get(pathOf(["policy", "lists", list, index])) ?? []);
  return {
    file,
    config,
    policy: {
      ...config.policy,
      lists: { bypass: entries("bypass"), decrypt: entries("decrypt") },
      onMissingKey: Object.fromEntries(config.listeners.flatMap(missingKeyOf)),
    },
    keys,
    trustFiles: trustFilesOf(written, files),
    signing: signingOf(files),
    ...(sharedSecret !== undefined && { sharedSecret }),
    keyStore: keyStoreOf(files),
    warnings: [...files.warnings, ...feedWarnings(config.feeds), ...toolWarnings(config), ...oldVersions(config)],
  };
}

function missingKeyOf({ name, onMissingKey }: Config["listeners"][number]): [string, "bypass" | "drop"][] {
  return onMissingKey === undefined ? [] : [[name, onMissingKey]];
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
  /** The same with these of its keys, those that are there, made absolute. */
  const files = <Group extends object>(group: Group, names: readonly (keyof Group)[]): Group => ({
    ...group,
    ...Object.fromEntries(
      names.flatMap((name) => (group[name] === undefined ? [] : [[name, at(String(group[name]))]])),
    ),
  });
  const { policy, trust, signing, keys, keyStore, feeds, dataDir, resumption } = written;
  const pair = ["certificate", "key", "passphraseFile"] as const;
  const secret = ["passphraseFile", "keyFile"] as const;
  return {
    ...written,
    dataDir: dataDir === undefined ? defaultDataDir() : at(dataDir),
    trust: { ...trust, files: trust.files.map(at) },
    policy: { ...policy, lists: { bypass: policy.lists.bypass.map(at), decrypt: policy.lists.decrypt.map(at) } },
    signing: {
      ...signing,
      ...(signing.primary && { primary: files(signing.primary, pair) }),
      ...(signing.secondary && { secondary: files(signing.secondary, pair) }),
    },
    keys: keys.map((key) => files(key, [...pair, "pkcs12"])),
    keyStore: {
      ...files(keyStore, secret),
      ...(keyStore.former && { former: files(keyStore.former, secret) }),
    },
    resumption: files(resumption, ["secret"]),
    feeds: feeds.map((feed) => resolvedFeed(feed, at)),
  };
}

function failure(name: string, errors: readonly ConfigError[]): AggregateError {
  return new AggregateError(errors, `Cannot use ${name}: ${errors.length} ${errors.length === 1 ? "error" : "errors"}`);
}
