import type { Config } from "../config/schema.ts";
import { textWithLists } from "../policy/list-table.ts";
import type { ActiveConfig } from "./active-config.ts";

/** The parts of the configuration that are compared. */
type Compared = Pick<ActiveConfig, "loaded" | "keystore"> & { readonly trust: Pick<ActiveConfig["trust"], "roots"> };

/** What a reload changes, one sentence each, and what it cannot change. */
export function changesBetween(before: Compared, after: Compared): string[] {
  const differs = (read: (active: Compared) => unknown) => textWithLists(read(before)) !== textWithLists(read(after));
  return [
    ...(differs(({ loaded }) => [loaded.policy, loaded.config.policy]) ? ["The policy changed, for new sessions"] : []),
    ...inboundKeysChange(before, after),
    ...(differs(({ trust }) => trust.roots) ? ["The trusted roots changed"] : []),
    ...AT_ONCE.filter(([, read]) => differs(read)).map(([name]) => `The ${name} changed`),
    ...AT_RESTART.filter(([, read]) => differs(read)).map(
      ([name, , what = "that takes"]) => `${name} changed: ${what} effect when the node is started again`,
    ),
  ];
}

/** A key that was not read again is the same object. */
function inboundKeysChange({ keystore: { keys: had } }: Compared, { keystore: { keys } }: Compared): string[] {
  const isSame = had.length === keys.length && had.every((key, index) => key === keys[index]);
  return isSame ? [] : [`The inbound keys changed: ${keys.length} now`];
}

type Part = readonly [name: string, read: (active: Compared) => unknown, what?: string];

const section =
  (name: keyof Config) =>
  ({ loaded }: Compared) =>
    loaded.config[name];

/** The workers get these with their new setup; the supervisor reads them where it uses them. */
const AT_ONCE: readonly Part[] = [
  ...(["listeners", "tools", "feeds", "timeouts", "limits"] as const).map((name) => [name, section(name)] as const),
  ["thresholds of overload", section("overload")],
  ["resumption", ({ loaded }) => splitResumption(loaded.config.resumption).atOnce],
  ["API's certificate", ({ loaded }) => loaded.consoleTls],
  ["warning before an inbound key's certificate ends", ({ loaded }) => loaded.config.keyStore.warnBefore],
];

/** The node opens these once, when it starts. */
const AT_RESTART: readonly Part[] = [
  [
    "resumption",
    ({ loaded }) => [splitResumption(loaded.config.resumption).atStart, loaded.sharedSecret],
    "what is kept and shared takes",
  ],
  ...(["dataDir", "workers", "workerUser", "history", "audit", "log", "webhooks"] as const).map(
    (name) => [name, section(name)] as const,
  ),
  ["console", ({ loaded }) => [loaded.config.console, loaded.providerSecret, loaded.providerTrust]],
  ["signing", ({ loaded }) => [loaded.config.signing, loaded.signing]],
  [
    "keyStore",
    ({ loaded: { config, keyStore } }) => {
      const { warnBefore: _, ...secrets } = config.keyStore;
      return [secrets, keyStore];
    },
  ],
];

function splitResumption({ identifiers, tickets, servers, shareServers, timeout, ...kept }: Config["resumption"]) {
  return { atOnce: [identifiers, tickets, servers, shareServers, timeout], atStart: kept };
}
