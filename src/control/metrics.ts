import { setTimeout } from "node:timers/promises";
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { LiveTable } from "../sessions/table.ts";
import { BUCKETS, type HandshakeTimes } from "../sessions/tally.ts";
import type { Outcome } from "../vocabulary.ts";
import type {
  AuthorityInfo,
  BypassInfo,
  CacheInfo,
  FeedInfo,
  HealthReport,
  HistoryInfo,
  KernelCount,
  KeyInfo,
  LimitInfo,
  OverloadInfo,
  Statistics,
  StoreInfo,
  ToolInfo,
  WorkerInfo,
} from "./api.ts";
import { HANDSHAKE_SECONDS, METRICS, MISNAMED, type Sample } from "./metrics-table.ts";
import type { Figures, Operations } from "./operations.ts";

export interface Metrics {
  readonly contentType: string;
  scrape(): Promise<string>;
}

/** ms between two samples of the event loop's delay. At the default of 10 they would be most of what an idle supervisor does. */
const LOOP_SAMPLES = 50;

/** The node's figures in Prometheus' text format, gathered when they are asked for. A metric without a sample is left out. */
export async function createMetrics(operations: Operations): Promise<Metrics> {
  const ofProcess = new Registry();
  collectDefaultMetrics({ register: ofProcess, eventLoopMonitoringPrecision: LOOP_SAMPLES });
  // Without a sample the event loop's delay is no number.
  await setTimeout(2 * LOOP_SAMPLES);
  for (const name of MISNAMED) ofProcess.removeSingleMetric(name);
  return {
    contentType: ofProcess.contentType,
    async scrape() {
      const ofNode = new Registry();
      for (const [name, samples] of Map.groupBy(await gather(operations), ([name]) => name)) {
        const [kind, labelNames, help] = METRICS[name];
        const Metric = kind === "counter" ? Counter : Gauge;
        const metric = new Metric({ name, help, labelNames: [...labelNames], registers: [ofNode] });
        for (const [, labels, value] of samples) metric.inc(labels, value);
      }
      const text = await Registry.merge([ofProcess, ofNode]).metrics();
      return text + handshakeTimes(operations.sessions.tally.handshakes());
    },
  };
}

async function gather(operations: Operations): Promise<Sample[]> {
  const { limits, overload, mint, dns, feeds, tools, supervisor, workers, kernel, store } =
    await operations.statistics();
  return [
    ...ofBuild(operations.version),
    ...ofHealth(await operations.health()),
    ...ofSessions(operations.sessions),
    ...ofEnded(operations.sessions),
    ...ofFigures(operations.figures()),
    ...ofAuthorities(operations.authorities()),
    ...ofLimits(limits),
    ...ofOverload(overload),
    ...ofMint(mint),
    ["clearline_dns_negative_total", {}, dns.negative],
    ["clearline_dns_waiting", {}, dns.waiting],
    ...feeds.flatMap(ofFeed),
    ...tools.flatMap(ofTool),
    ...kernel.map(ofKernel),
    ...(await operations.caches()).flatMap(ofCache),
    ...(store ? ofStore(store) : []),
    ...ofBypasses(operations.bypasses()),
    ...ofKeys(operations.keys()),
    ...ofHistory(operations.history.info()),
    ...ofDelay("supervisor", supervisor.delay),
    ...workers.flatMap(ofWorker),
  ];
}

/** Verdicts and faults are counted of ended sessions only: those of a live session may still change, and a counter never falls. */
function ofSessions(sessions: LiveTable): Sample[] {
  const ended = Object.entries(sessions.endedCounters()).flatMap(([listener, { decided, undecided, faults }]) => [
    ...Object.entries(decided).flatMap(([verdict, phases]) =>
      Object.entries(phases).map(
        ([phase, count]): Sample => ["clearline_sessions_total", { listener, verdict, phase }, count],
      ),
    ),
    ["clearline_sessions_total", { listener, verdict: "none", phase: "none" }, undecided] as const,
    ...Object.entries(faults).map(
      ([fault, count]): Sample => ["clearline_certificate_faults_total", { listener, fault }, count],
    ),
  ]);
  const all = Object.entries(sessions.counters()).flatMap(([listener, counted]): Sample[] => [
    ["clearline_sessions_opened_total", { listener }, counted.total],
    ["clearline_sessions_open", { listener }, counted.open],
    ["clearline_handshake_failures_total", { listener }, counted.handshakeFailures],
    ["clearline_bytes_total", { listener, leg: "client", direction: "received" }, counted.bytes.clientReceived],
    ["clearline_bytes_total", { listener, leg: "client", direction: "sent" }, counted.bytes.clientSent],
    ["clearline_bytes_total", { listener, leg: "server", direction: "received" }, counted.bytes.serverReceived],
    ["clearline_bytes_total", { listener, leg: "server", direction: "sent" }, counted.bytes.serverSent],
  ]);
  return [...ended, ...all];
}

