import { dirname, resolve } from "node:path";
import { ConfigError } from "../errors.ts";
import type { PolicySource } from "../policy/rule.ts";
import { conflictsIn } from "./conflict.ts";
import { placedError, readDocument, withPlace } from "./document.ts";
import { embeddedDefault, type Flags } from "./embedded-default.ts";
import { withAbsoluteFiles } from "./file-names.ts";
import { type KeyMaterial, keyMaterial } from "./key-material.ts";
import { parseParts } from "./parts.ts";
import { nameKnownKeys, type Problem, pathOf, problemsOf } from "./problem.ts";
import { type ReferencedFiles, readReferencedFiles } from "./referenced-files.ts";
import { CONFIG, type Config } from "./schema.ts";
import { realFoldersOf } from "./shared-files.ts";
import { warningsOf } from "./warnings.ts";

/**
 * A configuration and the content of all files that it names, so that a worker opens none of them. Plain data. `signing` and
 * `keyStore` hold the CAs' keys and the secret of the key store: they stay in the supervisor.
 */
export interface Loaded extends KeyMaterial {
  /** Undefined: the embedded default. */
  readonly file: string | undefined;
  /** The options of the command line that changed it. */
  readonly flags: Flags;
  readonly config: Config;
  readonly policy: PolicySource;
  /** The files of the policy's lists, in the order of the configuration. */
  readonly lists: readonly LoadedList[];
  /** The secret of all nodes that share a store. Undefined: the primary CA's key serves. */
  readonly sharedSecret?: string;
  /** The secret of this node at console.oidc's provider. */
  readonly providerSecret?: string;
  /** The text of policy.page.template. */
  readonly pageTemplate?: string;
  /** The secrets of the webhooks, in their order. Undefined: its requests are not signed. */
  readonly webhookSecrets: readonly (string | undefined)[];
  /** The roots of the log's syslog servers, in PEM, by the target's index. */
  readonly logTrust: ReadonlyMap<number, string>;
  /** What works, but has a price that the user should know: one sentence each, for the log. */
  readonly warnings: readonly string[];
}

export interface LoadedList {
  readonly kind: "bypass" | "decrypt";
  /** In the configuration: "policy.lists.bypass[0]". */
  readonly path: string;
  readonly file: string;
  /** When it was read, in ms since the epoch. */
  readonly read: number;
  readonly entries: number;
  /** The number of a last line without a line end: the file may be cut off. */
  readonly unended: number | undefined;
  /** See `packList`. */
  readonly table: Uint8Array;
}

/**
 * Loads a configuration file, or without one the embedded default, an explicit proxy and a pcapng feed, with what `flags` change in
 * it. `checkPki` finds the mistakes in the certificates and keys that could be read; its errors join the others.
 * @throws AggregateError of ConfigErrors: every error at once, each with its path and its place in the file.
 */
export async function loadConfig(
  file: string | undefined,
  checkPki: (given: KeyMaterial) => readonly ConfigError[] = () => [],
  flags: Flags = {},
): Promise<Loaded> {
  const name = file ?? "the embedded default";
  const document = file === undefined ? embeddedDefault(flags) : await readDocument(file);
  const { root, errors } = document;
  if (root === undefined) throw failure(name, errors);

  const folder = file === undefined ? process.cwd() : dirname(resolve(file));
  const read = Date.now();
  const files = await readReferencedFiles(root, folder);
  const parts = parseParts(root);
  const folders = await realFoldersOf(parts, folder);
  const checked = CONFIG.safeParse(root, { error: nameKnownKeys });
  const problems = [
    ...(checked.success ? [] : problemsOf(checked.error.issues, root)),
    ...conflictsIn(parts, folders),
    ...files.problems,
    ...shortSecret(files),
    ...shortWebhookSecrets(files),
  ];
  const material = keyMaterial(root, files);
  const all = [
    ...errors,
    ...problems.map(({ path, says, isKey }) => {
      const named = document.nameOf?.(path) ?? path;
      return placedError(named, `${named || "the file"} ${says}`, document.locate(path, isKey));
    }),
    ...checkPki(material).map((error) => withPlace(error, document)),
  ];
  if (all.length > 0 || !checked.success) throw failure(name, all);
  return { ...assemble(withAbsoluteFiles(checked.data, folder), files, material, read), file, flags };
}

