import { ConfigError } from "../errors.ts";
import { checkAuthorities, type GivenAuthority, type Role } from "./issue/authority.ts";
import { type KeySource, readKey } from "./keys/key-source.ts";
import { checkKeys } from "./keys/keystore.ts";
import { checkSecrets, type StoreSecrets } from "./keys/vault.ts";
import { readTrust } from "./verify/trust.ts";

/** What a configuration gives the PKI, as texts. */
export interface GivenPki {
  readonly keys: readonly KeySource[];
  readonly signing: Partial<Record<Role, GivenAuthority>>;
  readonly keyStore: StoreSecrets;
  readonly trustFiles: readonly { readonly path: string; readonly pem: string }[];
}

/** Everything that is wrong with the certificates and keys of a configuration. `now` in ms since the epoch. */
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
