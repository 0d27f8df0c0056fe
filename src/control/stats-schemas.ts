import { z } from "zod";
import { counters } from "../sessions/counters.ts";
import { time } from "../sessions/record.ts";
import { LIMIT_NAMES, LOADS, LOG_LEVELS, OUTCOMES, OVERLOAD_LEVELS, VERSIONS, type Version } from "../vocabulary.ts";

/** The shapes of what the node says of itself: GET /stats and GET /health. */

const amount = z.int().nonnegative();

const delay = z
  .exactOptional(
    z
      .object({ p50: z.number(), p99: z.number(), max: z.number() })
      .describe(
        "ms that its event loop did things later than it should, over the last 10 s: median, 99th percentile, most",
      ),
  )
  .describe("absent: the process has only begun");

const supervisor = z
  .object({
    pid: z.int(),
    memory: amount.describe("resident memory in bytes"),
    heap: amount.describe("bytes of JavaScript's objects, with garbage that was not collected yet"),
    handles: amount.describe("timers, sockets and other things that its event loop waits for"),
    cpu: z.number().describe("seconds of CPU time that it has used"),
    delay,
  })
  .describe("the process that holds the CA keys, the table of sessions, the history and the API");

const level = z.enum(OVERLOAD_LEVELS);

const worker = z.object({
  id: z.int(),
  pid: z.int(),
  startedAt: time,
  restarts: amount.describe("how often this worker was started again"),
  sessions: amount.describe("sessions that it carries now"),
  memory: z.exactOptional(amount).describe("resident memory in bytes; absent until the worker first reports"),
  heap: z
    .exactOptional(amount)
    .describe("bytes of JavaScript's objects, with garbage that was not collected yet; absent until it first reports"),
  handles: z
    .exactOptional(amount)
    .describe("timers, pipes and other things that its event loop waits for; absent until it first reports"),
  cpu: z.number().describe("seconds of CPU time that it has used, over all restarts"),
  delay,
  overload: z
    .exactOptional(level)
    .describe(
      "how many of its new sessions it does not decrypt because it is overloaded; absent until it first reports",
    ),
  engine: z.exactOptional(
    z
      .object({
        ends: amount.describe("TCP connections and listening sockets"),
        connections: amount.describe("TLS connections of OpenSSL's (SSL)"),
        contexts: amount.describe("TLS contexts of OpenSSL's (SSL_CTX)"),
        writePairs: amount.describe("TLS connections with bytes that their peers do not take"),
      })
      .describe("what the worker's engine holds now; absent until the worker first reports"),
  ),
});

const listener = z.object({
  name: z.string(),
  mode: z.string(),
  address: z.string().describe("where it listens; inline: its interfaces"),
});

const limits = z
  .object({
    sessions: amount.describe("the most sessions that the node carries at one time, in all workers"),
    bound: z
      .string()
      .describe(
        "what bounds them: limits.sessions; open files: descriptors of a process; memory: of the machine or cgroup",
      ),
    met: z
      .array(
        z.object({
          limit: z.string().describe(LIMIT_NAMES.join(", ")),
          refused: amount.describe("connections that were refused"),
          evicted: amount.describe("sessions that were ended for others"),
        }),
      )
      .readonly()
      .describe("the limits that were met since the node started"),
  })
  .describe("how many sessions the node can carry, and what happened when that was not enough");

const overload = z
  .object({
    level: level.describe("how many of the new sessions are not decrypted, in the worker that has most to do"),
    action: z.enum(["bypass", "drop"]).describe("what becomes of them: overload.action"),
    workers: z.array(z.int()).readonly().describe("the workers that are overloaded"),
    measures: z
      .array(
        z.object({
          measure: z.enum(LOADS).describe("by its setting in overload"),
          worker: z.int().describe("the worker that is nearest to the threshold, or farthest beyond"),
          value: z.number().describe("eventLoopDelay: ms; newSessions: in the last second; the others: parts of 1"),
          threshold: z.number().describe("in the same unit, for this worker"),
          level: level.describe("what it makes of the node: none, half or all of the new sessions are not decrypted"),
        }),
      )
      .readonly()
      .describe("those that have a threshold"),
    bypassed: amount.describe("new sessions that were bypassed for it since the node started"),
    dropped: amount.describe("new sessions that were dropped for it since the node started"),
  })
  .describe("whether the node can decrypt all new sessions");

