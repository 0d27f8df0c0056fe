import { access, constants } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { feedPlace } from "../config/feed.ts";
import { textOf } from "../config/formats.ts";
import { listenerPlace } from "../config/listener.ts";
import { type Loaded, loadConfig, withPlaces } from "../config/load.ts";
import { removeNodeFile, writeNodeFile } from "../config/node-file.ts";
import { toolPlace } from "../config/tool.ts";
import { openHistory } from "../control/history.ts";
import { type Control, startControl } from "../control/server.ts";
import { searchSessions } from "../control/session-search.ts";
import { ConfigError } from "../errors.ts";
import type { Plan } from "../kernel/listener/lane.ts";
import { planListeners, setUpListeners, takeDownListeners } from "../kernel/listeners.ts";
import { planTools, setUpTools, takeDownTools } from "../kernel/tools.ts";
import { makeFolder } from "../linux/folder.ts";
import { checkFree } from "../linux/listen.ts";
import { log } from "../log.ts";
import { checkPki } from "../pki/check.ts";
import { type Authorities, openAuthorities } from "../pki/issue/authority.ts";
import { createMint } from "../pki/issue/mint.ts";
import { openKeyFolder } from "../pki/keys/key-folder.ts";
import { createKeyReader } from "../pki/keys/key-source.ts";
import { createVault } from "../pki/keys/vault.ts";
import { createKnownServers } from "../policy/known-servers.ts";
import { createLiveTable } from "../sessions/table.ts";
import { watchTools } from "../tools/heartbeat.ts";
import { createReturnsDirectory } from "../tools/returns.ts";
import { logWarnings, prepareConfig } from "./active-config.ts";
import { forget } from "./caches.ts";
import { createCounts } from "./counts.ts";
import { checkListenersFree } from "./free-ports.ts";
import { createOperations } from "./operations.ts";
import { createKeysReload, reload } from "./reload.ts";
import { openSharing } from "./sharing.ts";
import type { NodeState } from "./state.ts";
import { watchConfiguredTools } from "./tool-watch.ts";
import { hearWorker, learnDemanding, publish } from "./worker-messages.ts";
import { workerSetup } from "./worker-setup.ts";
import { Workers } from "./workers.ts";

/**
 * Starts a node and runs it until SIGINT or SIGTERM.
 * @throws AggregateError of ConfigErrors when the configuration cannot be used, each with its place in the file.
 */
