import { flushCompileCache } from "node:module";
import type { Socket } from "node:net";
import { setDefaultCACertificates } from "node:tls";
import { capacity, createAdmission } from "./admission.ts";
import type { Arrival } from "./capture/arrival.ts";
import type { OpenListener } from "./capture/mode.ts";
import { identityOf, openListener } from "./capture/modes.ts";
import { ConfigError, PeerError } from "./errors.ts";
import type { Feed } from "./feeds/feed.ts";
import { openFeed } from "./feeds/kinds.ts";
import { carry } from "./flow.ts";
import { createContextCache } from "./legs/contexts.ts";
import { log } from "./log.ts";
import type { CacheName, FromWorker, ToWorker, WorkerSetup, WorkerStatus } from "./messages.ts";
import { createMintChannel } from "./mint-channel.ts";
import type { Node } from "./node.ts";
import { createIssued } from "./pki/issued.ts";
import { createVerified } from "./pki/verified.ts";
import { createDemanding } from "./policy/demanding.ts";
import { createWorkerSessions } from "./resumption/worker-sessions.ts";
import { createLedger } from "./sessions/ledger.ts";
import { type Chains, type ChainTool, createChains, createToolTraffic } from "./tools/chain.ts";
import { openTool } from "./tools/kinds.ts";
import { createReturns } from "./tools/returns.ts";
import type { Tool } from "./tools/tool.ts";
import { composeNode } from "./worker-node.ts";

/**
 * A worker: it accepts connections and carries whole sessions. `worker-node.ts` composes its stages. Its parent, the
 * supervisor, tells it what to do and is told of its sessions; it holds the CA keys, which this process never sees.
 */

const LIMITS = { issued: 4_000, contexts: 2_000, demanding: 10_000, offering: 10_000, verified: 2_000 } as const;
/** Sessions of clients that this worker finds without asking. The cache of all workers has more. */
const OWN_SESSIONS = 2_000;
/** ms between two tellings. */
const TELL = 250;
const STATUS = 1_000;
/** ms in which sessions that were reset have told how they ended. */
const SETTLE = 1_000;

process.on("message", (message: ToWorker, socket: Socket | undefined) => void obey(message, socket));
// The supervisor is gone, and with it the CA keys and the record of what happens here.
process.on("disconnect", () => process.exit(1));
// Ctrl-C reaches the whole process group, but when a node stops is the supervisor's to say.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});

/** Resolves when the message has been handed over. Whoever is not there to hear it, "disconnect" tells of. */
function tell(message: FromWorker, socket?: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (process.connected) process.send!(message, socket, undefined, () => resolve());
    else resolve();
  });
}

type Worker = Awaited<ReturnType<typeof startWorker>>;
let worker: Promise<Worker> | undefined;

async function obey(message: ToWorker, socket: Socket | undefined): Promise<void> {
  if (message.kind === "setup") {
    try {
      if (worker) await (await worker).reload(message.setup);
      else {
        worker = startWorker(message.setup);
        await worker;
      }
      tell({ kind: "ready" });
      // By itself it is written when a process ends in good order only, and the next worker may be needed before.
      flushCompileCache();
    } catch (error) {
      // A bug in here must not cost the sessions that live on what was set up before.
      if (!(error instanceof ConfigError)) log.error({ err: error }, "A bug kept a worker from its new setup");
      const { path, message } = error instanceof ConfigError ? error : { path: "", message: "Cannot apply the setup" };
      tell({ kind: "failed", path, message });
    }
  } else (await worker)?.obey(message, socket);
}