function ofBuild(version: string): Sample[] {
  const { node, openssl } = process.versions;
  return [["clearline_build_info", { version, node, openssl }, 1]];
}

function ofHealth({ status, reasons }: HealthReport): Sample[] {
  const facts = new Map(reasons.map((reason) => [`${reason.fact} ${reason.status}`, reason]));
  return [
    ...(["ready", "degraded", "failing"] as const).map(
      (one): Sample => ["clearline_health", { status: one }, one === status ? 1 : 0],
    ),
    ...[...facts.values()].map(
      (one): Sample => ["clearline_health_reasons", { fact: one.fact, status: one.status }, 1],
    ),
  ];
}

function ofEnded({ tally }: LiveTable): Sample[] {
  return [...tally.ended()].flatMap(({ listener, outcome, cause, sessions }): Sample[] => [
    ["clearline_session_outcomes_total", { listener, outcome }, sessions],
    ...(WELL.includes(outcome)
      ? []
      : [["clearline_session_failures_total", { listener, outcome, cause: cause ?? "unknown" }, sessions] as const]),
  ]);
}

/** What policy wanted. */
const WELL: readonly Outcome[] = ["decrypted", "bypassed", "plaintext", "dropped"];

function ofFigures({ reloads, limits, logDropped, webhooksLost }: Figures): Sample[] {
  const { last, succeeded, failed } = reloads;
  return [
    ["clearline_reloads_total", { result: "success" }, succeeded],
    ["clearline_reloads_total", { result: "failure" }, failed],
    ...(last === undefined ? [] : ofReload(last)),
    ...limits.map(({ limit, sessions }): Sample => ["clearline_limit_sessions", { limit }, sessions]),
    ...logDropped.map(({ target, lines }): Sample => ["clearline_log_lines_dropped_total", { target }, lines]),
    ["clearline_webhook_events_lost_total", {}, webhooksLost],
  ];
}

function ofReload({ succeeded, at, took }: NonNullable<Figures["reloads"]["last"]>): Sample[] {
  return [
    ["clearline_reload_last_successful", {}, succeeded ? 1 : 0],
    ["clearline_reload_last_timestamp_seconds", {}, at / 1000],
    ["clearline_reload_last_duration_seconds", {}, took / 1000],
  ];
}

function ofAuthorities(authorities: readonly AuthorityInfo[]): Sample[] {
  // A CA that is to follow has the same labels, and signs nothing yet.
  const present = authorities.filter(({ stage }) => stage === "present");
  return present.map(({ role, keyType, notAfter }) => [
    "clearline_ca_expiry_timestamp_seconds",
    { role, key_type: keyType },
    notAfter / 1000,
  ]);
}

/** prom-client has no histogram whose counts are known already. */
function handshakeTimes(all: Iterable<HandshakeTimes>): string {
  const name = HANDSHAKE_SECONDS;
  const lines = [...all].flatMap(({ leg, version, within, count, sum }) => {
    const labels = `leg="${leg}",version="${version}"`;
    return [
      ...BUCKETS.map((bound, index) => `${name}_bucket{${labels},le="${bound}"} ${within[index]}`),
      `${name}_bucket{${labels},le="+Inf"} ${count}`,
      `${name}_sum{${labels}} ${sum}`,
      `${name}_count{${labels}} ${count}`,
    ];
  });
  if (lines.length === 0) return "";
  const head = [`# HELP ${name} Time of the TLS handshakes that were completed`, `# TYPE ${name} histogram`];
  return `${[...head, ...lines].join("\n")}\n`;
}

function ofLimits({ sessions, bound, met }: LimitInfo): Sample[] {
  return [
    ["clearline_sessions_capacity", { bound }, sessions],
    ...met.flatMap(({ limit, refused, evicted }): Sample[] => [
      ["clearline_sessions_refused_total", { limit }, refused],
      ["clearline_sessions_evicted_total", { limit }, evicted],
    ]),
  ];
}

function ofOverload({ measures, bypassed, dropped }: OverloadInfo): Sample[] {
  return [
    ["clearline_overload_sessions_total", { action: "bypass" }, bypassed],
    ["clearline_overload_sessions_total", { action: "drop" }, dropped],
    ...measures.map(
      ({ measure, value, threshold }): Sample => ["clearline_overload_load_ratio", { measure }, value / threshold],
    ),
  ];
}

