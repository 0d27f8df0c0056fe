import { readdir, unlink } from "node:fs/promises";
import { isIP } from "node:net";
import { dirname, join } from "node:path";
import { ConfigError } from "../../errors.ts";
import { publicKeyOf } from "../x509/certificate.ts";
import type { KeyRequest } from "./key-request.ts";
import { digest, type InboundKey, type KeySource, readKey } from "./key-source.ts";
import { type HeldKeyType, readPrivateKey } from "./private-key.ts";
import { codeOf, makeSecretFolder, readSecret, writeSecret } from "./secret-file.ts";
import type { Vault } from "./vault.ts";

/**
 * The inbound keys that were added at run time, in `<dataDir>/keys`: one file each, `<id>.json`, that only its owner may
 * read, the private key as the vault seals it. A key whose certificate is still to come is `<id>.request.json`.
 */
export interface KeyFolder {
  /** Keeps a key. The same certificate again replaces what was there. Throws ConfigError when the key is not usable. */
  add(key: NewKeySource): Promise<InboundKey>;
  /** Keeps a key that waits for its certificate; it is made only when the hosts are such. */
  addRequest(hosts: readonly string[], make: () => Promise<KeyRequest>): Promise<WaitingKey>;
  /** Forgets a key, or one that waits. false: there is none with this id. */
  remove(id: string): Promise<boolean>;
  /** The keys, in the order of their ids; `path` of each is its file. Throws ConfigError, naming the file. */
  read(): Promise<Extract<KeySource, { keyPem: string }>[]>;
  readRequests(): Promise<WaitingKey[]>;
}

export type NewKeySource =
  | Omit<Extract<KeySource, { keyPem: string }>, "path">
  | Omit<Extract<KeySource, { pkcs12: string }>, "path">;

/** A key without a certificate. */
export interface WaitingKey extends KeyRequest {
  readonly id: string;
  readonly hosts: readonly string[];
  readonly keyType: HeldKeyType;
  /** Lower-case hex, of its SubjectPublicKeyInfo. */
  readonly publicKeySha256: string;
}

/** Files that are read at one time. */
const AT_ONCE = 32;
/** The digits of a SHA-256 that name a key: the certificate's, or the public key's when there is none yet. */
const ID_LENGTH = 16;

/** `notice` hears of what was repaired: permissions, and keys that were not under the vault's secret. */
export function openKeyFolder(directory: string, vault: Vault, notice: (text: string) => void): KeyFolder {
  const fileOf = (id: string, suffix = "") => join(directory, `${id}${suffix}.json`);
  const requestOf = (publicKeySha256: string) => fileOf(publicKeySha256.slice(0, ID_LENGTH), ".request");
  const { readAll, forget } = createReader(directory, vault, notice);

  return {
    async add(key) {
      const entry = readKey({ ...key, path: "the key to add" });
      const { id, hosts, certificatePem, keyPem, publicKeySha256 } = entry;
      checkHosts(hosts);
      await writeKey(fileOf(id), vault, { hosts, certificatePem, keyPem });
      await removeFile(requestOf(publicKeySha256));
      return entry;
    },
    async addRequest(hosts, make) {
      checkHosts(hosts);
      const request = await make();
      const waiting = readWaiting("the key to add", hosts, request);
      await writeKey(requestOf(waiting.publicKeySha256), vault, { hosts, ...request });
      return waiting;
    },
    async remove(id) {
      // The id comes from outside and becomes part of a path.
      if (!/^[0-9a-f]{16}$/.test(id)) return false;
      const files = [fileOf(id), fileOf(id, ".request")];
      for (const file of files) forget(file);
      return (await removeFile(files[0]!)) || (await removeFile(files[1]!));
    },
    async read() {
      const kept = await readAll(/^[0-9a-f]{16}\.json$/, "certificatePem");
      return kept.map(({ path, hosts, keyPem, pem }) => ({ path, hosts, keyPem, certificatePem: pem }));
    },
    async readRequests() {
      const kept = await readAll(/^[0-9a-f]{16}\.request\.json$/, "requestPem");
      return kept.map(({ path, hosts, keyPem, pem }) => readWaiting(path, hosts, { keyPem, requestPem: pem }));
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

/** Remembers what it read last: of thousands of files few change between two readings, and to decrypt all again takes seconds. */
function createReader(directory: string, vault: Vault, notice: (text: string) => void) {
  const known = new Map<string, { readonly text: string; readonly kept: Kept }>();

  async function readOne(path: string, pem: PemName): Promise<readonly (Kept & { readonly stale: boolean })[]> {
    const text = await readSecret(path, notice);
    // Removed between the listing and the reading.
    if (text === undefined) return [];
    const before = known.get(path);
    if (before?.text === text) return [{ ...before.kept, stale: false }];
    const parsed = parse(path, text, pem);
    const { keyPem, stale } = vault.open(path, parsed.keyPem);
    const kept = { ...parsed, keyPem };
    if (stale) await writeKey(path, vault, { hosts: kept.hosts, [pem]: kept.pem, keyPem });
    else known.set(path, { text, kept });
    return [{ ...kept, stale }];
  }

  return {
    async readAll(pattern: RegExp, pem: PemName): Promise<readonly Kept[]> {
      const names = (await list(directory)).filter((file) => pattern.test(file)).sort();
      const kept: (Kept & { readonly stale: boolean })[] = [];
      for (let first = 0; first < names.length; first += AT_ONCE) {
        const paths = names.slice(first, first + AT_ONCE).map((name) => join(directory, name));
        kept.push(...(await Promise.all(paths.map((path) => readOne(path, pem)))).flat());
      }
      const stale = kept.filter((one) => one.stale).length;
      if (stale > 0) notice(`${stale} private keys in ${directory} were written anew, as keyStore says`);
      return kept;
    },
    forget: (path: string) => known.delete(path),
  };
}

type PemName = "certificatePem" | "requestPem";

interface Kept {
  readonly path: string;
  readonly hosts: readonly string[];
  readonly keyPem: string;
  /** The certificate's or the request's. */
  readonly pem: string;
}

function parse(path: string, text: string, name: PemName): Kept {
  try {
    const { hosts, keyPem, [name]: pem } = JSON.parse(text) as Record<string, unknown>;
    if (Array.isArray(hosts) && typeof pem === "string" && typeof keyPem === "string") {
      return { path, hosts: hosts.map(String), keyPem, pem };
    }
  } catch {
    // Not even JSON: the same complaint.
  }
  throw new ConfigError(path, `Cannot read ${path}: it is not a key that "clearline keys add" wrote`);
}

/** A folder that is not there holds nothing. */
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

/** The configuration's hosts have been checked by its schema; these come from the API. */
function checkHosts(hosts: readonly string[]): void {
  if (hosts.length === 0) throw new ConfigError("hosts", "Cannot use the key to add: it names no host");
  const bad = hosts.find((host) => !isIP(host) && !/^(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?$/i.test(host));
  if (bad === undefined) return;
  const why = `${JSON.stringify(bad)} is not a host name, "*." and a host name, or an address`;
  throw new ConfigError("hosts", `Cannot use the key to add: ${why}`);
}

function readWaiting(path: string, hosts: readonly string[], request: KeyRequest): WaitingKey {
  const { key, keyType } = readPrivateKey(path, request.keyPem);
  const publicKeySha256 = digest(publicKeyOf(key));
  return { ...request, id: publicKeySha256.slice(0, ID_LENGTH), hosts, keyType, publicKeySha256 };
}
