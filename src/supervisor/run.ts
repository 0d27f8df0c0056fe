import { availableParallelism } from "node:os";
import { join } from "node:path";
import { removeNodeFile, writeNodeFile } from "../config/data-folder.ts";
import { feedPlace } from "../config/feed.ts";
import { textOf } from "../config/formats.ts";
import { listenerPlace } from "../config/listener.ts";
import { type Loaded, loadConfig, withPlaces } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { toolPlace } from "../config/tool.ts";
import { openHistory } from "../control/history.ts";
import { type Control, startControl } from "../control/server.ts";
import { searchSessions } from "../control/session-search.ts";
import { Loop } from "../engine/loop.ts";
import { ConfigError } from "../errors.ts";
import type { Plan } from "../kernel/listener/lane.ts";
import { planListeners, setUpListeners, takeDownListeners } from "../kernel/listeners.ts";
import { planTools, setUpTools, takeDownTools } from "../kernel/tools.ts";
import type { Account } from "../linux/privileges.ts";
import { forbidCores, forbidInspection } from "../linux/process-calls.ts";
import { log } from "../log.ts";
import { checkPki } from "../pki/check.ts";
import { type Authorities, openAuthorities } from "../pki/issue/authority.ts";
import { createMint } from "../pki/issue/mint.ts";
import { openStatusServer } from "../pki/issue/status-server.ts";
import { openKeyFolder } from "../pki/keys/key-folder.ts";
import { createKeyReader } from "../pki/keys/key-source.ts";
import { removeDrafts } from "../pki/keys/secret-file.ts";
import { createVault } from "../pki/keys/vault.ts";
import { createKnownServers } from "../policy/known-servers.ts";
import { createRefusals } from "../policy/refusals.ts";
import { LiveTable } from "../sessions/table.ts";
import { watchTools } from "../tools/heartbeat.ts";
import { createReturnsDirectory } from "../tools/returns.ts";
import { logWarnings, prepareConfig } from "./active-config.ts";
import { forget } from "./caches.ts";
import { capacityNow, connectionLimits, resourcesHere, warnOfCapacity } from "./capacity.ts";
import { createCounts } from "./counts.ts";
import { makeFolders } from "./data-folder.ts";
import { makeMeetingPlace, prepareFeeds } from "./feed-folders.ts";
import { checkFree, checkListenersFree } from "./free-ports.ts";
import { openListFiles } from "./list-files.ts";
import { LiveRecord } from "./live-record.ts";
import { lockDataDir } from "./lock.ts";
import { createOperations } from "./operations.ts";
import { createKeysReload, reload } from "./reload.ts";
import { Sharing } from "./sharing.ts";
import { createShortageLog } from "./shortage-log.ts";
import type { NodeState } from "./state.ts";
import { watchConfiguredTools } from "./tool-watch.ts";
import { reportUnseen } from "./unseen.ts";
import { hearWorker, learnDemanding, publish } from "./worker-messages.ts";
import { workerSetup } from "./worker-setup.ts";
import { chooseWorkerUser } from "./worker-user.ts";
import { Workers } from "./workers.ts";

/**
 * Starts a node and runs it until SIGINT or SIGTERM.
 * @throws AggregateError of ConfigErrors when the configuration cannot be used, each with its place in the file.
 */
export async function runNode({ file }: { readonly file: string | undefined }): Promise<void> {
  const teardown: Teardown = { steps: [], keepsListeners: false };
  // Without a listener of its own, Node would open its debugger to whoever may send this signal.
  process.on("SIGUSR1", () => {});
  try {
    const { state, control } = await startNode(file, teardown);
    const told = new Promise<string>((resolve) => {
      for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => resolve(name));
    });
    announce(state, control);
    const signal = await told;
    const { drain } = state.active.loaded.config.timeouts;
    log.info({ signal, sessions: state.sessions.size }, `Stopping; live sessions have ${drain / 1000} s`);
    await state.workers.stop(drain);
    teardown.keepsListeners = keepsListeners(state.active.loaded);
  } catch (error) {
    throw await withPlaces(file, error);
  } finally {
    for (const step of teardown.steps.reverse()) await step();
  }
}

/** The most sessions in one answer to another node. */
const MOST_ANSWERED = 1_000;
/** ms between two writes of live sessions to the history. */
const RECORD_LIVE = 250;
/** ms between two warnings about the same certificate. */
const REMIND = 24 * 3600 * 1000;

/** What is undone, in reverse, when the node stops or its start fails. */
interface Teardown {
  readonly steps: (() => unknown)[];
  /** Whether the rules and routes of inline listeners stay, for the next start to take over. */
  keepsListeners: boolean;
}

