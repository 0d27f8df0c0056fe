import { reachOf } from "../config/own-places.ts";
import type { Config } from "../config/schema.ts";
import type { WorkerSetup } from "../messages.ts";
import { offeredCertificates } from "./authority-news.ts";
import { capacityNow } from "./capacity.ts";
import type { NodeState } from "./state.ts";

/** Makes each worker's setup from the active configuration. */
export function workerSetup(state: NodeState): (worker: number) => WorkerSetup {
  const { loaded, keystore, trust } = state.active;
  const { lists: _, ...policy } = loaded.policy;
  return (worker) => ({
    worker,
    // The running number, which a reload cannot change.
    workers: state.workers.count,
    capacity: capacityNow(state),
    config: withoutStore(loaded.config),
    policy,
    lists: state.listFiles.filesOf(loaded.policy),
    bypasses: state.bypasses.active(),
    reach: reachOf(loaded.config),
    offered: offeredCertificates(state.authorities),
    pageTemplate: loaded.pageTemplate,
    keys: keystore.keys,
    roots: trust.roots,
    demanding: state.demanding.entries(),
    binding: state.binding.entries(),
    pinning: state.pinning.entries(),
    resumption: {
      secret: state.sharing.secret,
      generation: state.active.generation,
      ticketKeys: state.sharing.ticketKeys,
    },
    user: state.workerUser,
    inline: state.inline && { listeners: state.inline.listeners, marks: state.inline.marks },
    failedTools: loaded.config.tools.flatMap(({ name }) => {
      const health = state.watch.state(name);
      return health?.up === false ? [[name, health.reason ?? ""] as const] : [];
    }),
  });
}

/** The store's address may hold a password. Workers do not connect to the store. */
function withoutStore({ resumption: { shared: _, ...resumption }, ...config }: Config): Config {
  return { ...config, resumption };
}
