import { type Loaded, loadConfig } from "../config/load.ts";
import type { Reloaded } from "../control/api.ts";
import { changeListeners, planListeners } from "../kernel/listeners.ts";
import { checkToolsStay } from "../kernel/tools.ts";
import { log } from "../log.ts";
import { checkPki, type GivenPki } from "../pki/check.ts";
import type { Endpoint } from "../vocabulary.ts";
import { checkListenersFree, prepare, setupOf, warnOf, watch } from "./active-config.ts";
import { changesBetween } from "./changes.ts";
import type { NodeState } from "./state.ts";

/** Takes the configuration file anew. Live sessions go on as they began. Throws ConfigErrors, all of them, and then everything is as it was before. */
export function reload(state: NodeState): Promise<Reloaded> {
  return inTurn(state, async () => {
    const read = (given: GivenPki) => checkPki(given, Date.now(), state.keyReader.read);
    const reloaded = await apply(state, await loadConfig(state.active.loaded.file, read));
    warnOf(state.active);
    return reloaded;
  });
}

/** Takes the keys that were added or removed, with the configuration that is in use. Who asks before it begins shares one. */
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

/** One after the other: each begins with what the one before it left. */
function inTurn(state: NodeState, act: () => Promise<Reloaded>): Promise<Reloaded> {
  const reloaded = state.reloading.then(act);
  state.reloading = reloaded.catch(() => {});
  return reloaded;
}

async function apply(state: NodeState, loaded: Loaded): Promise<Reloaded> {
  const before = state.active;
  await checkListenersFree(loaded, before.loaded);
  const next = await prepare(loaded, state);
  const changes = changesBetween(before, next);
  checkToolsStay(before.loaded.config.tools, loaded.config.tools);
  const planned = state.inline;
  const inline = planListeners(loaded, state.workers.count, liveInline(state));
  await changeListeners(planned, inline);
  state.active = next;
  state.inline = inline;
  try {
    await state.workers.setup(setupOf(state));
  } catch (error) {
    state.active = before;
    state.inline = planned;
    await changeListeners(inline, planned);
    throw error;
  }
  if (JSON.stringify(before.loaded.config.tools) !== JSON.stringify(loaded.config.tools)) {
    state.watch.close();
    state.watch = watch(state);
  }
  log.info({ changes }, "Reloaded the configuration");
  return { changes };
}

/** Both legs of every inline session, as the network sees them. */
function liveInline({ sessions }: NodeState): { readonly client: Endpoint; readonly server: Endpoint }[] {
  return [...sessions.live()].flatMap(({ mode, client, seenAs, server }) =>
    mode === "inline" && server ? [client, seenAs ?? client].map((end) => ({ client: end, server })) : [],
  );
}
