import { flushCompileCache } from "node:module";
import type { Socket } from "node:net";
import { getHeapStatistics } from "node:v8";
import { checkEngine } from "../engine/check.ts";
import { liveContexts } from "../engine/contexts.ts";
import { openEnds } from "../engine/end.ts";
import { liveConnections } from "../engine/openssl-layer.ts";
import { ConfigError } from "../errors.ts";
import { INHERITED_RECORD, keepLastCall } from "../linux/last-call.ts";
import { LoopDelayMeter } from "../linux/loop-delay.ts";
import { postStation } from "../linux/netns-station.ts";
import { becomeUser } from "../linux/privileges.ts";
import { allowInspection, forbidInspection, trimMemory } from "../linux/process-calls.ts";
import { log } from "../log.ts";
import type { FromWorker, ToWorker, WorkerSetup, WorkerStatus } from "../messages.ts";
import { hostResolver } from "../streams/resolve.ts";
import { cacheCounts, flushCaches } from "./caches.ts";
import { createState } from "./first-state.ts";
import { applySetup } from "./setup.ts";
import type { WorkerState } from "./state.ts";
import { Trimmer } from "./trimmer.ts";

/**
 * A worker: it accepts connections and carries whole sessions. Its parent, the supervisor, sends it its setup and gets
 * reports about its sessions. The supervisor holds the CA keys; this process never sees them.
 */

/** ms between two reports of changed sessions, and between two reports of this worker's status. */
const SESSIONS_INTERVAL = 250;
const STATUS_INTERVAL = 1_000;
/** ms that sessions have to end after they were reset. */
const SETTLE = 1_000;

process.on("message", (message: ToWorker, socket: Socket | undefined) => void obey(message, socket));
// Without the supervisor there are no CA keys, and nobody records the sessions.
process.on("disconnect", () => process.exit(1));
// Ctrl-C reaches the whole process group, but it is the supervisor that stops the workers.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});

/** Resolves once the message is queued. If the supervisor is gone, the "disconnect" handler ends the process. */
function tell(message: FromWorker, socket?: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (process.connected) process.send!(message, socket, undefined, () => resolve());
    else resolve();
  });
}

let worker: Promise<WorkerState> | undefined;
const loopDelay = new LoopDelayMeter();
const trimmer = new Trimmer(trimMemory);

async function obey(message: ToWorker, socket: Socket | undefined): Promise<void> {
  if (message.kind === "setup") {
    try {
      if (worker) await applySetup(await worker, message.setup);
      else {
        worker = startWorker(message.setup);
        await worker;
      }
      void tell({ kind: "ready" });
    } catch (error) {
      // A bug in here must not end the sessions that began under the earlier setup.
      if (!(error instanceof ConfigError)) log.error({ err: error }, "A bug kept a worker from its new setup");
      const { path, message } = error instanceof ConfigError ? error : { path: "", message: "Cannot apply the setup" };
      void tell({ kind: "failed", path, message });
    }
  } else if (worker) hear(await worker, message, socket);
}

async function startWorker(setup: WorkerSetup): Promise<WorkerState> {
  checkEngine();
  keepCalls();
  await giveUpRights(setup);
  const state = createState(setup, tell);
  await applySetup(state, setup);
  // The log and the health say at once that it begins and ends.
  state.overload.onChange = () => setImmediate(() => void tellStatus(state));
  state.timers.push(
    setInterval(() => void tellSessions(state), SESSIONS_INTERVAL),
    setInterval(() => {
      trimmer.look(cpuSeconds());
      void tellStatus(state);
    }, STATUS_INTERVAL),
  );
  return state;
}

/** From here on a worker that is taken over can do what its user can. Nothing that a stranger sent has been read yet. */
async function giveUpRights({ user, config }: WorkerSetup): Promise<void> {
  // Node writes the cache only when a process exits normally, but a worker that replaces a dead one needs it earlier, and no
  // worker may write what another one executes.
  flushCompileCache();
  if (user) {
    for (const namespace of user.namespaces) await postStation(namespace);
    becomeUser(user, user.capabilities);
  }
  if (config.limits.cores) allowInspection();
  else forbidInspection();
}

