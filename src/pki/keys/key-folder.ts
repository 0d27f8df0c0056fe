import { readdir, unlink } from "node:fs/promises";
import { isIP } from "node:net";
import { dirname, join } from "node:path";
import { ConfigError } from "../../errors.ts";
import { sha256 } from "../x509/fingerprint.ts";
import { publicKeyOf } from "../x509/public-key.ts";
import { ID_LENGTH, type InboundKey } from "./inbound-key.ts";
import type { KeyRequest } from "./key-request.ts";
import { type KeySource, readKey } from "./key-source.ts";
import { type HeldKeyType, readPrivateKey } from "./private-key.ts";
import { codeOf, makeSecretFolder, readSecret, writeSecret } from "./secret-file.ts";
import type { Vault } from "./vault.ts";

/**
 * The inbound keys that were added at run time, in `<dataDir>/keys`. Each has a file that only its owner may read:
 * `<id>.json`, or `<id>.request.json` while it waits for its certificate. The vault encrypts the private keys in them.
 */
export interface KeyFolder {
  /** Writes a key. Replaces the file of the same certificate. Throws ConfigError when the key is not usable. */
  add(key: NewKeySource): Promise<InboundKey>;
  /** Checks the hosts, makes a key and writes it; it waits for its certificate. Throws ConfigError. */
  addRequest(hosts: readonly string[], make: () => Promise<KeyRequest>): Promise<WaitingKey>;
  /** Removes a key, or one that waits. false: there is none with this id. */
  remove(id: string): Promise<boolean>;
  /** The keys, in the order of their ids; the `path` of each is its file. Throws ConfigError. */
  read(): Promise<Extract<KeySource, { keyPem: string }>[]>;
  readRequests(): Promise<WaitingKey[]>;
}

export type NewKeySource =
  | Omit<Extract<KeySource, { keyPem: string }>, "path">
  | Omit<Extract<KeySource, { pkcs12: string }>, "path">;

/** A key that waits for its certificate. */
export interface WaitingKey extends KeyRequest {
  readonly id: string;
  readonly hosts: readonly string[];
  readonly keyType: HeldKeyType;
  /** The SHA-256 of SubjectPublicKeyInfo. */
  readonly publicKeySha256: string;
}

/** Files that are read in parallel. */
const AT_ONCE = 32;

/** `notice` receives messages about repairs: of permissions, and of keys that were not encrypted with the vault's secret. */
export function openKeyFolder(directory: string, vault: Vault, notice: (text: string) => void): KeyFolder {
  const fileOf = (id: string, suffix = "") => join(directory, `${id}${suffix}.json`);
  const requestOf = (publicKeySha256: string) => fileOf(publicKeySha256.slice(0, ID_LENGTH), ".request");
  const { readAll, forget } = createReader(directory, vault, notice);

  return {
    async add(key) {
      const added = readKey({ ...key, path: "the key to add" });
      const { id, hosts, certificatePem, keyPem, publicKeySha256 } = added;
      checkHosts(hosts);
      await writeKey(fileOf(id), vault, { hosts, certificatePem, keyPem });
      await removeFile(requestOf(publicKeySha256));
      return added;
    },
    async addRequest(hosts, make) {
      checkHosts(hosts);
      const request = await make();
      const waiting = readWaiting("the key to add", hosts, request);
      await writeKey(requestOf(waiting.publicKeySha256), vault, { hosts, ...request });
      return waiting;
    },
    async remove(id) {
      // The id comes from a client of the API, and becomes part of a path.
      if (!/^[0-9a-f]{16}$/.test(id)) return false;
      const files = [fileOf(id), fileOf(id, ".request")];
      for (const file of files) forget(file);
      return (await removeFile(files[0]!)) || (await removeFile(files[1]!));
    },
    async read() {
      const files = await readAll(/^[0-9a-f]{16}\.json$/, "certificatePem");
      return files.map(({ path, hosts, keyPem, pem }) => ({ path, hosts, keyPem, certificatePem: pem }));
    },
    async readRequests() {
      const files = await readAll(/^[0-9a-f]{16}\.request\.json$/, "requestPem");
      return files.map(({ path, hosts, keyPem, pem }) => readWaiting(path, hosts, { keyPem, requestPem: pem }));
    },
  };
}