export async function runNode({ file }: { readonly file: string | undefined }): Promise<void> {
  const undo: Undo = [];
  const stay = { inline: false };
  try {
    const { state, control } = await startNode(file, undo, stay);
    announce(state, control);
    const signal = await new Promise<string>((resolve) => {
      for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => resolve(name));
    });
    const { drain } = state.active.loaded.config.timeouts;
    log.info({ signal, sessions: state.sessions.size }, `Stopping; live sessions have ${drain / 1000} s`);
    await state.workers.stop(drain);
    stay.inline = staysInline(state.active.loaded);
  } catch (error) {
    throw await withPlaces(file, error);
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

/** Sessions that another node is told of at one time. */
const MOST_ANSWERED = 1_000;
/** ms between two records of the live sessions. */
const REMEMBER = 60_000;
/** ms between two warnings of the same certificate. */
const REMIND = 24 * 3600 * 1000;

/** What has to be undone when the node stops or its start fails, in reverse. */
type Undo = (() => unknown)[];

/** Nothing listens before everything that can be wrong has been looked at. */
async function startNode(
  file: string | undefined,
  undo: Undo,
  stay: { inline: boolean },
): Promise<{ state: NodeState; control: Control }> {
  const now = Date.now();
  const keyReader = createKeyReader();
  const loaded = await loadConfig(file, (given) => checkPki(given, now, keyReader.read));
  const { config } = loaded;
  log.level = config.log.level;
  process.env["CLEARLINE_LOG_LEVEL"] = config.log.level;
  await checkListenersFree(loaded, undefined);
  await checkFree({ ...config.console.address, path: "console.address" });
  await makeFolders(config.dataDir);
  const vault = createVault(loaded.keyStore);
  const keyFolder = openKeyFolder(join(config.dataDir, "keys"), vault, (notice) => log.warn(notice));
  const active = await prepareConfig(loaded, { keyFolder, keyReader });
  logWarnings(active);
  const count = config.workers === "auto" ? availableParallelism() : config.workers;
  const inline = setUpKernel(loaded, count, undo, stay);

  const authorities = await openAuthorities(join(config.dataDir, "ca"), loaded.signing, now, vault);
  for (const notice of authorities.notices) log.warn(notice);
  const state = createState({ active, keyFolder, keyReader, authorities, inline, startedAt: now }, count, undo);
  await startWorkers(state, undo);
  const control = await openControl(state, undo);
  return { state, control };
}

async function makeFolders(dataDir: string): Promise<void> {
  await makeDataDir(dataDir);
  // A worker that takes another's place is there in a fraction of the time when nothing has to be compiled.
  const compiled = join(dataDir, "compiled");
  await makeDataDir(compiled);
  process.env["NODE_COMPILE_CACHE"] ??= compiled;
}

/** Tools first, then what the inline listeners need. Answers with the plan of the latter. */
function setUpKernel(loaded: Loaded, count: number, undo: Undo, stay: { inline: boolean }): Plan | undefined {
  const { dataDir, tools } = loaded.config;
  const inline = planListeners(loaded, count);
  undo.push(() => warn(takeDownTools(dataDir)));
  // What an earlier run gave to a tool must have come back, to be given again.
  warn(takeDownTools(dataDir));
  setUpTools(planTools(tools, count), dataDir);
  undo.push(() => {
    if (!stay.inline) warn(takeDownListeners(dataDir));
  });
  warn(inline ? setUpListeners(inline, dataDir) : takeDownListeners(dataDir));
  // A start that fails from here on must not cut a wire either.
  stay.inline = staysInline(loaded);
  return inline;
}

type Prepared = Pick<NodeState, "active" | "keyFolder" | "keyReader" | "authorities" | "inline" | "startedAt">;

/** Everything that the supervisor keeps. No worker runs yet. */
function createState(prepared: Prepared, count: number, undo: Undo): NodeState {
  const { authorities, startedAt } = prepared;
  const { loaded } = prepared.active;
  const { config } = loaded;
  const sessions = createLiveTable();
  const demanding = createKnownServers(10_000);
  const sharing = openSharing({
    resumption: config.resumption,
    fleetSecret: () => fleetSecret(loaded, authorities),
    onTicketKeys: (ticketKeys) => state.workers.tell({ kind: "ticket keys", ticketKeys }),
    onLearned: (server, until) => learnDemanding(state, server, until),
    learned: () => demanding.entries(),
    onForgotten: (name) => state.workers.tell({ kind: "forget session", name }),
    onFlush: (cache) => forget(state, cache),
    answer: ({ query, live, limit }) => searchSessions(state, query, live, Math.min(limit, MOST_ANSWERED)),
  });
  undo.push(() => sharing.close());
  const history = openHistory({
    file: join(config.dataDir, "history.db"),
    keepAge: config.history.keep,
    keepSessions: config.history.sessions,
    log,
  });
  undo.push(() => history.close());
  const state: NodeState = {
    ...prepared,
    mint: createMint(authorities, { maxValidity: config.signing.validity, shared: sharing.certificates }, startedAt),
    history,
    sessions,
    demanding,
    sharing,
    returns: createReturnsDirectory((worker, answer, socket) => state.workers.send(worker, answer, socket)),
    subscribers: new Set(),
    counts: createCounts(),
    reloading: Promise.resolve(),
    watch: watchTools([], () => {}),
    workers: new Workers(count, {
      onMessage: (message, worker, socket) => hearWorker(state, message, worker, socket),
      onStatus: (status, worker) => state.counts.report(worker, status),
      onDeath(worker) {
        state.counts.end(worker);
        state.returns.leave(worker);
        const closed = sessions.dropWorker(worker, Date.now());
        publish(state, { opened: [], changed: [], closed });
      },
    }),
  };
  return state;
}

async function startWorkers(state: NodeState, undo: Undo): Promise<void> {
  const { history, sessions, workers } = state;
  // So that a crash of the machine leaves a record of what was going on.
  const remember = setInterval(() => history.record(sessions.live()), REMEMBER);
  undo.push(() => clearInterval(remember));
  const remind = setInterval(() => logWarnings(state.active), REMIND);
  undo.push(() => clearInterval(remind));
  await workers.start(workerSetup(state));
  undo.push(() => workers.stop(0));
  state.watch = watchConfiguredTools(state);
  undo.push(() => state.watch.close());
}

/** Who may tell the node something from now on: the API, and SIGHUP. */
async function openControl(state: NodeState, undo: Undo): Promise<Control> {
  const { console, dataDir } = state.active.loaded.config;
  const operations = createOperations(state, { reload: () => reload(state), reloadKeys: createKeysReload(state) });
  const { host, port } = console.address;
  const control = await startControl(operations, { host, port, tokenFile: join(dataDir, "token"), log });
  undo.push(() => control.close());
  tellWhere(dataDir, control);
  undo.push(() => removeNodeFile(dataDir));
  const onHangUp = () => {
    reload(state).catch((error) =>
      log.error({ errors: messagesOf(error) }, "Cannot reload; the old configuration stays"),
    );
  };
  process.on("SIGHUP", onHangUp);
  undo.push(() => process.off("SIGHUP", onHangUp));
  return control;
}

/** For the commands. Without the file they look at console.address. */
function tellWhere(dataDir: string, { address }: Control): void {
  try {
    writeNodeFile(dataDir, address);
  } catch (error) {
    log.warn({ error: (error as Error).message }, "Cannot write node.json; commands find this node by console.address");
  }
}

/** Who is not of the fleet does not have it: the file that all nodes have, or the key of the CA that they share. */
function fleetSecret({ sharedSecret }: Loaded, authorities: Authorities): Uint8Array {
  if (sharedSecret !== undefined) return Buffer.from(sharedSecret);
  return authorities.find("primary", "ecdsa").key.export({ type: "pkcs8", format: "der" });
}

function warn(problems: readonly string[]): void {
  for (const problem of problems) log.warn(problem);
}

/** What the inline listeners set up is to be there after a stop, for the next start to take over. */
function staysInline({ config }: Loaded): boolean {
  return config.listeners.some((listener) => listener.mode === "inline" && listener.stop === "keep");
}

async function makeDataDir(directory: string): Promise<void> {
  try {
    await makeFolder(directory);
    await access(directory, constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    const why = FOLDER_OBSTACLES[code] ?? code;
    throw new ConfigError("dataDir", `Cannot use the folder ${directory} (dataDir): ${why}`, { cause: error });
  }
}

const FOLDER_OBSTACLES: Readonly<Record<string, string>> = {
  EACCES: "this user has no permission to write there",
  EPERM: "this user has no permission to write there",
  EROFS: "the file system is read-only",
  EEXIST: "a file has this name",
  ENOTDIR: "one of its parents is a file",
  ENOENT: "this file system does not allow new folders there",
  ENOSPC: "the disk is full",
};

function messagesOf(error: unknown): string[] {
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
  return errors.map((one) => (one instanceof Error ? one.message : String(one)));
}

/** What a person who has just typed `npm start` wants to know. */
function announce({ active, authorities }: NodeState, control: Control): void {
  const { config, file } = active.loaded;
  const lines = [
    `Clearline runs with ${file ?? "the embedded default"}`,
    ...config.listeners.map((one) => `  ${one.mode.padEnd(9)} ${listenerPlace(one)}  (${one.name})`),
    `  console   http://${textOf(control.address)}/api/v1/docs  (token: ${join(config.dataDir, "token")})`,
    `  CA        ${join(config.dataDir, "ca")}  (${authorities.find("primary", "ecdsa").certificate.subject.replaceAll("\n", ", ")})`,
    ...config.tools.map((tool) => `  tool      ${toolPlace(tool)}  (${tool.name}, ${tool.kind})`),
    ...config.feeds.map((feed) => `  feed      ${feedPlace(feed)}  (${feed.name}, ${feed.kind})`),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}
