import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Flags } from "../config/embedded-default.ts";
import { type Loaded, loadConfig, withPlaces } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import type { Control } from "../control/server.ts";
import { Loop } from "../engine/loop.ts";
import { ConfigError } from "../errors.ts";
import type { Plan } from "../kernel/listener/lane.ts";
import { planListeners, setUpListeners, takeDownListeners } from "../kernel/listeners.ts";
import { planTools, setUpTools, takeDownTools } from "../kernel/tools.ts";
import type { Account } from "../linux/privileges.ts";
import { forbidCores, forbidInspection } from "../linux/process-calls.ts";
import { log } from "../log.ts";
import { checkPki } from "../pki/check.ts";
import { openAuthorities } from "../pki/issue/authority.ts";
import { openStatusServer } from "../pki/issue/status-server.ts";
import { openKeyFolder } from "../pki/keys/key-folder.ts";
import { createKeyReader } from "../pki/keys/key-source.ts";
import { removeDrafts } from "../pki/keys/secret-file.ts";
import { createVault } from "../pki/keys/vault.ts";
import { logWarnings, prepareConfig, warningsOf } from "./active-config.ts";
import { announce } from "./announce.ts";
import { BypassKeeper } from "./bypasses.ts";
import { warnOfCapacity } from "./capacity.ts";
import { makeFolders } from "./data-folder.ts";
import { makeMeetingPlace, prepareFeeds } from "./feed-folders.ts";
import { createState } from "./first-state.ts";
import { checkFree, checkListenersFree } from "./free-ports.ts";
import { tellOfExpiry } from "./health.ts";
import { viewSetup } from "./http-view.ts";
import { openListFiles } from "./list-files.ts";
import { lockDataDir } from "./lock.ts";
import { openTargets } from "./log/targets.ts";
import { openControl } from "./open-control.ts";
import type { NodeState } from "./state.ts";
import { printRefusals, printsLines } from "./terminal-lines.ts";
import { watchConfiguredTools } from "./tool-watch.ts";
import { reportUnseen } from "./unseen.ts";
import { workerSetup } from "./worker-setup.ts";
import { chooseWorkerUser } from "./worker-user.ts";

/**
 * Starts a node and runs it until SIGINT or SIGTERM.
 * @throws AggregateError of ConfigErrors when the configuration cannot be used, each with its place in the file.
 */
export async function runNode({ file, flags }: RunOptions): Promise<void> {
  const teardown: Teardown = { steps: [], keepsListeners: false };
  // libuv reads it when the first thread is needed.
  process.env["UV_THREADPOOL_SIZE"] ??= THREADS;
  // Without a listener of its own, Node would open its debugger to whoever may send this signal.
  process.on("SIGUSR1", () => {});
  try {
    const { state, control } = await startNode({ file, flags }, teardown);
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
    throw await withPlaces(file, error, flags);
  } finally {
    for (const step of teardown.steps.reverse()) await step();
  }
}

export interface RunOptions {
  /** Undefined: the embedded default. */
  readonly file: string | undefined;
  /** What the command line changes in the embedded default. */
  readonly flags: Flags;
}

/**
 * Each look at a folder on a disk that hangs, and each write to it, keeps a thread. Node's four would soon be taken, and new RSA keys
 * would wait.
 */
const THREADS = "16";
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
  { file, flags }: RunOptions,
  teardown: Teardown,
): Promise<{ state: NodeState; control: Control }> {
  const now = Date.now();
  const keyReader = createKeyReader();
  const loaded = await loadConfig(file, (given) => checkPki(given, now, keyReader.read), flags);
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
  const logTargets = await openTargets(config.log.targets, loaded.logTrust);
  teardown.steps.push(() => logTargets.close());
  for (const name of ["", "ca", "keys"]) await removeDrafts(join(config.dataDir, name));
  const workerUser = chosen && giveFeeds(config, chosen) ? chosen : undefined;
  if (chosen && !workerUser) await makeFolders(config.dataDir, undefined);
  const vault = createVault(loaded.keyStore);
  const keyFolder = openKeyFolder(join(config.dataDir, "keys"), vault, (notice) => log.warn(notice));
  const bypasses = await BypassKeeper.open({ file: join(config.dataDir, "bypasses.json"), log });
  const active = await prepareConfig(loaded, { keyFolder, keyReader, bypasses });
  logWarnings(warningsOf(active));
  const listFiles = await openListFiles(config.dataDir, workerUser);
  await listFiles.keep(loaded.policy);
  const count = config.workers === "auto" ? availableParallelism() : config.workers;
  const inline = setUpKernel(loaded, count, teardown);

  const authorities = await openAuthorities(join(config.dataDir, "ca"), loaded.signing, now, vault);
  for (const notice of authorities.notices) log.warn(notice);
  const prepared = {
    logTargets,
    loop,
    active,
    keyFolder,
    keyReader,
    listFiles,
    bypasses,
    authorities,
    inline,
    workerUser,
    startedAt: now,
  };
  const state = await createState(prepared, count, teardown);
  for (const made of authorities.made) {
    log.info(made);
    state.webhooks.tell("ca.made", made);
  }
  warnOfCapacity(state, log.warn.bind(log));
  await state.standing.remember();
  await openStatus(state, teardown);
  await startView(state, teardown);
  await startWorkers(state, teardown);
  const control = await openControl(state, teardown.steps);
  void tellOfExpiry(state);
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
  for (const lack of inline?.lacks ?? []) log.info(lack);
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

/** Before the workers, which connect to it. */
async function startView(state: NodeState, { steps }: Teardown): Promise<void> {
  const { httpView, active, workerUser } = state;
  steps.push(() => httpView.stop());
  await httpView.apply(viewSetup(active.loaded.config, workerUser, printsLines()));
  if (printsLines()) steps.push(printRefusals(state));
}

async function startWorkers(state: NodeState, { steps }: Teardown): Promise<void> {
  const { history, sessions, workers, liveRecord } = state;
  const recordSome = () => history.record(liveRecord.take((id) => sessions.find(id), performance.now()));
  const recordLive = setInterval(recordSome, RECORD_LIVE);
  steps.push(() => clearInterval(recordLive));
  const remind = setInterval(() => {
    logWarnings(warningsOf(state.active));
    void tellOfExpiry(state);
  }, REMIND);
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

function warn(problems: readonly string[]): void {
  for (const problem of problems) log.warn(problem);
}

/** Whether an inline listener's rules and routes stay after a stop, for the next start to take over. */
function keepsListeners({ config }: Loaded): boolean {
  return config.listeners.some((listener) => listener.mode === "inline" && listener.stop === "keep");
}
