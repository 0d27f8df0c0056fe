import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { LiveTable } from "../sessions/table.ts";
import type {
  CacheInfo,
  FeedInfo,
  HistoryInfo,
  KernelCount,
  KeyInfo,
  LimitInfo,
  Statistics,
  StoreInfo,
  ToolInfo,
  WorkerInfo,
} from "./api.ts";
import type { Operations } from "./operations.ts";

type Kind = "counter" | "gauge";

/** Name, kind, labels, help. */
const METRICS = {
  clearline_sessions_total: ["counter", ["listener", "verdict", "phase"], "Sessions that ended"],
  clearline_sessions_opened_total: ["counter", ["listener"], "Sessions that began"],
  clearline_sessions_open: ["gauge", ["listener"], "Live sessions"],
  clearline_bytes_total: [
    "counter",
    ["listener", "leg", "direction"],
    "Bytes of the sessions, by leg and by direction as the node sees it",
  ],
  clearline_handshake_failures_total: ["counter", ["listener"], "Sessions ended by a failed TLS handshake"],
  clearline_certificate_faults_total: [
    "counter",
    ["listener", "fault"],
    "Ended sessions whose server's certificate had this fault",
  ],
  clearline_sessions_capacity: ["gauge", ["bound"], "Sessions that the node carries at most, by what bounds them"],
  clearline_sessions_refused_total: ["counter", ["limit"], "Connections refused because this limit was met"],
  clearline_sessions_evicted_total: ["counter", ["limit"], "Sessions ended for others because this limit was met"],
  clearline_certificates_minted_total: ["counter", [], "Certificates issued"],
  clearline_mint_cache_hits_total: ["counter", [], "Certificates presented again instead of issued"],
  clearline_mint_cache_size: ["gauge", [], "Certificates in the cache"],
  clearline_feed_running: ["gauge", ["feed", "kind"], "1 while the feed runs, 0 when it has stopped"],
  clearline_feed_bytes_total: ["counter", ["feed", "kind"], "Bytes copied to the feed"],
  clearline_feed_packets_total: ["counter", ["feed", "kind"], "Packets copied to the feed"],
  clearline_feed_dropped_packets_total: ["counter", ["feed", "kind"], "Packets that the feed left out"],
  clearline_tool_up: ["gauge", ["tool", "kind"], "1 while the inline tool works, 0 when it has failed"],
  clearline_tool_sessions: ["gauge", ["tool", "kind"], "Sessions that pass the inline tool"],
  clearline_tool_strangers_total: [
    "counter",
    ["tool", "kind"],
    "Connections and packets from the tool that belonged to no session",
  ],
  clearline_kernel_packets_total: [
    "counter",
    ["listener", "counts", "name"],
    "Packets that the kernel's rules counted",
  ],
  clearline_cache_entries: ["gauge", ["cache"], "Entries in the cache"],
  clearline_cache_hits_total: ["counter", ["cache"], "Look-ups that found an entry"],
  clearline_cache_misses_total: ["counter", ["cache"], "Look-ups that found none"],
  clearline_dns_negative_total: ["counter", [], "Look-ups of names that found a failure in the cache"],
  clearline_dns_waiting: ["gauge", [], "Look-ups of names that wait for an answer"],
  clearline_store_connected: [
    "gauge",
    [],
    "1 while the shared store answers, 0 while it does not; absent without a store",
  ],
  clearline_store_failures_total: ["counter", [], "Requests that the shared store did not answer, or not in time"],
  clearline_keys: ["gauge", ["state"], "Keys of inbound servers, by the state of their certificates"],
  clearline_history_running: ["gauge", [], "1 while ended sessions are written to the history"],
  clearline_history_sessions: ["gauge", [], "Sessions in the history"],
  clearline_worker_sessions: ["gauge", ["worker"], "Sessions that the worker carries"],
  clearline_worker_restarts_total: ["counter", ["worker"], "Times the worker was started again"],
  clearline_worker_memory_bytes: ["gauge", ["worker"], "Resident memory of the worker"],
  clearline_worker_cpu_seconds_total: ["counter", ["worker"], "CPU time used by the worker, over all restarts"],
  clearline_engine_ends: ["gauge", ["worker"], "TCP connections and listening sockets of the worker"],
  clearline_engine_connections: ["gauge", ["worker"], "TLS connections of OpenSSL's (SSL) in the worker"],
  clearline_engine_contexts: ["gauge", ["worker"], "TLS contexts of OpenSSL's (SSL_CTX) in the worker"],
  clearline_engine_write_pairs: ["gauge", ["worker"], "TLS connections with bytes that their peers do not take"],
} as const satisfies Record<string, readonly [Kind, readonly string[], string]>;

type Name = keyof typeof METRICS;
type Sample = readonly [name: Name, labels: Readonly<Record<string, string>>, value: number];

/** The node's figures in Prometheus' text format, gathered when they are asked for. A metric without a sample is left out. */
export function createMetrics(operations: Operations): { contentType: string; scrape(): Promise<string> } {
  const ofProcess = new Registry();
  collectDefaultMetrics({ register: ofProcess });
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
      return Registry.merge([ofProcess, ofNode]).metrics();
    },
  };
}

async function gather(operations: Operations): Promise<Sample[]> {
  const { limits, mint, dns, feeds, tools, workers, kernel, store } = await operations.statistics();
  return [
    ...ofSessions(operations.sessions),
    ...ofLimits(limits),
    ...ofMint(mint),
    ["clearline_dns_negative_total", {}, dns.negative],
    ["clearline_dns_waiting", {}, dns.waiting],
    ...feeds.flatMap(ofFeed),
    ...tools.flatMap(ofTool),
    ...kernel.map(ofKernel),
    ...(await operations.caches()).flatMap(ofCache),
    ...(store ? ofStore(store) : []),
    ...ofKeys(operations.keys()),
    ...ofHistory(operations.history.info()),
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

function ofLimits({ sessions, bound, met }: LimitInfo): Sample[] {
  return [
    ["clearline_sessions_capacity", { bound }, sessions],
    ...met.flatMap(({ limit, refused, evicted }): Sample[] => [
      ["clearline_sessions_refused_total", { limit }, refused],
      ["clearline_sessions_evicted_total", { limit }, evicted],
    ]),
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

function ofKeys(keys: readonly KeyInfo[]): Sample[] {
  const byState = Map.groupBy(keys, (key) => key.state);
  return (["valid", "expires soon", "expired", "not yet valid", "waiting"] as const).map((state) => [
    "clearline_keys",
    { state },
    byState.get(state)?.length ?? 0,
  ]);
}

function ofHistory({ state, sessions }: HistoryInfo): Sample[] {
  return [
    ["clearline_history_running", {}, state === "running" ? 1 : 0],
    ["clearline_history_sessions", {}, sessions],
  ];
}

function ofWorker({ id, restarts, sessions, memory, cpu, engine }: WorkerInfo): Sample[] {
  const worker = String(id);
  return [
    ["clearline_worker_sessions", { worker }, sessions],
    ["clearline_worker_restarts_total", { worker }, restarts],
    ...(memory === undefined ? [] : [["clearline_worker_memory_bytes", { worker }, memory] as const]),
    ["clearline_worker_cpu_seconds_total", { worker }, cpu],
    ...(engine === undefined ? [] : ofEngine(worker, engine)),
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
