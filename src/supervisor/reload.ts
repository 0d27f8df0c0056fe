import { type Loaded, loadConfig, withPlaces } from "../config/load.ts";
import type { Reloaded } from "../control/api.ts";
import type { LiveConnection } from "../kernel/listener/lane.ts";
import { changeListeners, planListeners } from "../kernel/listeners.ts";
import { checkToolsStay } from "../kernel/tools.ts";
import { log } from "../log.ts";
import { checkPki, type GivenPki } from "../pki/check.ts";
import { type ActiveConfig, logWarnings, prepareConfig, warningsOf } from "./active-config.ts";
import { warnOfCapacity } from "./capacity.ts";
import { changesBetween } from "./changes.ts";
import { prepareFeeds } from "./feed-folders.ts";
import { checkListenersFree } from "./free-ports.ts";
import { viewSetup } from "./http-view.ts";
import { shrunkLists } from "./lists.ts";
import type { NodeState } from "./state.ts";
import { printsLines } from "./terminal-lines.ts";
import { watchConfiguredTools } from "./tool-watch.ts";
import { workerSetup } from "./worker-setup.ts";
import { checkWorkerRights } from "./worker-user.ts";

/**
 * Loads the configuration file again. Live sessions keep the configuration that they began with. Throws all ConfigErrors
 * that it finds, and then nothing has changed.
 */
export function reload(state: NodeState): Promise<Reloaded> {
  return inTurn(state, async () => {
    const read = (given: GivenPki) => checkPki(given, Date.now(), state.keyReader.read);
    const { file, flags } = state.active.loaded;
    const begun = performance.now();
    try {
      const reloaded = await apply(state, await loadConfig(file, read, flags));
      logWarnings(reloaded.warnings);
      warnOfCapacity(state, log.warn.bind(log));
      noteReload(state, begun, undefined);
      return reloaded;
    } catch (error) {
      const placed = await withPlaces(file, error, flags);
      const errors = messagesOf(placed);
      noteReload(state, begun, errors[0] ?? "Cannot reload");
      state.webhooks.tell("reload.failed", errors[0] ?? "Cannot reload", { errors });
      throw placed;
    }
  });
}

/** Applies the keys that were added or removed, without reading the file again. Calls made before it begins share one reload. */
export function createKeysReload(state: NodeState): () => Promise<Reloaded> {
  let waiting: Promise<Reloaded> | undefined;
  return () => {
    waiting ??= inTurn(state, () => {
      waiting = undefined;
      return apply(state, state.active.loaded);
    });
    return waiting;
  };
}

/** Reloads run one after the other: each begins with the configuration that the one before it left. */
function inTurn(state: NodeState, act: () => Promise<Reloaded>): Promise<Reloaded> {
  const reloaded = state.reloading.then(act);
  state.reloading = reloaded.catch(() => {});
  return reloaded;
}

/** For the metrics and GET /stats. `error` undefined: it succeeded. */
function noteReload(state: NodeState, begun: number, error: string | undefined): void {
  const succeeded = error === undefined;
  const { succeeded: well, failed } = state.reloads;
  const counts = { succeeded: well + Number(succeeded), failed: failed + Number(!succeeded) };
  state.reloads = { ...counts, last: { succeeded, error, at: Date.now(), took: performance.now() - begun } };
}

/** One line for each error. */
export function messagesOf(error: unknown): string[] {
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
  return errors.map((one) => (one instanceof Error ? one.message : String(one)));
}

async function apply(state: NodeState, loaded: Loaded): Promise<Reloaded> {
  const before = state.active;
  await checkListenersFree(state.loop, loaded, before.loaded);
  const next = await prepareConfig(loaded, state);
  const changes = [...changesBetween(before, next)];
  checkToolsStay(before.loaded.config.tools, loaded.config.tools);
  checkWorkerRights(loaded.config, state.workerUser);
  if (state.workerUser) prepareFeeds(loaded.config, state.workerUser);
  const planned = state.inline;
  const inline = planListeners(loaded, state.workers.count, liveInline(state));
  await state.listFiles.keep(loaded.policy);
  // Rules that were not loaded again may have been changed by others.
  const areNew = planned?.nft !== inline?.nft;
  await changeListeners(planned, inline);
  state.active = next;
  state.inline = inline;
  try {
    // Before the workers, which connect to it.
    await applyView(state, next);
    const ended = await state.workers.setup(workerSetup(state));
    for (const worker of ended)
      changes.push(`Worker ${worker} hung or died: its sessions were reset, and it is started again`);
  } catch (error) {
    state.active = before;
    state.inline = planned;
    await applyView(state, before);
    await changeListeners(inline, planned);
    if (areNew) await state.standing.remember();
    throw error;
  }
  if (areNew) await state.standing.remember();
  await state.listFiles.keepOnly(loaded.policy);
  if (JSON.stringify(before.loaded.config.tools) !== JSON.stringify(loaded.config.tools)) {
    state.watch.close();
    state.watch = watchConfiguredTools(state);
  }
  log.info({ changes }, "Reloaded the configuration");
  return { changes, warnings: [...warningsOf(next), ...shrunkLists(before.loaded.lists, loaded.lists)] };
}

function applyView({ httpView, workerUser }: NodeState, { loaded }: ActiveConfig): Promise<void> {
  return httpView.apply(viewSetup(loaded.config, workerUser, printsLines()));
}

/** Both legs of every inline session, as the network sees them. */
function liveInline({ sessions }: NodeState): LiveConnection[] {
  return [...sessions.live()].flatMap(({ mode, listener, vlan, client, seenAs, server }) =>
    mode === "inline" && server
      ? [client, seenAs ?? client].map((end) => ({ client: end, server, listener, vlan }))
      : [],
  );
}
