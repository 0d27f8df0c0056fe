import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { Operations } from "./operations.ts";

type Kind = "counter" | "gauge";
type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

/** Name, kind, labels, help. */
const METRICS = {
  clearline_sessions_total: ["counter", ["listener", "verdict", "phase"], "Sessions that are over"],
  clearline_sessions_opened_total: ["counter", ["listener"], "Sessions that began"],
  clearline_sessions_open: ["gauge", ["listener"], "Sessions that live"],
  clearline_bytes_total: [
    "counter",
    ["listener", "leg", "direction"],
    "Bytes of the sessions, as each leg's peer counts",
  ],
  clearline_handshake_failures_total: ["counter", ["listener"], "Sessions ended by a failed TLS handshake"],
  clearline_certificate_faults_total: [
    "counter",
    ["listener", "fault"],
    "Sessions whose server's certificate was at fault",
  ],
  clearline_certificates_minted_total: ["counter", [], "Certificates issued"],
  clearline_mint_cache_hits_total: ["counter", [], "Certificates presented again instead of issued"],
  clearline_mint_cache_size: ["gauge", [], "Certificates remembered"],
  clearline_feed_running: ["gauge", ["feed", "kind"], "1 while the feed takes what it is given"],
  clearline_feed_bytes_total: ["counter", ["feed", "kind"], "Bytes copied to the feed"],
  clearline_feed_packets_total: ["counter", ["feed", "kind"], "Packets copied to the feed"],
  clearline_feed_dropped_packets_total: ["counter", ["feed", "kind"], "Packets that the feed left out"],
  clearline_tool_up: ["gauge", ["tool", "kind"], "1 unless the inline tool has failed"],
  clearline_tool_sessions: ["gauge", ["tool", "kind"], "Sessions that pass the inline tool"],
  clearline_tool_strangers_total: [
    "counter",
    ["tool", "kind"],
    "What came back from the tool and belonged to no session",
  ],
  clearline_kernel_packets_total: [
    "counter",
    ["listener", "counts", "name"],
    "Packets that the kernel's rules counted",
  ],
  clearline_cache_entries: ["gauge", ["cache"], "What the cache holds"],
  clearline_cache_hits_total: ["counter", ["cache"], "Times the cache had what was looked for"],
  clearline_cache_misses_total: ["counter", ["cache"], "Times it had not"],
  clearline_store_connected: ["gauge", [], "1 while the store that nodes share can be used"],
  clearline_store_failures_total: ["counter", [], "Questions that the store did not answer, or not in time"],
  clearline_keys: ["gauge", ["state"], "Keys of inbound servers, by the state of their certificates"],
  clearline_history_running: ["gauge", [], "1 while ended sessions are kept"],
  clearline_history_sessions: ["gauge", [], "Sessions in the history"],
  clearline_worker_sessions: ["gauge", ["worker"], "Sessions that the worker carries"],
  clearline_worker_restarts_total: ["counter", ["worker"], "Times the worker was started again"],
  clearline_worker_memory_bytes: ["gauge", ["worker"], "Resident memory of the worker"],
  clearline_worker_cpu_seconds_total: ["counter", ["worker"], "CPU time used by the worker"],
} as const satisfies Record<string, readonly [Kind, readonly string[], string]>;

type Name = keyof typeof METRICS;

/** The node's figures in Prometheus' text format, gathered when they are asked for. */
export function createMetrics(operations: Operations): { contentType: string; scrape(): Promise<string> } {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const metrics = new Map<string, Counter | Gauge>();
  for (const [name, [kind, labelNames, help]] of Object.entries(METRICS)) {
    const Metric = kind === "counter" ? Counter : Gauge;
    metrics.set(name, new Metric({ name, help, labelNames: [...labelNames], registers: [registry] }));
  }
  return {
    contentType: registry.contentType,
    async scrape() {
      const samples = await gather(operations);
      for (const [name, values] of samples) {
        const metric = metrics.get(name)!;
        metric.reset();
        for (const [labels, value] of values) metric.inc(labels, value);
      }
      return registry.metrics();
    },
  };
}

