import manifest from "../../package.json" with { type: "json" };
import type { DoctorReport, FleetSessions, Stats } from "../control/api.ts";
import type { Operations } from "../control/operations.ts";
import { searchSessions } from "../control/session-search.ts";
import { ConfigError } from "../errors.ts";
import { readSeries } from "../sessions/series.ts";
import { createAuthorityOperations } from "./authority-operations.ts";
import { createBypassOperations } from "./bypass-operations.ts";
import { flushCaches, listCaches } from "./caches.ts";
import { explainFlow } from "./explain.ts";
import { explainSession } from "./explain-session.ts";
import { listFleet } from "./fleet-nodes.ts";
import { lookAtHealth } from "./health.ts";
import { createKeyOperations } from "./key-operations.ts";
import { showLists } from "./lists.ts";
import { overloadInfo } from "./overload.ts";
import { listSuggestions } from "./pinning.ts";
import { listPolicy } from "./policy-hits.ts";
import { previewPolicy } from "./preview.ts";
import type { NodeState } from "./state.ts";
import { gatherFigures, gatherStatistics } from "./statistics.ts";

/**
 * What the API asks of the node, answered from its state. `reload` reads the configuration file again; `reloadKeys` only takes
 * the keys that were added or removed, so that a mistake in the file does not prevent it.
 */
export function createOperations(
  state: NodeState,
  {
    reload,
    reloadKeys,
  }: {
    readonly reload: Operations["reload"];
    readonly reloadKeys: () => Promise<unknown>;
  },
): Operations {
  return {
    version: manifest.version,
    startedAt: state.startedAt,
    sessions: state.sessions,
    history: state.history,
    audit: state.audit,
    log: state.logTargets.recent,
    subscribe(listener) {
      state.subscribers.add(listener);
      return () => state.subscribers.delete(listener);
    },
    endSession(id) {
      const session = state.sessions.find(id);
      if (!session || session.end !== null) return false;
      return state.workers.send(session.worker, { kind: "end session", id });
    },
    statistics: () => gatherStatistics(state),
    figures: () => gatherFigures(state),
    series: (query) => readSeries(state.series.ring, query),
    explain: (query) => explainFlow(state, query, overloadInfo(state)),
    explainSession: (session) => explainSession(state, session),
    policyOrder: () => listPolicy(state, Date.now()),
    lists: (find) => showLists(state.active.loaded, find),
    ...createAuthorityOperations(state),
    ...createKeyOperations(state, reloadKeys),
    ...createBypassOperations(state),
    previewPolicy: (request) => previewPolicy(state, request),
    caches: async () => listCaches(state),
    flushCaches: (name) => flushCaches(state, name),
    suggestions: () => listSuggestions(state, Date.now()),
    examine: (asked) => examineSelf(state, asked),
    health: () => lookAtHealth(state),
    view: (ask, signal) => state.httpView.ask(ask, signal),
    fleetNodes: () => listFleet(state),
    fleetSessions: (...search) => searchFleet(state, ...search),
    reload,
  };
}

async function searchFleet(
  state: NodeState,
  ...[query, live, limit]: Parameters<Operations["fleetSessions"]>
): Promise<FleetSessions> {
  const { fleet } = state.sharing;
  if (!fleet) {
    throw new ConfigError(
      "resumption.shared",
      "Cannot search the fleet: resumption.shared is not set, so this node shares nothing with others",
    );
  }
  const { name, since } = fleet.self;
  const [found, answers] = await Promise.all([
    searchSessions(state, query, live, limit),
    fleet.ask({ query, live, limit }),
  ]);
  const own = { name, since, answered: true, ...found };
  const others = answers.map(({ node, answer }) => ({
    name: node.name,
    since: node.since,
    answered: answer !== undefined,
    sessions: answer?.sessions ?? [],
    more: answer?.more ?? false,
    foundByCertificate: answer?.foundByCertificate ?? [],
  }));
  return { nodes: [own, ...others] };
}

/** As `clearline doctor` does. What it needs is loaded only now. */
async function examineSelf({ active }: NodeState, asked: Stats): Promise<DoctorReport["checks"]> {
  const { file, flags, config } = active.loaded;
  const { examine } = await import("./doctor/examine.ts");
  return examine({ file, flags, dataDir: config.dataDir, asked, silent: undefined, closed: undefined });
}
