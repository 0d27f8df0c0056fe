import { ConfigError } from "../errors.ts";
import { checkAuthorities, type GivenAuthorities } from "./issue/authority.ts";
import { checkKeys, type KeySource, readKey } from "./keys/key-source.ts";
import { checkSecrets, type StoreSecrets } from "./keys/vault.ts";
import { readTrust } from "./verify/trust.ts";

/** The certificates, keys and secrets of a configuration, as texts. */
export interface GivenPki {
  readonly keys: readonly KeySource[];
  readonly signing: GivenAuthorities;
  readonly keyStore: StoreSecrets;
  readonly trustFiles: readonly { readonly path: string; readonly pem: string }[];
}

/** Every error in the certificates, keys and secrets of a configuration. `now` in ms since the epoch. */
export function checkPki(
  { keys, signing, trustFiles, keyStore }: GivenPki,
  now: number,
  read: typeof readKey = readKey,
): ConfigError[] {
  return [
    ...checkKeys(keys, read),
    ...checkAuthorities(signing, now),
    ...checkSecrets(keyStore),
    ...trustFiles.flatMap((file) => errorOf(() => readTrust({ system: false, extra: [file] }))),
  ];
}

function errorOf(read: () => unknown): ConfigError[] {
  try {
    read();
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return [error];
    throw error;
  }
}