/** Checks everything that can be wrong before anything listens. */
async function startNode(
  file: string | undefined,
  teardown: Teardown,
): Promise<{ state: NodeState; control: Control }> {
  const now = Date.now();
  const keyReader = createKeyReader();
  const loaded = await loadConfig(file, (given) => checkPki(given, now, keyReader.read));
  const { config } = loaded;
  log.level = config.log.level;
  // The workers inherit it.
  if (!config.limits.cores) {
    forbidCores();
    forbidInspection();
  }
  process.env["CLEARLINE_LOG_LEVEL"] = config.log.level;
  const loop = new Loop();
  await checkListenersFree(loop, loaded, undefined);
  await checkFree(loop, { ...config.console.address, path: "console.address" });
  const chosen = chooseWorkerUser(config);
  await makeFolders(config.dataDir, chosen);
  lockDataDir(config.dataDir);
  for (const name of ["", "ca", "keys"]) await removeDrafts(join(config.dataDir, name));
  const workerUser = chosen && giveFeeds(config, chosen) ? chosen : undefined;
  if (chosen && !workerUser) await makeFolders(config.dataDir, undefined);
  const vault = createVault(loaded.keyStore);
  const keyFolder = openKeyFolder(join(config.dataDir, "keys"), vault, (notice) => log.warn(notice));
  const active = await prepareConfig(loaded, { keyFolder, keyReader });
  logWarnings(active);
  const listFiles = await openListFiles(config.dataDir, workerUser);
  await listFiles.keep(loaded.policy);
  const count = config.workers === "auto" ? availableParallelism() : config.workers;
  const inline = setUpKernel(loaded, count, teardown);

  const authorities = await openAuthorities(join(config.dataDir, "ca"), loaded.signing, now, vault);
  for (const notice of authorities.notices) log.warn(notice);
  for (const made of authorities.made) log.info(made);
  const prepared = { loop, active, keyFolder, keyReader, listFiles, authorities, inline, workerUser, startedAt: now };
  const state = createState(prepared, count, teardown);
  warnOfCapacity(state, log.warn.bind(log));
  await openStatus(state, teardown);
  await startWorkers(state, teardown);
  const control = await openControl(state, teardown);
  return { state, control };
}

/**
 * Gives the workers' user what its feeds need. false: some feed's files cannot be given to it, and `workerUser` does not name it, so
 * the workers stay the node's own user. Throws ConfigError if `workerUser` does.
 */
function giveFeeds(config: Config, user: Account): boolean {
  try {
    prepareFeeds(config, user);
    makeMeetingPlace(config.dataDir, user);
    return true;
  } catch (error) {
    if (config.workerUser !== undefined || !(error instanceof ConfigError)) throw error;
    log.warn(`The workers run as the node's own user, and can read the CA keys. ${error.message}`);
    return false;
  }
}

/** Sets up the tools' networks, then the inline listeners. Returns the plan of the listeners. */
function setUpKernel(loaded: Loaded, count: number, teardown: Teardown): Plan | undefined {
  const { dataDir, tools } = loaded.config;
  const inline = planListeners(loaded, count);
  teardown.steps.push(() => warn(takeDownTools(dataDir)));
  // Interfaces that an earlier run moved into a tool's namespace have to come back before they can be moved again.
  warn(takeDownTools(dataDir));
  warn(setUpTools(planTools(tools, count), dataDir));
  teardown.steps.push(() => {
    if (!teardown.keepsListeners) warn(takeDownListeners(dataDir));
  });
  warn(inline ? setUpListeners(inline, dataDir) : takeDownListeners(dataDir));
  // If the start fails from here on, a listener that outlives a stop keeps forwarding.
  teardown.keepsListeners = keepsListeners(loaded);
  return inline;
}

type Prepared = Pick<
  NodeState,
  "loop" | "active" | "keyFolder" | "keyReader" | "listFiles" | "authorities" | "inline" | "workerUser" | "startedAt"
>;

/** Opens what the supervisor needs for the workers, and starts none yet. */
function createState(prepared: Prepared, count: number, { steps }: Teardown): NodeState {
  const { authorities, startedAt } = prepared;
  const { loaded } = prepared.active;
  const { config } = loaded;
  const sessions = new LiveTable();
  const demanding = createKnownServers(10_000);
  const sharing = new Sharing({
    resumption: config.resumption,
    fleetSecret: () => fleetSecret(loaded, authorities),
    onTicketKeys: (ticketKeys) => state.workers.tell({ kind: "ticket keys", ticketKeys }),
    onLearned: (server, until) => learnDemanding(state, server, until),
    learned: () => demanding.entries(),
    onForgotten: (name) => state.workers.tell({ kind: "forget session", name }),
    onFlush: (cache) => forget(state, cache),
    answer: ({ query, live, limit }) => searchSessions(state, query, live, Math.min(limit, MOST_ANSWERED)),
  });
  steps.push(() => sharing.close());
  const history = openHistory({
    file: join(config.dataDir, "history.db"),
    keepAge: config.history.keep,
    keepSessions: config.history.sessions,
    log,
  });
  steps.push(() => history.close());
  const counts = createCounts();
  const shortages = createShortageLog(counts, log.warn.bind(log));
  const state: NodeState = {
    ...prepared,
    mint: createMint(
      authorities,
      {
        maxValidity: config.signing.validity,
        shared: sharing.certificates,
        statusUrl: config.signing.status?.url,
      },
      startedAt,
    ),
    history,
    liveRecord: new LiveRecord(),
    sessions,
    demanding,
    refusals: createRefusals(),
    pinning: createKnownServers(10_000),
    sharing,
    returns: createReturnsDirectory((worker, answer, socket) => state.workers.send(worker, answer, socket)),
    subscribers: new Set(),
    counts,
    resources: resourcesHere(),
    reloading: Promise.resolve(),
    watch: watchTools([], () => {}),
    workers: new Workers(
      count,
      {
        onMessage: (message, worker, socket) => hearWorker(state, message, worker, socket),
        onStatus(status, worker) {
          counts.report(worker, status);
          shortages.look();
        },
        onDeath(worker) {
          state.counts.end(worker);
          state.returns.leave(worker);
          const closed = sessions.dropWorker(worker, Date.now());
          publish(state, { opened: [], changed: [], closed });
        },
      },
      { inherited: [prepared.listFiles.descriptor] },
    ),
  };
  return state;
}