/**
 * Adds the places in the file to the errors of a configuration that loaded and could still not be used: a port that another
 * program holds, say. Any other error is returned as it is.
 */
export async function withPlaces(file: string | undefined, error: unknown, flags: Flags = {}): Promise<unknown> {
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
  if (!errors.every((one) => one instanceof ConfigError)) return error;
  const document = file === undefined ? embeddedDefault(flags) : await readDocument(file);
  return new AggregateError(
    errors.map((one) => withPlace(one, document)),
    error instanceof Error ? error.message : "",
  );
}

/** Whoever guesses it can send events in the node's name. */
function shortWebhookSecrets({ texts }: ReferencedFiles): Problem[] {
  return [...texts].flatMap(([path, text]) => {
    const length = Buffer.byteLength(text.trim());
    if (!/^webhooks\[\d+\]\.secret$/.test(path) || length >= 16) return [];
    return [{ path, says: `names a file of ${length} bytes, below 16` }];
  });
}

/** A secret that can be guessed opens everything that the nodes share. */
function shortSecret({ texts }: ReferencedFiles): Problem[] {
  const length = Buffer.byteLength(texts.get("resumption.secret")?.trim() ?? "x".repeat(32));
  return length >= 32
    ? []
    : [{ path: "resumption.secret", says: `names a file of ${length} bytes; at least 32 are needed` }];
}

function assemble(
  config: Config,
  files: ReferencedFiles,
  material: KeyMaterial,
  read: number,
): Omit<Loaded, "file" | "flags"> {
  const sharedSecret = files.texts.get("resumption.secret");
  const providerSecret = files.texts.get("console.oidc.clientSecretFile");
  const pageTemplate = files.texts.get("policy.page.template");
  const lists = (["bypass", "decrypt"] as const).flatMap((kind) =>
    config.policy.lists[kind].flatMap((file, index): LoadedList[] => {
      const path = pathOf(["policy", "lists", kind, index]);
      const compiled = files.lists.get(path);
      if (!compiled) return [];
      const { entries, table, unended } = compiled;
      return [{ ...{ kind, path, file, read }, entries, table, unended }];
    }),
  );
  const tables = (wanted: LoadedList["kind"]) =>
    lists.flatMap(({ kind, entries, table }) => (kind === wanted && entries > 0 ? [table] : []));
  return {
    config,
    policy: {
      ...config.policy,
      overload: config.overload.action,
      lists: { bypass: tables("bypass"), decrypt: tables("decrypt") },
      onMissingKey: Object.fromEntries(config.listeners.flatMap(missingKeyOf)),
    },
    lists,
    ...material,
    ...(sharedSecret !== undefined && { sharedSecret }),
    ...(providerSecret !== undefined && { providerSecret: providerSecret.trim() }),
    webhookSecrets: config.webhooks.map((_, index) => files.texts.get(`webhooks[${index}].secret`)?.trim()),
    logTrust: new Map(
      config.log.targets.flatMap((_, index) => {
        const pem = files.texts.get(`log.targets[${index}].trust`);
        return pem === undefined ? [] : [[index, pem] as const];
      }),
    ),
    ...(pageTemplate !== undefined && { pageTemplate }),
    warnings: [...files.warnings, ...warningsOf(config)],
  };
}

function missingKeyOf({ name, onMissingKey }: Config["listeners"][number]): [string, "bypass" | "drop"][] {
  return onMissingKey === undefined ? [] : [[name, onMissingKey]];
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
