import { readdir, unlink } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import { ConfigError } from "../errors.ts";
import { checkKeys, createKeystore, type KeySource, type KeystoreEntry } from "./keystore.ts";
import { codeOf, makeSecretFolder, readSecret, writeSecret } from "./secret-file.ts";

/**
 * Keeps an inbound key that was added at run time in `directory` (`<dataDir>/keys`), in one file that only its owner may
 * read. The same certificate again replaces what was there. Throws ConfigError when the key is not usable.
 */
export async function addKey(directory: string, key: Omit<KeySource, "path">): Promise<KeystoreEntry> {
  const { hosts, certificatePem, keyPem } = key;
  const [error] = checkKeys([{ ...key, path: "the key to add" }]);
  if (error) throw error;
  if (hosts.length === 0) throw new ConfigError("hosts", "Cannot use the key to add: it names no host");
  const bad = hosts.find((host) => !isIP(host) && !/^(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?$/i.test(host));
  if (bad !== undefined) {
    const why = `${JSON.stringify(bad)} is not a host name, "*." and a host name, or an address`;
    throw new ConfigError("hosts", `Cannot use the key to add: ${why}`);
  }
  const [entry] = createKeystore([{ ...key, path: "the key to add" }]).entries;
  await makeSecretFolder(directory);
  await writeSecret(join(directory, `${entry!.id}.json`), JSON.stringify({ hosts, certificatePem, keyPem }), false);
  return entry!;
}

/** Forgets a key that was added. false: there is none with this id. */
export async function removeKey(directory: string, id: string): Promise<boolean> {
  // The id comes from outside and becomes part of a path.
  if (!/^[0-9a-f]{16}$/.test(id)) return false;
  const path = join(directory, `${id}.json`);
  try {
    await unlink(path);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw new ConfigError(path, `Cannot remove ${path}: ${codeOf(error)}`, { cause: error });
  }
}

/**
 * Reads the keys that were added, in the order of their ids; `path` of each is its file. A folder that is not there
 * holds none. `notice` hears of permissions that were repaired. Throws ConfigError, naming the file.
 */
export async function readKeys(directory: string, notice: (text: string) => void): Promise<KeySource[]> {
  const names = await readdir(directory).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return [];
    throw new ConfigError(directory, `Cannot read ${directory}: ${codeOf(error)}`, { cause: error });
  });
  const keys: KeySource[] = [];
  for (const name of names.filter((file) => /^[0-9a-f]{16}\.json$/.test(file)).sort()) {
    const path = join(directory, name);
    const text = await readSecret(path, notice);
    // Removed between the listing and the reading.
    if (text !== undefined) keys.push(parseKey(path, text));
  }
  return keys;
}

function parseKey(path: string, text: string): KeySource {
  try {
    const { hosts, certificatePem, keyPem } = JSON.parse(text) as Record<string, unknown>;
    if (Array.isArray(hosts) && typeof certificatePem === "string" && typeof keyPem === "string") {
      return { hosts: hosts.map(String), certificatePem, keyPem, path };
    }
  } catch {
    // Not even JSON: the same complaint.
  }
  throw new ConfigError(path, `Cannot read ${path}: it is not a key that "clearline keys add" wrote`);
}