/** The record of this worker's calls tells what crashed it. Without it everything else works. */
function keepCalls(): void {
  try {
    keepLastCall(INHERITED_RECORD);
  } catch (error) {
    log.warn({ err: error }, "Cannot keep a record of the calls into OpenSSL; a crash will not name the last one");
  }
}

function hear(state: WorkerState, message: Exclude<ToWorker, { kind: "setup" }>, socket: Socket | undefined): void {
  const { mint, demanding, binding, offering, pinning, traffic, returns } = state;
  switch (message.kind) {
    case "minted":
      mint.settle(message.request, message.minted);
      break;
    case "mint failed":
      mint.settle(message.request, { failed: message.message });
      break;
    case "demanding":
      demanding.learn(message.server, message.until);
      break;
    case "binding":
      binding.learn(message.server, message.until);
      break;
    case "offered":
      state.offered = message.certificates;
      break;
    case "node memory":
      state.overload.memory = message.part;
      break;
    case "pinning":
      pinning.learn(message.server, message.until);
      break;
    case "bypasses":
      state.bypasses.replace(message.bypasses);
      break;
    case "offering":
      offering.learn(message.server, message.until);
      break;
    case "end session":
      state.admission.end((arrival) => state.live.get(arrival)?.id === message.id);
      break;
    case "session":
      state.settle(message.request, message.sealed);
      break;
    case "ftp session":
      state.ftp.take(message.shared);
      void state.tell({ kind: "ftp session taken", worker: message.worker, request: message.request });
      break;
    case "ftp session sent":
    case "ftp session taken":
      state.ftpChannel.hear(message);
      break;
    case "forget session":
      state.forgetSession(message.name);
      break;
    case "ticket keys":
      state.tickets.keys = message.ticketKeys;
      break;
    case "tool":
      traffic.setHealth(message.name, message.up, message.reason);
      break;
    case "flush":
      flushCaches(state, message.cache);
      break;
    case "owner":
    case "expected":
    case "handed over":
      returns.hear(message, socket);
      break;
    case "stop":
      void stop(state);
      break;
    default:
      message satisfies never;
  }
}

async function tellSessions({ ledger }: WorkerState): Promise<void> {
  const changes = ledger.drain(Date.now());
  if (changes.length > 0) await tell({ kind: "sessions", changes });
}

/** That this process has used so far. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function tellStatus(state: WorkerState): Promise<void> {
  const { admission, feeds, tools, traffic } = state;
  const status: WorkerStatus = {
    sessions: admission.size,
    turnedAway: admission.turnedAway,
    overload: state.overload.report(),
    memory: process.memoryUsage.rss(),
    heap: getHeapStatistics().used_heap_size,
    handles: process.getActiveResourcesInfo().length,
    cpu: cpuSeconds(),
    delay: loopDelay.read(),
    engine: {
      ends: openEnds(),
      connections: liveConnections(),
      contexts: liveContexts(),
      writePairs: state.writer.lent,
    },
    dns: { negative: hostResolver.negative, waiting: hostResolver.waiting },
    feeds: feeds.map((feed) => feed.counters()),
    tools: [...tools.values()].map((tool) => ({
      name: tool.name,
      sessions: traffic.sessions(tool.name),
      strangers: tool.counters().strangers,
    })),
    caches: cacheCounts(state),
  };
  return tell({ kind: "status", status });
}

/** Ends this process. It accepts no more connections; live sessions have the drain time to end, then they are reset. */
async function stop(state: WorkerState): Promise<void> {
  const { admission, listeners, feeds, tools, timers } = state;
  for (const server of listeners.values()) server.close();
  admission.dismiss();
  await admission.emptied(state.setup.config.timeouts.drain);
  admission.cut();
  await admission.emptied(SETTLE);
  for (const feed of feeds) await feed.close();
  for (const tool of tools.values()) await tool.close();
  for (const timer of timers) clearInterval(timer);
  state.overload.close();
  // The channel does not take a long batch at once: if the process ended now, the rest would be lost.
  await Promise.all([tellSessions(state), tellStatus(state)]);
  process.exit(0);
}
