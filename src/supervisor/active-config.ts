import { createHash } from "node:crypto";
import type { Loaded } from "../config/load.ts";
import { log } from "../log.ts";
import { keyWarnings } from "../pki/keys/inbound-key.ts";
import type { KeyFolder, WaitingKey } from "../pki/keys/key-folder.ts";
import type { KeyReader } from "../pki/keys/key-source.ts";
import { byPrecedence, createKeystore, type Keystore } from "../pki/keys/keystore.ts";
import { readTrust, type Trust } from "../pki/verify/trust.ts";
import type { Bypasses } from "../policy/bypass.ts";
import { compilePolicy, type Policy } from "../policy/evaluate.ts";
import { textWithLists } from "../policy/list-table.ts";

/** The configuration that the node uses now, with everything that it leads to. A reload replaces it as a whole. */
export interface ActiveConfig {
  readonly loaded: Loaded;
  readonly trust: Trust;
  /** The inbound keys: those of the configuration, and those added at run time. */
  readonly keystore: Keystore;
  /** Keys that the node made, and whose certificates have not been added yet. */
  readonly waiting: readonly WaitingKey[];
  readonly policy: Policy;
  /** A hash of the policy and the trusted roots. Nodes with the same policy and roots have the same hash. */
  readonly generation: string;
}

/** What a configuration finds in the node. */
interface Around {
  readonly keyFolder: KeyFolder;
  readonly keyReader: KeyReader;
  readonly bypasses: { readonly table: Bypasses };
}

/** Reads the keys and the trusted roots, and compiles the policy. Changes nothing. Throws ConfigErrors. */
export async function prepareConfig(loaded: Loaded, { keyFolder, keyReader, bypasses }: Around): Promise<ActiveConfig> {
  const { config, trustFiles } = loaded;
  const added = (await keyFolder.read()).map(keyReader.read);
  const keystore = createKeystore(byPrecedence(loaded.keys.map(keyReader.read), added));
  keyReader.forget();
  const trust = readTrust({ system: config.trust.system, extra: trustFiles });
  return {
    loaded,
    keystore,
    waiting: await keyFolder.readRequests(),
    trust,
    generation: createHash("sha256")
      .update(textWithLists([loaded.policy, trust.roots]))
      .digest("base64url"),
    policy: compilePolicy(loaded.policy, bypasses.table),
  };
}

/** What works and should still be changed: a sentence each. */
export function warningsOf({ loaded, keystore }: ActiveConfig): string[] {
  const ofKeys = keyWarnings(keystore.keys, Date.now(), loaded.config.keyStore.warnBefore);
  return [...loaded.warnings, ...ofKeys];
}

export function logWarnings(warnings: readonly string[]): void {
  for (const warning of warnings) log.warn(warning);
}
