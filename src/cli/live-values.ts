import type { BypassInfo, CacheInfo, KeyInfo, SessionList, Stats, TokenInfo } from "../control/api.ts";
import type { Client } from "./client.ts";
import type { LiveValues } from "./completion.ts";

/** What a running node knows and a user may want to type. */

const ASK: Readonly<Record<LiveValues, (client: Client) => Promise<readonly (string | null | undefined)[]>>> = {
  hosts: async (client) => (await sessions(client)).map(({ sni, connectHost }) => sni ?? connectHost),
  sessions: async (client) => (await sessions(client)).map(({ id }) => id),
  listeners: async (client) => (await client.ask<Stats>("GET", "/stats")).listeners.map(({ name }) => name),
  tokens: async (client) => (await client.ask<TokenInfo[]>("GET", "/tokens")).map(({ name }) => name),
  keys: async (client) => (await client.ask<KeyInfo[]>("GET", "/keys")).map(({ id }) => id),
  caches: async (client) => (await client.ask<CacheInfo[]>("GET", "/caches")).map(({ name }) => name),
  bypasses: async (client) => (await client.ask<BypassInfo[]>("GET", "/bypasses")).map(({ entry }) => entry),
};

/** Few enough to be answered while the user waits. */
async function sessions(client: Client): Promise<SessionList["sessions"]> {
  return (await client.ask<SessionList>("GET", "/sessions?limit=200")).sessions;
}

/** Names come from strangers, and a shell may read more into a word than its letters: only harmless ones are suggested. */
const HARMLESS = /^[\w*][\w.:@/+*-]{0,252}$/;

/** Each value once, in the node's order. */
export async function liveValues(client: Client, values: LiveValues): Promise<readonly string[]> {
  const found = await ASK[values](client);
  return [...new Set(found.filter((one): one is string => typeof one === "string" && HARMLESS.test(one)))];
}
