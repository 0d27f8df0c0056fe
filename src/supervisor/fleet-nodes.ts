import { hostname } from "node:os";
import manifest from "../../package.json" with { type: "json" };
import { textOf } from "../config/formats.ts";
import type { FleetNodeInfo, FleetNodes } from "../control/api.ts";
import type { Control } from "../control/server.ts";
import { readSeries } from "../sessions/series.ts";
import { OUTCOMES, type Outcome } from "../vocabulary.ts";
import { lookAtHealth } from "./health.ts";
import type { NodeSummary } from "./sharing.ts";
import type { NodeState } from "./state.ts";

const HOUR = 3_600_000;

/** This node, and every other that shares its store. */
export async function listFleet(state: NodeState): Promise<FleetNodes> {
  const { fleet } = state.sharing;
  const name = fleet?.self.name ?? state.active.loaded.config.resumption.node ?? hostname();
  const own = { name, since: state.startedAt, self: true, answered: true, ...(await describeNode(state)) };
  const answers = await fleet?.ask({ node: true, query: {}, live: "true", limit: 1 });
  const others = (answers ?? []).map(({ node: { name, since }, answer }) => ({
    ...{ name, since, self: false },
    ...(answer?.node ? { answered: true, ...answer.node } : { answered: false, ...UNKNOWN }),
  }));
  return { store: fleet?.state().state ?? null, nodes: [own, ...others] };
}

const UNKNOWN = { version: null, api: null, live: null, outcomes: null, health: null };

export async function describeNode(state: NodeState): Promise<NodeSummary> {
  const { status, reasons } = await lookAtHealth(state);
  const live = state.sessions.size;
  const health = { status, reasons: reasons.map(({ fact, status }) => ({ fact, status })) };
  return { version: manifest.version, api: state.api, live, outcomes: outcomesOf(state, Date.now()), health };
}

/** Sessions of the last hour. */
function outcomesOf({ series }: NodeState, now: number): FleetNodeInfo["outcomes"] {
  const names = OUTCOMES.filter((outcome): outcome is Exclude<Outcome, "live"> => outcome !== "live");
  const counts = readSeries(series.ring, { since: now - HOUR, until: now, step: 10_000, names }).series;
  const sum = (name: string) => (counts[name] ?? []).reduce<number>((all, count) => all + (count ?? 0), 0);
  return Object.fromEntries(names.map((name) => [name, sum(name)])) as FleetNodeInfo["outcomes"];
}

/** The URL of the API, for other machines where they can reach it. */
export function apiUrl({ address: { host, port, certificate } }: Pick<Control, "address">): string {
  const reachable = host === "0.0.0.0" || host === "::" ? hostname() : host;
  return `http${certificate === undefined ? "" : "s"}://${textOf({ host: reachable, port })}`;
}