const mint = z.object({
  minted: amount.describe("certificates issued"),
  hits: amount.describe("times an issued certificate was presented again"),
  size: amount.describe("certificates in the cache"),
});

const dns = z
  .object({
    hits: amount.describe("look-ups of names that found an answer, or one that was being asked for"),
    misses: amount.describe("look-ups that asked the DNS"),
    negative: amount.describe("of the hits, those that found a failure, which is kept for a few seconds"),
    waiting: amount.describe("look-ups that wait for an answer now"),
    size: amount.describe("names whose answers are kept, in all workers"),
  })
  .describe("the names of servers that the workers looked up");

const stopReason = z.string().optional().describe("why it stopped");

const changes = z
  .array(
    z.object({
      at: time.describe("in ms since the epoch"),
      works: z.boolean().describe("true: from then on it worked again; false: it failed"),
      reason: z.string().nullable().describe("why it failed, in one sentence; null: it worked again"),
    }),
  )
  .readonly()
  .describe("when it failed and worked again since the node started, the newest first, at most 20");

const feed = z.object({
  name: z.string(),
  kind: z.string(),
  state: z.enum(["running", "stopped"]).describe("stopped: in one worker at least"),
  reason: stopReason,
  sessions: amount.describe("sessions that were copied to it"),
  packets: amount.describe("packets written"),
  bytes: amount.describe("bytes written, with what the format adds"),
  dropped: amount.describe("packets left out: the feed was stopped, or its reader was too slow"),
  changes,
});

const tool = z.object({
  name: z.string(),
  kind: z.enum(["inline", "proxy"]),
  state: z.enum(["up", "down"]).describe("down: it has failed, and onFailure applies"),
  since: time.describe("since when it is in this state, in ms since the epoch"),
  reason: z.string().optional().describe("why it failed last"),
  onFailure: z.enum(["bypass", "drop"]),
  sessions: amount.describe("sessions that pass it now"),
  strangers: amount.describe("connections and packets from the tool that belong to no live session; they are dropped"),
  changes,
});

const kernelCount = z.object({
  listener: z.string().describe("empty: the whole machine"),
  counts: z
    .string()
    .describe(
      "row: new connections that a rule or list of the network phase decided; accepted: SYNs handed to a worker; " +
        "refused: SYNs answered with a RST; unserved: SYNs that no worker took; quic: UDP packets to port 443 that were refused; " +
        "impossible: TCP packets dropped for flags that no TCP sends together, or hidden in their frames; midStream: packets of connections that began " +
        "before the node; asymmetric: packets of connections of which one direction crosses the node; tagged: frames with a VLAN tag; " +
        "vlan: those of one VLAN that the configuration does not name; fragments: packets whose fragments never made a whole; " +
        "linkLocal: SYNs from or to link-local addresses, which cross a bridge; signed: SYNs to port 179 and SYNs of signed TCP, which are forwarded; unsigned: answers to signed SYNs that were not signed and were dropped",
    ),
  name: z.string().optional().describe("the rule or list of a row; the VLAN"),
  packets: amount,
  bytes: amount,
});

const store = z.object({
  state: z.enum(["connected", "alone"]),
  reason: z.string().optional().describe("why this node works alone"),
  failures: amount.describe("requests that the store did not answer, or not in time"),
});

const history = z.object({
  state: z.enum(["running", "stopped"]),
  reason: stopReason,
  sessions: amount.describe("sessions in the history"),
});

const reason = z.object({
  fact: z.enum([
    "workers",
    "overload",
    "descriptors",
    "tools",
    "feeds",
    "log",
    "history",
    "store",
    "authorities",
    "keys",
    "disk",
    "rules",
    "conntrack",
    "clock",
  ]),
  status: z.enum(["degraded", "failing"]).describe("what this fact alone makes of the node"),
  reason: z.exactOptional(z.string()).describe("one sentence; only with the token"),
  remedy: z.exactOptional(z.string()).describe("what to do, in words; only with the token"),
});

const report = {
  status: z
    .enum(["ready", "degraded", "failing"])
    .describe("degraded: it carries sessions, but not all is well; failing: it should get no traffic"),
  store: z
    .exactOptional(z.enum(["connected", "alone"]))
    .describe("whether the shared store answers; absent: resumption.shared is not set"),
};

