import { createHash } from "node:crypto";
import { checkFree } from "../capture/listener.ts";
import type { Loaded } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { log } from "../log.ts";
import type { WorkerSetup } from "../messages.ts";
import type { WaitingKey } from "../pki/keys/key-folder.ts";
import { byPrecedence, createKeystore, type Keystore, keyWarnings } from "../pki/keys/keystore.ts";
import { readTrust, type Trust } from "../pki/verify/trust.ts";
import { compilePolicy, type Policy } from "../policy/evaluate.ts";
import { type Watch, watchTools } from "../tools/heartbeat.ts";
import { mendTool, probeTool } from "../tools/kinds.ts";
import type { NodeState } from "./state.ts";

/** What the node runs on at the moment. Replaced as a whole by a reload. */
export interface ActiveConfig {
  readonly loaded: Loaded;
  readonly trust: Trust;
  /** The configuration's inbound keys and those added at run time. */
  readonly keystore: Keystore;
  /** Keys that were made here and whose certificates are still to come. */
  readonly waiting: readonly WaitingKey[];
  readonly policy: Policy;
  /** Of the policy and the trusted roots. Two nodes with the same ones have the same. */
  readonly generation: string;
}

/** Reads what else the configuration leads to. Throws ConfigErrors; nothing is changed by it. */
export async function prepare(
  loaded: Loaded,
  { keyFolder, keyReader }: Pick<NodeState, "keyFolder" | "keyReader">,
): Promise<ActiveConfig> {
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
      .update(JSON.stringify([loaded.policy, trust.roots]))
      .digest("base64url"),
    policy: compilePolicy(loaded.policy),
  };
}

/** Tells what works and should still be changed. */
export function warnOf({ loaded, keystore }: ActiveConfig): void {
  const ofKeys = keyWarnings(keystore.keys, Date.now(), loaded.config.keyStore.warnBefore);
  for (const warning of [...loaded.warnings, ...ofKeys]) log.warn(warning);
}

/** What each worker is told of it. */
export function setupOf(state: NodeState): (worker: number) => WorkerSetup {
  const { loaded, keystore, trust } = state.active;
  return (worker) => ({
    worker,
    // Not what the file says: a reload cannot change how many there are.
    workers: state.workers.count,
    config: withoutStore(loaded.config),
    policy: loaded.policy,
    keys: keystore.keys,
    roots: trust.roots,
    demanding: state.demanding.entries(),
    resumption: {
      secret: state.sharing.secret,
      generation: state.active.generation,
      ticketKeys: state.sharing.ticketKeys,
    },
    inline: state.inline && { listeners: state.inline.listeners, marks: state.inline.marks },
    failedTools: loaded.config.tools.flatMap(({ name }) => {
      const health = state.watch.state(name);
      return health?.up === false ? [[name, health.reason ?? ""] as const] : [];
    }),
  });
}

/** The store's address may hold its password, and a worker has no business there. */
function withoutStore({ resumption: { shared: _, ...resumption }, ...config }: Config): Config {
  return { ...config, resumption };
}

/** Sends heartbeats through the tools, and tells everybody when one has failed and when it is used again. */
export function watch(state: NodeState): Watch {
  const { tools } = state.active.loaded.config;
  for (const { name } of tools) state.workers.tell({ kind: "tool", name, up: true, reason: "" });
  const watched = tools.map((tool, index) => ({
    ...tool,
    probe: (timeout: number) => probeTool(tool, timeout, state.returns),
    async mend() {
      const mended = await mendTool(tool, `tools[${index}]`);
      if (mended.length > 0)
        log.warn({ tool: tool.name, interfaces: mended }, "A tool's interfaces were given their routes back");
      return mended.length > 0;
    },
  }));
  return watchTools(watched, (name, { up, reason = "" }) => {
    state.workers.tell({ kind: "tool", name, up, reason: `The tool ${name} has failed: ${reason}` });
    const { onFailure } = tools.find((tool) => tool.name === name)!;
    if (up) log.warn({ tool: name }, "A tool works again; new sessions go through it");
    else log.error({ tool: name, reason, onFailure }, "A tool has failed; the sessions that passed it were ended");
  });
}

/** Every new listener's port can be had. The node's own listeners are in the way of an exclusive bind. */
export async function checkListenersFree({ config }: Loaded, before: Loaded | undefined): Promise<void> {
  const own = before ? placesOf(before.config).map(({ port }) => port) : [];
  for (const place of placesOf(config)) if (!own.includes(place.port)) await checkFree(place);
}

/** Where the workers listen, all of them together. */
function placesOf({ listeners, tools }: Loaded["config"]): { host: string; port: number; path: string }[] {
  return [
    ...listeners.flatMap((listener, index) =>
      listener.mode === "inline" ? [] : [{ ...listener.address, path: `listeners[${index}].address` }],
    ),
    ...tools.flatMap((tool, index) =>
      tool.kind === "inline" || tool.header === "sslproxy"
        ? []
        : [{ ...tool.returnAddress, path: `tools[${index}].returnAddress` }],
    ),
  ];
}
