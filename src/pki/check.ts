import { ConfigError } from "../errors.ts";
import { checkAuthorities, type GivenAuthorities } from "./issue/authority-reading.ts";
import type { InboundKey } from "./keys/inbound-key.ts";
import { checkKeys, type KeySource, readKey } from "./keys/key-source.ts";
import { checkSecrets, type StoreSecrets } from "./keys/vault.ts";
import { readTrust } from "./verify/trust.ts";

/** The certificates, keys and secrets of a configuration, as texts. */
export interface GivenPki {
  readonly keys: readonly KeySource[];
  readonly signing: GivenAuthorities;
  readonly keyStore: StoreSecrets;
  /** The API's own certificate. */
  readonly consoleTls?: PemSource;
  readonly trustFiles: readonly { readonly path: string; readonly pem: string }[];
  readonly providerTrust?: { readonly path: string; readonly pem: string };
}

/** Every error in the certificates, keys and secrets of a configuration. `now` in ms since the epoch. */
export function checkPki(
  { keys, signing, trustFiles, providerTrust, keyStore, consoleTls }: GivenPki,
  now: number,
  read: typeof readKey = readKey,
): ConfigError[] {
  return [
    ...checkKeys(keys, read),
    ...checkAuthorities(signing, now),
    ...checkSecrets(keyStore),
    ...(consoleTls ? errorOf(() => readConsoleKey(consoleTls)) : []),
    ...[...trustFiles, ...(providerTrust ? [providerTrust] : [])].flatMap((file) =>
      errorOf(() => readTrust({ system: false, extra: [file] })),
    ),
  ];
}

type PemSource = Omit<Extract<KeySource, { readonly certificatePem: string }>, "hosts">;

/** The API's own certificate and key. Throws ConfigError. */
export function readConsoleKey(source: PemSource): InboundKey {
  // Clients check its names: here they only must not be missing.
  return readKey({ ...source, hosts: ["console"] });
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
