import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { ConfigError } from "../errors.ts";
import type { PolicySource } from "../policy/rule.ts";
import { conflictsIn } from "./conflict.ts";
import { type Document, placedError, readDocument, withPlace } from "./document.ts";
import { feedRow } from "./feed.ts";
import { listenerRow } from "./listener.ts";
import { parseParts } from "./parts.ts";
import { nameKnownKeys, type Problem, pathOf, problemsOf, valueAt } from "./problem.ts";
import { type ReferencedFiles, readReferencedFiles } from "./referenced-files.ts";
import { CONFIG, type Config, type WrittenConfig } from "./schema.ts";
import { toolRow } from "./tool.ts";
import { warningsOf } from "./warnings.ts";

/** A certificate with its key, as texts. `path` is the entry that names them: "keys[0]". */
interface KeyPair {
  readonly path: string;
  readonly certificatePem: string;
  readonly keyPem: string;
  /** The passphrase of the encrypted key. */
  readonly passphrase?: string;
}

/** `hosts` empty: those in the certificate. `pkcs12`: base64. */
export type InboundKey = { readonly hosts: readonly string[] } & (
  | KeyPair
  | (Pick<KeyPair, "path" | "passphrase"> & { readonly pkcs12: string })
);

/** The secret that encrypts the private keys in the data folder. The text of a key file is base64. `path`: "keyStore.keyFile". */
interface StoreSecret {
  readonly kind: "passphrase" | "keyFile";
  readonly text: string;
  readonly path: string;
}

/**
 * A configuration and the content of all files that it names, so that a worker opens none of them. Plain data that crosses
 * process borders as JSON. `signing` and `keyStore` hold the CAs' keys and the secret of the key store: they stay in the
 * supervisor.
 */
export interface Loaded {
  /** Undefined: the embedded default. */
  readonly file: string | undefined;
  readonly config: Config;
  readonly policy: PolicySource;
  readonly keys: readonly InboundKey[];
  readonly trustFiles: readonly { readonly path: string; readonly pem: string }[];
  readonly signing: { readonly primary?: KeyPair; readonly secondary?: KeyPair };
  /** The secret of all nodes that share a store. Undefined: the primary CA's key serves. */
  readonly sharedSecret?: string;
  readonly keyStore: { readonly current?: StoreSecret; readonly former?: StoreSecret };
  /** What works, but has a price that the user should know: one sentence each, for the log. */
  readonly warnings: readonly string[];
}

/**
 * Loads a configuration file, or without one the embedded default: an explicit proxy and a pcapng feed. `checkPki` finds
 * the mistakes in the certificates and keys that could be read; its errors join the others.
 * @throws AggregateError of ConfigErrors: every error at once, each with its path and its place in the file.
 */
export async function loadConfig(
  file: string | undefined,
  checkPki: (given: Pick<Loaded, "keys" | "signing" | "trustFiles" | "keyStore">) => readonly ConfigError[] = () => [],
): Promise<Loaded> {
  const name = file ?? "the embedded default";
  const document = file === undefined ? embeddedDefault() : await readDocument(file);
  const { root, errors } = document;
  if (root === undefined) throw failure(name, errors);

  const folder = file === undefined ? process.cwd() : dirname(resolve(file));
  const files = await readReferencedFiles(root, folder);
  const checked = CONFIG.safeParse(root, { error: nameKnownKeys });
  const problems = [
    ...(checked.success ? [] : problemsOf(checked.error.issues, root)),
    ...conflictsIn(parseParts(root)),
    ...files.problems,
    ...shortSecret(files),
  ];
  const keys = inboundKeys(root, files);
  const all = [
    ...errors,
    ...problems.map(({ path, says, isKey }) =>
      placedError(path, `${path || "the file"} ${says}`, document.locate(path, isKey)),
    ),
    ...checkPki({
      keys,
      signing: signingOf(files),
      trustFiles: trustFilesOf(root, files),
      keyStore: keyStoreOf(files),
    }).map((error) => withPlace(error, document)),
  ];
  if (all.length > 0 || !checked.success) throw failure(name, all);
  return assemble(file, folder, checked.data, files, keys);
}

/**
 * Adds the places in the file to the errors of a configuration that loaded and could still not be used: a port that another
 * program holds, say. Any other error is returned as it is.
 */
export async function withPlaces(file: string | undefined, error: unknown): Promise<unknown> {
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
  if (file === undefined || !errors.every((one) => one instanceof ConfigError)) return error;
  const document = await readDocument(file);
  return new AggregateError(
    errors.map((one) => withPlace(one, document)),
    error instanceof Error ? error.message : "",
  );
}

/** A secret that can be guessed opens everything that the nodes share. */
function shortSecret({ texts }: ReferencedFiles): Problem[] {
  const length = Buffer.byteLength(texts.get("resumption.secret")?.trim() ?? "x".repeat(32));
  return length >= 32
    ? []
    : [{ path: "resumption.secret", says: `names a file of ${length} bytes; at least 32 are needed` }];
}

/** The configuration of `npm start`: it needs no file and no root. */
function embeddedDefault(): Document {
  const root = {
    listeners: [{ name: "proxy", mode: "explicit", address: "127.0.0.1:8080" }],
    feeds: [{ name: "captures", kind: "pcapng", directory: join(defaultDataDir(), "captures") }],
  };
  return { root, errors: [], locate: () => undefined };
}

function defaultDataDir(): string {
  return process.getuid?.() === 0 ? "/var/lib/clearline" : join(homedir(), ".local", "state", "clearline");
}

/** The keys whose files could be read, whatever mistakes there are elsewhere. */
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

/** The files that could be read. */
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
    warnings: [...files.warnings, ...warningsOf(config)],
  };
}

function missingKeyOf({ name, onMissingKey }: Config["listeners"][number]): [string, "bypass" | "drop"][] {
  return onMissingKey === undefined ? [] : [[name, onMissingKey]];
}

/** File names are relative to the configuration file, not to the folder that the node is started in. */
function absolute(written: WrittenConfig, folder: string): Config {
  const at = (name: string) => resolve(folder, name);
  /** The same group with the file names at these keys made absolute. */
  const files = <Group extends object>(group: Group, names: readonly (keyof Group)[]): Group => ({
    ...group,
    ...Object.fromEntries(
      names.flatMap((name) => (group[name] === undefined ? [] : [[name, at(String(group[name]))]])),
    ),
  });
  const { policy, trust, signing, keys, keyStore, listeners, tools, feeds, dataDir, resumption } = written;
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
    listeners: listeners.map((listener) => listenerRow(listener).withFiles?.(listener, at) ?? listener),
    tools: tools.map((tool) => toolRow(tool).withFiles?.(tool, at) ?? tool),
    feeds: feeds.map((feed) => feedRow(feed).withFiles?.(feed, at) ?? feed),
  };
}

/** The errors in the order of the file. */
function failure(name: string, found: readonly ConfigError[]): AggregateError {
  const position = ({ place }: ConfigError) => [place?.line ?? 0, place?.column ?? 0] as const;
  const errors = found.toSorted((one, other) => {
    const [a, b] = [position(one), position(other)];
    return a[0] - b[0] || a[1] - b[1];
  });
  return new AggregateError(errors, `Cannot use ${name}: ${errors.length} ${errors.length === 1 ? "error" : "errors"}`);
}
