import { join } from "node:path";
import type { Loaded } from "../config/load.ts";
import { openAudit } from "../control/audit.ts";
import { Disk } from "../control/disk.ts";
import { openHistory } from "../control/history.ts";
import { searchSessions } from "../control/session-search.ts";
import { createStanding } from "../kernel/standing.ts";
import { readConntrack } from "../linux/conntrack.ts";
import { LoopDelayMeter } from "../linux/loop-delay.ts";
import { log } from "../log.ts";
import type { Authorities } from "../pki/issue/authority.ts";
import { createMint } from "../pki/issue/mint.ts";
import { HitCounts } from "../policy/hits.ts";
import { createKnownServers } from "../policy/known-servers.ts";
import { createRefusals } from "../policy/refusals.ts";
import { LiveTable } from "../sessions/table.ts";
import { watchTools } from "../tools/heartbeat.ts";
import { createReturnsDirectory } from "../tools/returns.ts";
import { forget, noticeClock } from "./caches.ts";
import { resourcesHere } from "./capacity.ts";
import { createConntrackWatch } from "./conntrack.ts";
import { createCounts } from "./counts.ts";
import { describeNode } from "./fleet-nodes.ts";
import { createHealthChanges } from "./health-changes.ts";
import { HttpView } from "./http-view.ts";
import { LiveRecord } from "./live-record.ts";
import { createOverloadWatch, memoryPart, overloadInfo } from "./overload.ts";
import { Series } from "./series.ts";
import { sampleOf } from "./series-sample.ts";
import { Sharing } from "./sharing.ts";
import { createShortageLog } from "./shortage-log.ts";
import type { NodeState } from "./state.ts";
import { feedInfos } from "./statistics.ts";
import { followSuccession } from "./succession.ts";
import { printTransactions } from "./terminal-lines.ts";
import { createClockWatch, createFeedWatch, createLimitWatch } from "./watches.ts";
import { openWebhooks } from "./webhooks.ts";
import { hearWorker, learnDemanding, publish } from "./worker-messages.ts";
import { Workers } from "./workers.ts";

/** What the start has prepared before the state exists. */
type Prepared = Pick<
  NodeState,
  | "logTargets"
  | "loop"
  | "active"
  | "keyFolder"
  | "keyReader"
  | "listFiles"
  | "bypasses"
  | "authorities"
  | "inline"
  | "workerUser"
  | "startedAt"
>;