async function writeKey(
  file: string,
  vault: Vault,
  content: Readonly<Record<string, unknown>> & { readonly keyPem: string },
): Promise<void> {
  await makeSecretFolder(dirname(file));
  await writeSecret(file, JSON.stringify({ ...content, keyPem: vault.seal(content.keyPem) }), false);
}

/** Remembers the files that it read: of thousands few change between two reads, and decrypting all again takes seconds. */
function createReader(directory: string, vault: Vault, notice: (text: string) => void) {
  const known = new Map<string, { readonly text: string; readonly file: KeyFile }>();

  async function readOne(path: string, pem: PemName): Promise<readonly (KeyFile & { readonly stale: boolean })[]> {
    const text = await readSecret(path, notice);
    // The file was removed after the folder was listed.
    if (text === undefined) return [];
    const before = known.get(path);
    if (before?.text === text) return [{ ...before.file, stale: false }];
    const parsed = parse(path, text, pem);
    const { keyPem, stale } = vault.open(path, parsed.keyPem);
    const file = { ...parsed, keyPem };
    if (stale) await writeKey(path, vault, { hosts: file.hosts, [pem]: file.pem, keyPem });
    else known.set(path, { text, file });
    return [{ ...file, stale }];
  }

  return {
    async readAll(pattern: RegExp, pem: PemName): Promise<readonly KeyFile[]> {
      const names = (await list(directory)).filter((name) => pattern.test(name)).sort();
      const files: (KeyFile & { readonly stale: boolean })[] = [];
      for (let first = 0; first < names.length; first += AT_ONCE) {
        const paths = names.slice(first, first + AT_ONCE).map((name) => join(directory, name));
        files.push(...(await Promise.all(paths.map((path) => readOne(path, pem)))).flat());
      }
      const stale = files.filter((file) => file.stale).length;
      if (stale > 0) notice(`Rewrote ${stale} private keys in ${directory}, as keyStore requires`);
      return files;
    },
    forget: (path: string) => known.delete(path),
  };
}

type PemName = "certificatePem" | "requestPem";

interface KeyFile {
  readonly path: string;
  readonly hosts: readonly string[];
  readonly keyPem: string;
  /** The certificate, or the request for it. */
  readonly pem: string;
}

function parse(path: string, text: string, name: PemName): KeyFile {
  try {
    const { hosts, keyPem, [name]: pem } = JSON.parse(text) as Record<string, unknown>;
    if (Array.isArray(hosts) && typeof pem === "string" && typeof keyPem === "string") {
      return { path, hosts: hosts.map(String), keyPem, pem };
    }
  } catch {
    // Not JSON.
  }
  throw new ConfigError(path, `Cannot read ${path}: it was not written by "clearline keys add"`);
}

/** The names in the folder; none when it does not exist. */
async function list(directory: string): Promise<string[]> {
  return await readdir(directory).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return [];
    throw new ConfigError(directory, `Cannot read ${directory}: ${codeOf(error)}`, { cause: error });
  });
}

async function removeFile(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw new ConfigError(path, `Cannot remove ${path}: ${codeOf(error)}`, { cause: error });
  }
}

/** Hosts in the configuration are checked by its schema; these come from the API. */
function checkHosts(hosts: readonly string[]): void {
  if (hosts.length === 0)
    throw new ConfigError("hosts", "Cannot use the key to add: it has no host name or address; give hosts");
  const bad = hosts.find((host) => !isIP(host) && !/^(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?$/i.test(host));
  if (bad === undefined) return;
  const why = `${JSON.stringify(bad)} is not a host name, "*." and a host name, or an address`;
  throw new ConfigError("hosts", `Cannot use the key to add: ${why}`);
}

function readWaiting(path: string, hosts: readonly string[], request: KeyRequest): WaitingKey {
  const { key, keyType } = readPrivateKey(path, request.keyPem);
  const publicKeySha256 = sha256(publicKeyOf(key));
  return { ...request, id: publicKeySha256.slice(0, ID_LENGTH), hosts, keyType, publicKeySha256 };
}