async function startWorkers(state: NodeState, { steps }: Teardown): Promise<void> {
  const { history, sessions, workers, liveRecord } = state;
  const recordSome = () => history.record(liveRecord.take((id) => sessions.find(id), performance.now()));
  const recordLive = setInterval(recordSome, RECORD_LIVE);
  steps.push(() => clearInterval(recordLive));
  const remind = setInterval(() => logWarnings(state.active), REMIND);
  steps.push(() => clearInterval(remind));
  await workers.start(workerSetup(state));
  steps.push(() => workers.stop(0), reportUnseen(state));
  state.watch = watchConfiguredTools(state);
  steps.push(() => state.watch.close());
}

/** What clients are told about issued certificates, where the configuration wants it. */
async function openStatus({ active, authorities }: NodeState, { steps }: Teardown): Promise<void> {
  const { status } = active.loaded.config.signing;
  if (!status) return;
  const server = await openStatusServer(authorities, status.address);
  steps.push(() => server.close());
}

/** Opens the API, tells the commands where it listens, and reloads on SIGHUP. */
async function openControl(state: NodeState, { steps }: Teardown): Promise<Control> {
  const { console, dataDir } = state.active.loaded.config;
  const operations = createOperations(state, { reload: () => reload(state), reloadKeys: createKeysReload(state) });
  const { host, port } = console.address;
  const tokenFile = join(dataDir, "token");
  const connections = connectionLimits(state.resources);
  const control = await startControl(operations, { host, port, tokenFile, connections, log });
  steps.push(() => control.close());
  announceAddress(dataDir, control);
  steps.push(() => removeNodeFile(dataDir));
  const onHangUp = () => {
    reload(state).catch((error) =>
      log.error({ errors: messagesOf(error) }, "Cannot reload; the node keeps the old configuration"),
    );
  };
  process.on("SIGHUP", onHangUp);
  steps.push(() => process.off("SIGHUP", onHangUp));
  return control;
}

/** The commands find the node by this file, or without it by `console.address` in their configuration. */
function announceAddress(dataDir: string, { address }: Control): void {
  try {
    writeNodeFile(dataDir, address);
  } catch (error) {
    log.warn({ error: (error as Error).message }, "Cannot write node.json; commands find this node by console.address");
  }
}

/** Only the nodes of the fleet have it: the file that the configuration names, or the key of the CA that they share. */
function fleetSecret({ sharedSecret }: Loaded, authorities: Authorities): Uint8Array {
  if (sharedSecret !== undefined) return Buffer.from(sharedSecret);
  return authorities.find("primary", "ecdsa").key.export({ type: "pkcs8", format: "der" });
}

function warn(problems: readonly string[]): void {
  for (const problem of problems) log.warn(problem);
}

/** Whether an inline listener's rules and routes stay after a stop, for the next start to take over. */
function keepsListeners({ config }: Loaded): boolean {
  return config.listeners.some((listener) => listener.mode === "inline" && listener.stop === "keep");
}

function messagesOf(error: unknown): string[] {
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
  return errors.map((one) => (one instanceof Error ? one.message : String(one)));
}

/** Prints what the user needs first: where the node listens, its console and its CA. */
function announce(state: NodeState, control: Control): void {
  const { active, authorities, workers } = state;
  const { config, file } = active.loaded;
  const { sessions, bound } = capacityNow(state);
  const lines = [
    `Clearline runs with ${file ?? "the embedded default"}`,
    ...config.listeners.map((one) => `  ${one.mode.padEnd(9)} ${listenerPlace(one)}  (${one.name})`),
    `  console   http://${textOf(control.address)}/api/v1/docs  (token: ${join(config.dataDir, "token")})`,
    `  CA        ${join(config.dataDir, "ca")}  (${authorities.find("primary", "ecdsa").certificate.subject.replaceAll("\n", ", ")})`,
    `  sessions  up to ${sessions * workers.count}  (${bound})`,
    ...config.tools.map((tool) => `  tool      ${toolPlace(tool)}  (${tool.name}, ${tool.kind})`),
    ...config.feeds.map((feed) => `  feed      ${feedPlace(feed)}  (${feed.name}, ${feed.kind})`),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}