/** The texts of the reasons are for those who have the token. */
export const health = z.object({
  ...report,
  version: z.string(),
  reasons: z.array(reason).readonly().describe("the worst first; empty: the node is ready"),
});
const healthReport = z.object({ ...report, reasons: z.array(reason.required()).readonly() }).describe("as GET /health");

/** For probes that look at the status code. */
export const live = z.object({ status: z.literal("live") });

const reload = z
  .object({
    at: time.describe("when it ended, in ms since the epoch"),
    ok: z.boolean().describe("false: it failed, and the node kept the configuration that it had"),
    error: z.string().nullable().describe("the first of its errors; null: it succeeded"),
  })
  .nullable()
  .describe("the last reload of the configuration file; null: there was none since the node started");

const version = z.enum(Object.keys(VERSIONS) as [Version, ...Version[]]);
const versions = z
  .object({ min: version, max: version })
  .describe("policy.versions: the oldest and the newest version that is decrypted");

export const stats = z.object({
  version: z.string(),
  startedAt: time,
  health: healthReport,
  sessions: z.object({ live: amount }),
  counters,
  supervisor,
  workers: z.array(worker).readonly(),
  listeners: z.array(listener).readonly(),
  limits,
  overload,
  mint,
  dns,
  feeds: z.array(feed).readonly(),
  tools: z.array(tool).readonly(),
  kernel: z
    .array(kernelCount)
    .readonly()
    .describe("what the kernel's rules counted for the inline listeners; empty without such listeners"),
  store: store.optional().describe("the store that several nodes share; absent: resumption.shared is not set"),
  history,
  reload,
  versions,
});

const ended = OUTCOMES.filter((outcome) => outcome !== "live");

export const fleetNodeInfo = z.object({
  name: z.string().describe("resumption.node, or the machine's name"),
  since: time.describe("when the node started, in ms since the epoch"),
  self: z.boolean().describe("true: the node that answers"),
  answered: z.boolean().describe("false: it did not answer in time, or is of an earlier version; what follows is null"),
  version: z.string().nullable(),
  api: z.string().nullable().describe("the URL of its API: https://10.0.0.5:8484"),
  live: amount.nullable().describe("sessions that are live"),
  outcomes: z
    .record(z.enum(ended), amount)
    .nullable()
    .describe("sessions that ended in the last hour, but for the last 10 s, by their outcome"),
  health: z
    .object({
      status: z.enum(["ready", "degraded", "failing"]),
      reasons: z
        .array(reason.pick({ fact: true, status: true }))
        .readonly()
        .describe("the worst first"),
    })
    .nullable(),
});

export const fleetNodes = z.object({
  store: z
    .enum(["connected", "alone"])
    .nullable()
    .describe("whether the shared store answers; null: resumption.shared is not set, and there is this node only"),
  nodes: z
    .array(fleetNodeInfo)
    .readonly()
    .describe("this node first, then every other node that reported to the store within the last 15 s"),
});

const doctorStatus = z.enum(["ok", "warning", "bad"]);

export const doctorReport = z.object({
  status: doctorStatus.describe("the worst of all checks"),
  checks: z
    .array(
      z.object({
        name: z.string().describe("what was looked at: clock, dns, disk, ports…; several checks may have one name"),
        status: doctorStatus,
        says: z.string().describe("what was found, in one sentence"),
        remedy: z.string().optional().describe("what to do, in words; absent: nothing is to be done"),
      }),
    )
    .readonly(),
});

const logLine = z.object({
  number: z.int().positive().describe("from 1 in each run of the node"),
  time: time.nullable().describe("in ms since the epoch; null: the line does not say"),
  level: z.enum(LOG_LEVELS),
  pid: z.int().nullable().describe("the process that wrote it: the supervisor or a worker"),
  message: z.string(),
  fields: z.record(z.string(), z.unknown()).describe("everything else that the line says"),
});

export const logList = z.object({
  lines: z.array(logLine).readonly().describe("the oldest first; the node keeps 1,000 in memory"),
});

/** An event of GET /log/events. They are sent four times a second. */
export const logEvents = z.object({
  lines: z.array(logLine).readonly(),
  dropped: amount.describe("lines left out because this client reads too slowly, or came back too late"),
});
