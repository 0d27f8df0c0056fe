import { ConfigError, InvariantError } from "../errors.ts";
import type { Session } from "../sessions/record.ts";
import { Ring, readSeries } from "../sessions/series.ts";
import { openSession } from "../sessions/session.ts";
import { type Applied, LiveTable, type SessionChange } from "../sessions/table.ts";
import type { ExplainQuery, Explanation, KeyInfo, LogLine, Statistics, ViewAsk } from "./api.ts";
import { openAudit } from "./audit.ts";
import { Disk } from "./disk.ts";
import { type History, openHistory } from "./history.ts";
import type { Operations } from "./operations.ts";

/** For tests: a real table and a real history, with fixed answers to everything else. */
export interface TestOperations extends Operations {
  readonly sessions: LiveTable;
  readonly history: History;
  /** What its health is. */
  state: "degraded" | "failing";
  /** Writes a line into the log. */
  write(level: LogLine["level"], message: string): void;
  /** Applies the changes that a worker would report. */
  apply(...changes: SessionChange[]): void;
}

export const QUIET = { info() {}, warn() {}, error() {} };
const STARTED = 1_790_000_000_000;

/** A thread that serves all of a test file. It holds no process open. */
export const disk = new Disk();

export function createTestOperations(file = ":memory:"): TestOperations {
  const sessions = new LiveTable();
  const history = openHistory({ file, disk, keepAge: 1e15, keepSessions: 1e6, log: QUIET });
  const listeners = new Set<(applied: Applied) => void>();
  const lines: LogLine[] = [];
  return {
    version: "0.0.0-test",
    startedAt: STARTED,
    sessions,
    history,
    audit: openAudit({ file: ":memory:", disk, keepAge: 1e15, keepEntries: 1e5, log: QUIET }),
    log: {
      get last() {
        return lines.length;
      },
      since: (number) => lines.slice(number),
    },
    write(level, message) {
      lines.push({ number: lines.length + 1, time: STARTED, level, pid: 1, message, fields: { tool: "ips" } });
    },
    apply(...changes) {
      const applied = sessions.apply(changes);
      history.record(applied.closed);
      for (const listener of listeners) listener(applied);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    endSession: (id) => sessions.find(id)?.end === null,
    statistics: async () => statisticsOf(sessions.size),
    figures: () => ({
      reloads: { succeeded: 2, failed: 1, last: { succeeded: false, at: STARTED, took: 250 } },
      limits: [{ limit: "limits.sessions", sessions: 20_000 }],
      logDropped: [{ target: "stderr", lines: 3 }],
      webhooksLost: 0,
    }),
    series: (query) => readSeries(new Ring(), query),
    explain,
    explainSession: ({ id, start, outcome, verdict, phase, rule, reason, closeReason }) => ({
      ...{ session: id, start, facts: [{ name: "listener", value: "proxy" }], differs: true, unsure: null },
      decided: { verdict, phase, rule, reason, monitored: null, outcome, cause: null, blame: null, closeReason },
      today: { verdict: "drop", phase: "sni", rule: "ads", reason: "The rule says so", entries: [] },
    }),
    policyOrder: () => ({
      order: [{ phase: "sni", group: "bypass list", name: "bypass.txt", action: "bypass", hits: { hour: 1, day: 2 } }],
      hitsSince: STARTED,
    }),
    lists: async (find) => {
      const place = { path: "policy.lists.bypass[0]", name: "bypass.txt", file: "/etc/clearline/bypass.txt" };
      const matches = find === undefined ? [] : [`*.${find}`];
      return { lists: [{ kind: "bypass", ...place, read: STARTED, stale: false, entries: 3, matches }] };
    },
    authorities: () => AUTHORITIES,
    authorityPem: (role, keyType) => (role === "primary" ? `-----BEGIN ${keyType}-----\n` : undefined),
    offeredCertificates: () => OFFERED,
    renewAuthority: async () => AUTHORITIES,
    makeNextAuthority: async () => AUTHORITIES,
    activateAuthority: async () => AUTHORITIES,
    destroyAuthority: async (role) => (role === "primary" ? 2 : 0),
    ...createTestKeys(),
    caches: async () => [{ name: "mint", size: 3, limit: 1000, hits: 5, misses: 3 }],
    flushCaches: async (name) => name === undefined || name === "mint",
    suggestions: () => [],
    state: "degraded",
    async health() {
      return { status: this.state, reasons: [REASON] };
    },
    examine: async ({ version }) => [
      { name: "node", status: "ok", says: `Version ${version} runs` },
      { name: "dns", status: "warning", says: "No server answers", remedy: "Mend the way to it" },
    ],
    previewPolicy: async () => {
      throw new InvariantError("No test previews here");
    },
    bypasses: () => [],
    async addBypass({ time, ...wanted }) {
      if (wanted.entry === "full.example") throw new ConfigError("dataDir", "Cannot add a bypass: no space left");
      const expires = time === null ? null : STARTED + time;
      const dates = { made: STARTED, expires, remaining: time };
      const bypass = { id: "0000000a", kind: "host", ...wanted, ...dates, hits: 0, lastHit: null } as const;
      return { bypass, replaced: null, notes: [] };
    },
    removeBypass: async (id) => (id === "0000000a" ? { id, entry: "app.example" } : undefined),
    fleetNodes: async () => ({
      store: null,
      nodes: [
        {
          ...{
            name: "one",
            since: STARTED,
            self: true,
            answered: true,
            version: "0.0.0-test",
            api: "http://127.0.0.1:1",
          },
          ...{ live: sessions.size, outcomes: null, health: { status: "ready", reasons: [] } },
        },
      ],
    }),
    fleetSessions: async () => ({
      nodes: [{ name: "one", since: 0, answered: true, sessions: [], more: false, foundByCertificate: [] }],
    }),
    view,
    reload: async () => ({ changes: ['Listener "web" was added'], warnings: [] }),
  };
}

function statisticsOf(sessions: number): Statistics {
  const tool = { name: "ips", kind: "inline", state: "down", since: STARTED, reason: "Nothing came back" } as const;
  return {
    supervisor: {
      pid: 4710,
      memory: 90_000_000,
      heap: 40_000_000,
      handles: 12,
      cpu: 2.5,
      delay: { p50: 0.1, p99: 1.5, max: 20 },
    },
    workers: [{ id: 0, pid: 4711, startedAt: STARTED, restarts: 0, sessions, cpu: 1.5 }],
    listeners: [{ name: "proxy", mode: "explicit", address: "127.0.0.1:8080" }],
    limits: {
      sessions: 20_000,
      bound: "limits.sessions",
      met: [{ limit: "limits.perClient.sessions", refused: 4, evicted: 2 }],
    },
    overload: {
      level: "half",
      action: "bypass",
      workers: [0],
      measures: [{ measure: "eventLoopDelay", worker: 0, value: 230, threshold: 250, level: "half" }],
      bypassed: 12,
      dropped: 0,
    },
    mint: { minted: 3, hits: 5, size: 3 },
    dns: { hits: 9, misses: 4, negative: 2, waiting: 1, size: 3 },
    feeds: [
      {
        name: "archive",
        kind: "pcapng",
        state: "running",
        sessions: 1,
        packets: 10,
        bytes: 1000,
        dropped: 2,
        changes: [],
      },
    ],
    tools: [
      {
        ...tool,
        onFailure: "drop",
        sessions: 0,
        strangers: 2,
        changes: [{ at: STARTED, works: false, reason: tool.reason }],
      },
    ],
    kernel: [{ listener: "edge", counts: "row", name: "guests", packets: 7, bytes: 420 }],
    reload: { at: STARTED, ok: false, error: 'policy.default is "dorp"' },
    versions: { min: "TLSv1.2", max: "TLSv1.3" },
  };
}

const REASON = {
  fact: "history",
  status: "degraded",
  reason: "Sessions are not recorded: ENOSPC",
  remedy: "Give the data folder room",
} as const;

function explain({ host, server }: ExplainQuery): Explanation {
  if (server === "127.0.0.1:1") throw new ConfigError("server", "No listener leads there");
  const entry = { phase: "sni", group: "bypass list", name: "bypass.txt", action: "bypass" } as const;
  const verdict = { action: "decrypt", phase: "certificate", rule: "default", reason: "Nothing else" } as const;
  return {
    entries: [{ ...entry, truth: host === undefined ? "unknown" : host === "bank.example" }],
    verdict: { ...verdict, provisional: false },
    assumed: ["The client sends CONNECT"],
    otherwise: ["Not TLS: passes unchanged"],
  };
}

/** Answers what it was asked, and holds no session but "held". */
async function* view(ask: ViewAsk): AsyncGenerator<string> {
  if ("session" in ask && ask.session !== "held")
    throw Object.assign(new Error("The view does not hold it"), { statusCode: 404 });
  yield JSON.stringify(ask);
}

const AUTHORITY = {
  subject: "CN=Clearline Primary CA 1a2b",
  serial: "01",
  sha256: "ab".repeat(32),
  notBefore: STARTED,
  notAfter: 2_100_000_000_000,
  origin: "made",
  stage: "present",
} as const;
const AUTHORITIES = [
  { ...AUTHORITY, role: "primary", keyType: "ecdsa" },
  { ...AUTHORITY, role: "primary", keyType: "rsa" },
] as const;

const OFFERED = AUTHORITIES.map((one) => ({
  ...one,
  isRoot: true,
  pem: `-----BEGIN CERTIFICATE-----\n${one.keyType === "rsa" ? "AQI=" : "AQM="}\n-----END CERTIFICATE-----\n`,
}));

/** Keys that are kept in memory. One whose text is not PEM is refused with two errors. */
function createTestKeys(): Pick<Operations, "keys" | "addKey" | "generateKey" | "removeKey"> {
  const keys: KeyInfo[] = [];
  return {
    keys: () => keys,
    async addKey({ hosts = [], key = "" }) {
      const wrong = [new ConfigError("key", "The key is not the certificate's"), new ConfigError("hosts", "No host")];
      if (!key.includes("BEGIN")) throw new AggregateError(wrong);
      const dates = { notAfter: 2e12, state: "valid" } as const;
      keys.push({ id: "k1", hosts, keyType: "ecdsa", sha256: "cd".repeat(32), ...dates, origin: "added" });
      return keys.at(-1)!;
    },
    async generateKey({ hosts, keyType }) {
      const dates = { sha256: null, notAfter: null, origin: "added", state: "waiting" } as const;
      return { key: { id: "k2", hosts, keyType, ...dates }, request: "-----BEGIN CERTIFICATE REQUEST-----\n" };
    },
    removeKey: async (id) => keys.splice(0, keys.length, ...keys.filter((key) => key.id !== id)).length > keys.length,
  };
}

/** A session as a worker would report it. */
export function testSession(id: string, start: number, news: Partial<Session> = {}): Session {
  const client = { address: "192.0.2.7", port: 50000 };
  const birth = { id, worker: 0, listener: "proxy", mode: "explicit", client, server: null } as const;
  return { ...openSession({ ...birth, state: "EST:INIT:INIT:INIT" }, start), ...news };
}