function ofMint({ minted, hits, size }: Statistics["mint"]): Sample[] {
  return [
    ["clearline_certificates_minted_total", {}, minted],
    ["clearline_mint_cache_hits_total", {}, hits],
    ["clearline_mint_cache_size", {}, size],
  ];
}

function ofFeed({ name: feed, kind, state, bytes, packets, dropped }: FeedInfo): Sample[] {
  return [
    ["clearline_feed_running", { feed, kind }, state === "running" ? 1 : 0],
    ["clearline_feed_bytes_total", { feed, kind }, bytes],
    ["clearline_feed_packets_total", { feed, kind }, packets],
    ["clearline_feed_dropped_packets_total", { feed, kind }, dropped],
  ];
}

function ofTool({ name: tool, kind, state, sessions, strangers }: ToolInfo): Sample[] {
  return [
    ["clearline_tool_up", { tool, kind }, state === "up" ? 1 : 0],
    ["clearline_tool_sessions", { tool, kind }, sessions],
    ["clearline_tool_strangers_total", { tool, kind }, strangers],
  ];
}

function ofKernel({ listener, counts, name = "", packets }: KernelCount): Sample {
  return ["clearline_kernel_packets_total", { listener, counts, name }, packets];
}

function ofCache({ name: cache, size, hits, misses }: CacheInfo): Sample[] {
  return [
    ["clearline_cache_entries", { cache }, size],
    ["clearline_cache_hits_total", { cache }, hits],
    ["clearline_cache_misses_total", { cache }, misses],
  ];
}

function ofStore({ state, failures }: StoreInfo): Sample[] {
  return [
    ["clearline_store_connected", {}, state === "connected" ? 1 : 0],
    ["clearline_store_failures_total", {}, failures],
  ];
}

function ofBypasses(bypasses: readonly BypassInfo[]): Sample[] {
  const endless = bypasses.filter(({ expires }) => expires === null).length;
  return [
    ["clearline_bypasses", { end: "set" }, bypasses.length - endless],
    ["clearline_bypasses", { end: "none" }, endless],
  ];
}

function ofKeys(keys: readonly KeyInfo[]): Sample[] {
  const byState = Map.groupBy(keys, (key) => key.state);
  const ends = keys.flatMap(({ notAfter }) => notAfter ?? []);
  const first: Sample[] =
    ends.length === 0 ? [] : [["clearline_key_expiry_timestamp_seconds", {}, Math.min(...ends) / 1000]];
  return first.concat(
    (["valid", "expires soon", "expired", "not yet valid", "waiting"] as const).map((state) => [
      "clearline_keys",
      { state },
      byState.get(state)?.length ?? 0,
    ]),
  );
}

function ofHistory({ state, sessions }: HistoryInfo): Sample[] {
  return [
    ["clearline_history_running", {}, state === "running" ? 1 : 0],
    ["clearline_history_sessions", {}, sessions],
  ];
}

const LEVELS = { none: 0, half: 0.5, all: 1 } as const;

function ofDelay(process: string, delay: WorkerInfo["delay"]): Sample[] {
  return Object.entries(delay ?? {}).map(([stat, ms]) => [
    "clearline_loop_delay_seconds",
    { process, stat },
    ms / 1000,
  ]);
}

function ofWorker({
  id,
  restarts,
  sessions,
  memory,
  heap,
  handles,
  cpu,
  delay,
  engine,
  overload,
}: WorkerInfo): Sample[] {
  const worker = String(id);
  return [
    ["clearline_worker_sessions", { worker }, sessions],
    ["clearline_worker_restarts_total", { worker }, restarts],
    ...(memory === undefined ? [] : [["clearline_worker_memory_bytes", { worker }, memory] as const]),
    ...(heap === undefined ? [] : [["clearline_worker_heap_bytes", { worker }, heap] as const]),
    ...(handles === undefined ? [] : [["clearline_worker_handles", { worker }, handles] as const]),
    ["clearline_worker_cpu_seconds_total", { worker }, cpu],
    ...ofDelay(`worker ${worker}`, delay),
    ...(engine === undefined ? [] : ofEngine(worker, engine)),
    ...(overload === undefined ? [] : [["clearline_overload_level", { worker }, LEVELS[overload]] as const]),
  ];
}

function ofEngine(worker: string, engine: NonNullable<WorkerInfo["engine"]>): Sample[] {
  return [
    ["clearline_engine_ends", { worker }, engine.ends],
    ["clearline_engine_connections", { worker }, engine.connections],
    ["clearline_engine_contexts", { worker }, engine.contexts],
    ["clearline_engine_write_pairs", { worker }, engine.writePairs],
  ];
}