/** Opens what the supervisor needs for the workers, and starts none yet. `steps` gets what closes it again. */
export async function createState(
  prepared: Prepared,
  count: number,
  { steps }: { readonly steps: (() => unknown)[] },
): Promise<NodeState> {
  const { authorities, startedAt } = prepared;
  const { loaded } = prepared.active;
  const { config } = loaded;
  const sessions = new LiveTable();
  const demanding = createKnownServers(10_000);
  const disk = new Disk();
  steps.push(() => disk.close());
  const history = openHistory({
    disk,
    file: join(config.dataDir, "history.db"),
    keepAge: config.history.keep,
    keepSessions: config.history.sessions,
    log,
  });
  steps.push(() => history.close());
  // Before the store: what it says first needs the state, which the lines below make at once.
  await history.opened;
  const sharing = await Sharing.open({
    resumption: config.resumption,
    fleetSecret: () => fleetSecret(loaded, authorities),
    onTicketKeys: (ticketKeys) => state.workers.tell({ kind: "ticket keys", ticketKeys }),
    onLearned: (server, until) => learnDemanding(state, server, until),
    learned: () => demanding.entries(),
    onForgotten: (name) => state.workers.tell({ kind: "forget session", name }),
    onFlush: (cache) => forget(state, cache),
    exchangeBypasses: (written) => prepared.bypasses.exchange(written),
    onSuccession: (written) => void followSuccession(state, written),
    async answer({ node, query, live, limit }) {
      if (node) return { sessions: [], more: false, foundByCertificate: [], node: await describeNode(state) };
      return searchSessions(state, query, live, Math.min(limit, MOST_ANSWERED));
    },
  });
  steps.push(() => sharing.close());
  const series = new Series({ file: join(config.dataDir, "series.bin"), log, sample: () => sampleOf(state) });
  steps.push(() => series.close());
  const audit = openAudit({
    disk,
    file: join(config.dataDir, "audit.db"),
    keepAge: config.audit.keep,
    keepEntries: config.audit.entries,
    log,
  });
  steps.push(() => audit.close());
  const counts = createCounts();
  const webhooks = openWebhooks(
    config.webhooks.map((hook, index) => ({ ...hook, key: loaded.webhookSecrets[index] })),
    { roots: () => state.active.trust.roots, log },
  );
  steps.push(() => webhooks.close());
  const changes = createHealthChanges();
  const feedWatch = createFeedWatch(webhooks.tell, changes);
  const limitWatch = createLimitWatch(counts);
  const shortages = createShortageLog(counts, (about, message) => {
    log.warn(about, message);
    webhooks.tell("sessions.refused", message, about);
  });
  const conntrack = createConntrackWatch(readConntrack, log.warn.bind(log));
  const overloadWatch = createOverloadWatch({
    begun(about, message) {
      log.warn(about, message);
      webhooks.tell("overload.begun", message, about);
    },
    ended(about, message) {
      log.info(about, message);
      webhooks.tell("overload.ended", message, about);
    },
  });
  const state: NodeState = {
    ...prepared,
    renewed: async () => undefined,
    api: null,
    logsSessions: config.log.sessions,
    mint: createMint(
      authorities,
      {
        maxValidity: config.signing.validity,
        shared: sharing.certificates,
        statusUrl: config.signing.status?.url,
        steady: () => performance.timeOrigin + performance.now(),
      },
      startedAt,
    ),
    history,
    audit,
    series,
    liveRecord: new LiveRecord(),
    sessions,
    hits: new HitCounts(),
    demanding,
    refusals: createRefusals(),
    pinning: createKnownServers(10_000),
    binding: createKnownServers(10_000),
    sharing,
    returns: createReturnsDirectory(prepared.loop, (worker, answer, socket) =>
      state.workers.send(worker, answer, socket),
    ),
    subscribers: new Set(),
    standing: createStanding(() => state.inline?.steps),
    limitWatch,
    changes,
    webhooks,
    clock: createClockWatch(),
    counts,
    loopDelay: new LoopDelayMeter(),
    resources: resourcesHere(),
    reloading: Promise.resolve(),
    reloads: { succeeded: 0, failed: 0, last: undefined },
    watch: watchTools([], () => {}),
    httpView: new HttpView({ onTransactions: printTransactions, readErrors: prepared.logTargets.readWorker }),
    workers: new Workers(
      count,
      {
        onMessage: (message, worker, socket) => hearWorker(state, message, worker, socket),
        onStatus(status, worker) {
          counts.report(worker, status);
          noticeClock(state);
          limitWatch.look();
          feedWatch.look(feedInfos(state));
          shortages.look();
          conntrack.look();
          overloadWatch.look(overloadInfo(state));
          state.workers.send(worker, { kind: "node memory", part: memoryPart(state) });
        },
        onDeath(worker, how) {
          if (how !== undefined)
            webhooks.tell("worker.died", `Worker ${worker} died with ${how}; its sessions were reset`, { worker, how });
          // The next worker needs them.
          if (how !== undefined)
            state.listFiles.keep(state.active.loaded.policy).catch((error: Error) => log.error(error.message));
          state.counts.end(worker);
          state.returns.leave(worker);
          const closed = sessions.dropWorker(worker, Date.now());
          publish(state, { opened: [], changed: [], closed });
        },
      },
      {
        inherited: [prepared.listFiles.descriptor],
        readErrors: prepared.logTargets.readWorker,
        diskHangs: () => disk.stall !== undefined,
      },
    ),
  };
  prepared.bypasses.listen({
    onChange: (bypasses) => state.workers.tell({ kind: "bypasses", bypasses }),
    onNews: (book) => sharing.fleet?.shareBypasses(book),
  });
  steps.push(() => prepared.bypasses.close());
  return state;
}

/** The most sessions in one answer to another node. */
const MOST_ANSWERED = 1_000;
/** Only the nodes of the fleet have it: the file that the configuration names, or the key of the CA that they share. */
function fleetSecret({ sharedSecret }: Loaded, authorities: Authorities): Uint8Array {
  if (sharedSecret !== undefined) return Buffer.from(sharedSecret);
  return authorities.find("primary", "ecdsa").key.export({ type: "pkcs8", format: "der" });
}
