/** The metrics of the node, in Prometheus' terms. */

type Kind = "counter" | "gauge";

/** Name, kind, labels, help. */
export const METRICS = {
  clearline_sessions_total: ["counter", ["listener", "verdict", "phase"], "Sessions that ended"],
  clearline_sessions_opened_total: ["counter", ["listener"], "Sessions that began"],
  clearline_sessions_open: ["gauge", ["listener"], "Live sessions"],
  clearline_bytes_total: [
    "counter",
    ["listener", "leg", "direction"],
    "Bytes of the sessions, by leg and by direction as the node sees it",
  ],
  clearline_build_info: [
    "gauge",
    ["version", "node", "openssl"],
    "1, with the versions of the node and of what it runs on",
  ],
  clearline_health: ["gauge", ["status"], "1 for what the node is: ready, degraded or failing"],
  clearline_health_reasons: ["gauge", ["fact", "status"], "What makes the node less than ready"],
  clearline_session_outcomes_total: ["counter", ["listener", "outcome"], "Sessions that ended, by how"],
  clearline_session_failures_total: ["counter", ["listener", "outcome", "cause"], "Sessions that failed, by why"],
  clearline_handshake_failures_total: ["counter", ["listener"], "Sessions ended by a failed TLS handshake"],
  clearline_certificate_faults_total: [
    "counter",
    ["listener", "fault"],
    "Ended sessions whose server's certificate had this fault",
  ],
  clearline_sessions_capacity: ["gauge", ["bound"], "Sessions that the node carries at most, by what bounds them"],
  clearline_limit_sessions: ["gauge", ["limit"], "Sessions that a limit of the configuration allows"],
  clearline_sessions_refused_total: ["counter", ["limit"], "Connections refused because this limit was met"],
  clearline_sessions_evicted_total: ["counter", ["limit"], "Sessions ended for others because this limit was met"],
  clearline_overload_level: [
    "gauge",
    ["worker"],
    "How much of the new sessions the overloaded worker does not decrypt: 0, 0.5 or 1",
  ],
  clearline_overload_sessions_total: ["counter", ["action"], "New sessions that were not decrypted for overload"],
  clearline_overload_load_ratio: [
    "gauge",
    ["measure"],
    "What is measured, in parts of its threshold, in the worker that has most of it",
  ],
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
  clearline_ca_expiry_timestamp_seconds: ["gauge", ["role", "key_type"], "When the CA's certificate ends"],
  clearline_key_expiry_timestamp_seconds: ["gauge", [], "When the first of the inbound keys' certificates ends"],
  clearline_reloads_total: ["counter", ["result"], "Times the configuration was loaded again, or could not be"],
  clearline_reload_last_successful: [
    "gauge",
    [],
    "1 if the last reload succeeded, 0 if it failed; absent before the first",
  ],
  clearline_reload_last_timestamp_seconds: ["gauge", [], "When the last reload ended"],
  clearline_reload_last_duration_seconds: ["gauge", [], "How long the last reload took"],
  clearline_log_lines_dropped_total: [
    "counter",
    ["target"],
    "Log lines that were left out because the target is slow or away",
  ],
  clearline_webhook_events_lost_total: ["counter", [], "Events that a webhook did not take"],
  clearline_bypasses: ["gauge", ["end"], "Bypasses added by command that are in force, by whether they have an end"],
  clearline_keys: ["gauge", ["state"], "Keys of inbound servers, by the state of their certificates"],
  clearline_history_running: ["gauge", [], "1 while ended sessions are written to the history"],
  clearline_history_sessions: ["gauge", [], "Sessions in the history"],
  clearline_worker_sessions: ["gauge", ["worker"], "Sessions that the worker carries"],
  clearline_worker_restarts_total: ["counter", ["worker"], "Times the worker was started again"],
  clearline_worker_memory_bytes: ["gauge", ["worker"], "Resident memory of the worker"],
  clearline_worker_heap_bytes: ["gauge", ["worker"], "JavaScript's heap of the worker in use"],
  clearline_worker_handles: ["gauge", ["worker"], "Timers, pipes and other things that the worker's loop waits for"],
  clearline_worker_cpu_seconds_total: ["counter", ["worker"], "CPU time used by the worker, over all restarts"],
  clearline_loop_delay_seconds: [
    "gauge",
    ["process", "stat"],
    "How late the event loop of a process was in the last 10 s: median, 99th percentile, most",
  ],
  clearline_engine_ends: ["gauge", ["worker"], "TCP connections and listening sockets of the worker"],
  clearline_engine_connections: ["gauge", ["worker"], "TLS connections of OpenSSL's (SSL) in the worker"],
  clearline_engine_contexts: ["gauge", ["worker"], "TLS contexts of OpenSSL's (SSL_CTX) in the worker"],
  clearline_engine_write_pairs: ["gauge", ["worker"], "TLS connections with bytes that their peers do not take"],
} as const satisfies Record<string, readonly [Kind, readonly string[], string]>;

/** Gauges of prom-client's whose names end as counters' do, which promtool refuses. */
export const MISNAMED = [
  "nodejs_active_handles_total",
  "nodejs_active_requests_total",
  "nodejs_active_resources_total",
];

type Name = keyof typeof METRICS;
export type Sample = readonly [name: Name, labels: Readonly<Record<string, string>>, value: number];

/** The histogram of handshakes, which prom-client cannot make of what is counted already. */
export const HANDSHAKE_SECONDS = "clearline_handshake_seconds";