async function gather(operations: Operations): Promise<Map<Name, Sample[]>> {
  const samples = new Map<Name, Sample[]>();
  const add = (name: Name, labels: Sample[0], value: number | undefined) => {
    const values = samples.get(name) ?? [];
    samples.set(name, values);
    if (value !== undefined) values.push([labels, value]);
  };
  const { mint, feeds, tools, workers, kernel, store } = await operations.statistics();
  addSessions(operations, add);
  add("clearline_certificates_minted_total", {}, mint.minted);
  add("clearline_mint_cache_hits_total", {}, mint.hits);
  add("clearline_mint_cache_size", {}, mint.size);
  for (const { name: feed, kind, state, bytes, packets, dropped } of feeds) {
    add("clearline_feed_running", { feed, kind }, state === "running" ? 1 : 0);
    add("clearline_feed_bytes_total", { feed, kind }, bytes);
    add("clearline_feed_packets_total", { feed, kind }, packets);
    add("clearline_feed_dropped_packets_total", { feed, kind }, dropped);
  }
  for (const { name: tool, kind, state, sessions, strangers } of tools) {
    add("clearline_tool_up", { tool, kind }, state === "up" ? 1 : 0);
    add("clearline_tool_sessions", { tool, kind }, sessions);
    add("clearline_tool_strangers_total", { tool, kind }, strangers);
  }
  for (const { listener, counts, name, packets } of kernel) {
    add("clearline_kernel_packets_total", { listener, counts, name: name ?? "" }, packets);
  }
  for (const { name: cache, size, hits, misses } of await operations.caches()) {
    add("clearline_cache_entries", { cache }, size);
    add("clearline_cache_hits_total", { cache }, hits);
    add("clearline_cache_misses_total", { cache }, misses);
  }
  if (store) {
    add("clearline_store_connected", {}, store.state === "connected" ? 1 : 0);
    add("clearline_store_failures_total", {}, store.failures);
  }
  const byState = Map.groupBy(operations.keys(), (key) => key.state);
  for (const state of ["valid", "expires soon", "expired", "not yet valid", "waiting"] as const) {
    add("clearline_keys", { state }, byState.get(state)?.length ?? 0);
  }
  const { state, sessions } = operations.history.info();
  add("clearline_history_running", {}, state === "running" ? 1 : 0);
  add("clearline_history_sessions", {}, sessions);
  for (const { id, restarts, memory, cpu, sessions } of workers) {
    const worker = String(id);
    add("clearline_worker_sessions", { worker }, sessions);
    add("clearline_worker_restarts_total", { worker }, restarts);
    add("clearline_worker_memory_bytes", { worker }, memory);
    add("clearline_worker_cpu_seconds_total", { worker }, cpu);
  }
  return samples;
}

/** Verdicts are counted of ended sessions only: a live one's may still change, and a counter must never fall. */
function addSessions(operations: Operations, add: (name: Name, labels: Sample[0], value: number) => void): void {
  for (const [listener, { decided, undecided }] of Object.entries(operations.sessions.endedCounters())) {
    for (const [verdict, phases] of Object.entries(decided)) {
      for (const [phase, sessions] of Object.entries(phases)) {
        add("clearline_sessions_total", { listener, verdict, phase }, sessions);
      }
    }
    add("clearline_sessions_total", { listener, verdict: "none", phase: "none" }, undecided);
  }
  for (const [listener, { open, total, bytes, faults, handshakeFailures }] of Object.entries(
    operations.sessions.counters(),
  )) {
    add("clearline_sessions_opened_total", { listener }, total);
    add("clearline_sessions_open", { listener }, open);
    add("clearline_handshake_failures_total", { listener }, handshakeFailures);
    add("clearline_bytes_total", { listener, leg: "client", direction: "received" }, bytes.clientReceived);
    add("clearline_bytes_total", { listener, leg: "client", direction: "sent" }, bytes.clientSent);
    add("clearline_bytes_total", { listener, leg: "server", direction: "received" }, bytes.serverReceived);
    add("clearline_bytes_total", { listener, leg: "server", direction: "sent" }, bytes.serverSent);
    for (const [fault, sessions] of Object.entries(faults)) {
      add("clearline_certificate_faults_total", { listener, fault }, sessions);
    }
  }
}