async function startWorker(first: WorkerSetup) {
  let setup = first;
  const ledger = createLedger(setup.worker);
  const contexts = createContextCache(LIMITS.contexts);
  const demanding = createDemanding(LIMITS.demanding);
  for (const [server, until] of setup.demanding) demanding.learn(server, until);
  const offering = createDemanding(LIMITS.offering);
  const mint = createMintChannel(tell);
  const issued = createIssued(LIMITS.issued, mint.ask);
  const verified = createVerified(LIMITS.verified);
  const ownSessions = {
    clients: Math.min(OWN_SESSIONS, setup.config.resumption.sessions),
    servers: Math.ceil(setup.config.resumption.sessions / setup.workers),
  };
  const { clients, servers, settle, forget } = createWorkerSessions(setup.resumption.secret, ownSessions, {
    put: (name, sealed, until) => tell({ kind: "put session", name, sealed, until }),
    find: (name, request) => tell({ kind: "find session", name, request }),
    forget: (name) => tell({ kind: "forget session", name }),
  });
  const tickets = { keys: setup.resumption.ticketKeys, hits: 0, misses: 0 };
  const admission = createAdmission((arrival) => carry(arrival, node));
  const lasting = {
    ...{ ledger, contexts, issued, verified, demanding, offering, tickets, admission, tell },
    sessions: { clients, servers },
  };
  const listeners = new Map<string, OpenListener>();
  let feeds: readonly Feed[] = [];
  const tools = new Map<string, Tool>();
  const traffic = createToolTraffic(setup.failedTools);
  const returns = createReturns(setup.workers === 1, tell);
  let node: Node;

  await apply(setup);
  const timers = [setInterval(tellSessions, TELL), setInterval(tellStatus, STATUS)];

  /** What a configuration changes. New sessions see all of it, live ones none. */
  async function apply(next: WorkerSetup): Promise<void> {
    setDefaultCACertificates([...next.roots]);
    contexts.flush();
    // Roots that are no longer trusted vouched for some of them.
    verified.flush();
    tickets.keys = next.resumption.ticketKeys;
    const fresh = await openFeeds(next, feeds, setup);
    try {
      const chains = await openTools(next);
      node = composeNode(next, fresh, chains, lasting);
      await openListeners(next);
    } catch (error) {
      // The supervisor goes back to what worked, and knows nothing of these.
      for (const feed of fresh) if (!feeds.includes(feed)) await feed.close();
      throw error;
    }
    const stale = feeds.filter((feed) => !fresh.includes(feed));
    feeds = fresh;
    setup = next;
    for (const feed of stale) await feed.close();
  }

  /** A tool's name and places belong to one: of a tool that changed, the new one is opened when the old one has closed. */
  async function openTools({ config, worker, workers }: WorkerSetup): Promise<Chains> {
    const wanted = new Set(config.tools.map((tool) => JSON.stringify(tool)));
    for (const [key, tool] of tools) {
      if (wanted.has(key)) continue;
      tools.delete(key);
      await tool.close();
    }
    const chained: ChainTool[] = [];
    for (const [index, tool] of config.tools.entries()) {
      const key = JSON.stringify(tool);
      const context = { path: `tools[${index}]`, worker, workers, timeout: config.timeouts.connect, returns };
      const open = tools.get(key) ?? (await openTool(tool, context));
      tools.set(key, open);
      chained.push({ ...tool, open });
    }
    return createChains(chained, traffic, (name, reason) => void tell({ kind: "tool failed", name, reason }));
  }

  async function openListeners({ config, inline, worker, workers }: WorkerSetup): Promise<void> {
    const wanted = new Map(config.listeners.map((listener, index) => [identityOf(listener), { listener, index }]));
    for (const [key, server] of listeners) {
      if (wanted.has(key)) continue;
      await server.close();
      listeners.delete(key);
    }
    for (const [key, { listener, index }] of wanted) {
      if (listeners.has(key)) continue;
      const { timeouts, limits } = config;
      const limit = capacity(limits.sessions, workers, config.tools.length);
      const context = { path: `listeners[${index}]`, inline, worker, workers, timeouts, limit, arrive };
      listeners.set(key, await openListener(listener, context));
    }
  }

  function arrive(arrival: Arrival): void {
    const { config, workers } = setup;
    admission.admit(arrival, capacity(config.limits.sessions, workers, config.tools.length));
  }

  async function tellSessions(): Promise<void> {
    const changes = ledger.drain(Date.now());
    if (changes.length > 0) await tell({ kind: "sessions", changes });
  }

  function tellStatus(): Promise<void> {
    const { user, system } = process.cpuUsage();
    const cache = (
      name: CacheName,
      limit: number,
      { size, hits = 0, misses = 0 }: { size: number; hits?: number; misses?: number },
    ) => ({ name, size, limit, hits, misses });
    const status: WorkerStatus = {
      sessions: admission.size,
      refused: admission.refused,
      memory: process.memoryUsage.rss(),
      cpu: (user + system) / 1e6,
      feeds: feeds.map((feed) => feed.counters()),
      tools: [...tools.values()].map((tool) => ({
        name: tool.name,
        sessions: traffic.sessions(tool.name),
        strangers: tool.counters().strangers,
      })),
      caches: [
        cache("issued", LIMITS.issued, issued),
        cache("contexts", LIMITS.contexts, contexts),
        cache("verified", LIMITS.verified, verified),
        cache("demanding", LIMITS.demanding, demanding),
        cache("server-sessions", ownSessions.servers, servers),
        // Whoever has the sessions of all workers, and makes the ticket keys, tells how many there are.
        cache("sessions", 0, { hits: clients.hits, misses: clients.misses, size: 0 }),
        cache("tickets", 0, { hits: tickets.hits, misses: tickets.misses, size: 0 }),
      ],
    };
    return tell({ kind: "status", status });
  }

  /** Takes no more connections; live sessions may end by themselves for a time, then they are reset. */
  async function stop(): Promise<void> {
    for (const server of listeners.values()) server.close();
    admission.dismiss();
    await admission.emptied(setup.config.timeouts.drain);
    admission.cut();
    await admission.emptied(SETTLE);
    for (const feed of feeds) await feed.close();
    for (const tool of tools.values()) await tool.close();
    for (const timer of timers) clearInterval(timer);
    // A long batch is more than the channel takes at once: without the wait its end would be lost.
    await Promise.all([tellSessions(), tellStatus()]);
    process.exit(0);
  }

  return {
    reload: apply,
    obey(message: Exclude<ToWorker, { kind: "setup" }>, socket: Socket | undefined) {
      if (message.kind === "owner" || message.kind === "handed over") returns.hear(message, socket);
      if (message.kind === "minted") mint.settle(message.request, message.minted);
      if (message.kind === "mint failed") mint.settle(message.request, new PeerError(message.message, INTERNAL_ERROR));
      if (message.kind === "demanding") demanding.learn(message.server, message.until);
      if (message.kind === "session") settle(message.request, message.sealed);
      if (message.kind === "forget session") forget(message.name);
      if (message.kind === "ticket keys") tickets.keys = message.ticketKeys;
      if (message.kind === "offering") offering.learn(message.server, message.until);
      if (message.kind === "tool") traffic.setHealth(message.name, message.up, message.reason);
      if (message.kind === "flush") {
        const caches = { issued, contexts, verified, demanding, sessions: clients, "server-sessions": servers };
        for (const [name, cache] of Object.entries(caches)) {
          if (message.cache === undefined || message.cache === name) cache.flush();
        }
      }
      if (message.kind === "stop") void stop();
    },
  };
}

const INTERNAL_ERROR = 80;

/** Feeds whose configuration did not change go on; a feed holds its file open. */
async function openFeeds(next: WorkerSetup, running: readonly Feed[], before: WorkerSetup): Promise<readonly Feed[]> {
  return Promise.all(
    next.config.feeds.map((feed) => {
      const index = before.config.feeds.findIndex((old) => JSON.stringify(old) === JSON.stringify(feed));
      const { worker, workers, config } = next;
      return running[index] ?? openFeed(feed, { worker, workers, dataDir: config.dataDir, log });
    }),
  );
}
