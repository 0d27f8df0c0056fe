import { z } from "zod";
import type * as api from "./api.ts";

/** The answers' shapes for the OpenAPI document; `satisfies` holds them to the types that the CLI and the console use. */

const time = z.int().describe("ms since the epoch");
const bytes = z.int().nonnegative().describe("bytes");
const endpoint = z.object({ address: z.string(), port: z.int() });
const action = z.enum(["decrypt", "bypass", "drop"]);
const phase = z.enum(["network", "sni", "certificate"]);
const left = z.enum(["closed", "reset"]).nullable();
const end = z.enum(["INIT", "SYN_SENT", "SYN_RCV", "EST"]);

export const failure = z.object({
  error: z.string(),
  path: z.exactOptional(z.string()).describe("the part of the request, or of the configuration, that is wrong"),
  errors: z.exactOptional(z.array(z.object({ error: z.string(), path: z.string() })).readonly()),
}) satisfies z.ZodType<api.ApiError>;

const leg = z.object({
  version: z.exactOptional(z.string()),
  suite: z.exactOptional(z.string()),
  group: z.exactOptional(z.string()),
  alpn: z.exactOptional(z.string().nullable()),
  resumed: z.exactOptional(z.boolean()),
  received: bytes,
  sent: bytes,
}) satisfies z.ZodType<api.LegRecord>;

const revocation = z.object({
  status: z.enum(["good", "revoked", "unknown", "exempt"]),
  from: z.enum(["stapled", "ocsp", "crl"]).nullable(),
  cached: z.boolean(),
  reason: z.string().nullable(),
  thisUpdate: time.nullable(),
  nextUpdate: time.nullable(),
}) satisfies z.ZodType<api.RevocationRecord>;

const certificate = z.object({
  subject: z.string(),
  issuer: z.string(),
  names: z.array(z.string()).readonly(),
  sha256: z.string(),
  notBefore: time.nullable(),
  notAfter: time.nullable(),
  faults: z.array(z.object({ fault: z.string(), code: z.string() })).readonly(),
  revocation: z.exactOptional(revocation).describe("absent: nobody was asked"),
}) satisfies z.ZodType<api.CertificateRecord>;

const presented = z.object({
  authority: z.enum(["primary", "secondary", "inbound"]),
  serial: z.string(),
  sha256: z.string(),
  keyType: z.string(),
}) satisfies z.ZodType<api.PresentedRecord>;

export const session = z.object({
  id: z.string(),
  worker: z.int(),
  listener: z.string(),
  mode: z.string(),
  state: z.templateLiteral([end, ":", end, ":", end, ":", end]).describe("Na:Nb:Ta:Tb"),
  client: endpoint,
  server: endpoint.nullable(),
  seenAs: endpoint.nullable(),
  protocol: z.enum(["tls", "http", "other"]).nullable(),
  startTls: z
    .object({
      protocol: z.string(),
      outcome: z.enum(["upgraded", "refused", "withdrawn"]),
      at: time.nullable(),
    })
    .nullable(),
  sni: z.string().nullable(),
  connectHost: z.string().nullable(),
  ech: z.enum(["outer", "inner"]).nullable(),
  ja3: z.string().nullable(),
  ja4: z.string().nullable(),
  deployment: z.enum(["outbound", "inbound"]).nullable(),
  certificate: certificate.nullable(),
  presented: presented.nullable(),
  verdict: action.nullable(),
  phase: phase.nullable(),
  rule: z.string().nullable(),
  reason: z.string().nullable(),
  clientLeg: leg,
  serverLeg: leg,
  tools: z.array(z.object({ name: z.string(), state: z.enum(["connected", "bypassed"]) })).readonly(),
  feeds: z.record(z.string(), z.string()).readonly(),
  start: time,
  lastActivity: time,
  end: time.nullable(),
  closeReason: z.string().nullable(),
  clientLeft: left,
  serverLeft: left,
}) satisfies z.ZodType<api.Session>;

export const sessionList = z.object({
  sessions: z.array(session).readonly(),
  more: z.boolean(),
}) satisfies z.ZodType<api.SessionList>;

export const fleetSessions = z.object({
  nodes: z.array(sessionList.extend({ name: z.string(), since: time, answered: z.boolean() })).readonly(),
}) satisfies z.ZodType<api.FleetSessions>;

const number = z.number();
const phases = z.object({ network: number, sni: number, certificate: number });

const counters = z.record(
  z.string(),
  z.object({
    open: number,
    total: number,
    decided: z.object({ decrypt: phases, bypass: phases, drop: phases }),
    undecided: number,
    faults: z.record(z.string(), number),
    handshakeFailures: number,
    bytes: z.object({ clientReceived: bytes, clientSent: bytes, serverReceived: bytes, serverSent: bytes }),
  }),
) satisfies z.ZodType<api.Counters>;

const worker = z.object({
  id: z.int(),
  pid: z.int(),
  startedAt: time,
  restarts: z.int(),
  sessions: z.int(),
  memory: z.exactOptional(bytes),
  cpu: z.exactOptional(number).describe("seconds"),
}) satisfies z.ZodType<api.WorkerInfo>;

const listener = z.object({
  name: z.string(),
  mode: z.string(),
  address: z.string(),
}) satisfies z.ZodType<api.ListenerInfo>;

const running = z.enum(["running", "stopped"]);
const mint = z.object({ minted: number, hits: number, size: number }) satisfies z.ZodType<api.MintInfo>;

const feed = z.object({
  name: z.string(),
  kind: z.string(),
  state: running,
  reason: z.string().optional(),
  sessions: number,
  packets: number,
  bytes,
  dropped: number,
}) satisfies z.ZodType<api.FeedInfo>;

const tool = z.object({
  name: z.string(),
  kind: z.enum(["inline", "proxy"]),
  state: z.enum(["up", "down"]),
  since: time,
  reason: z.string().optional(),
  onFailure: z.enum(["bypass", "drop"]),
  sessions: number,
  strangers: number,
}) satisfies z.ZodType<api.ToolInfo>;

export const stats = z.object({
  version: z.string(),
  startedAt: time,
  sessions: z.object({ live: number }),
  counters,
  workers: z.array(worker).readonly(),
  listeners: z.array(listener).readonly(),
  mint,
  feeds: z.array(feed).readonly(),
  tools: z.array(tool).readonly(),
  kernel: z
    .array(
      z.object({
        listener: z.string(),
        counts: z.string(),
        name: z.string().optional(),
        packets: number,
        bytes: number,
      }),
    )
    .readonly(),
  store: z
    .object({ state: z.enum(["connected", "alone"]), reason: z.string().optional(), failures: z.int() })
    .optional(),
  history: z.object({ state: running, reason: z.string().optional(), sessions: number }),
}) satisfies z.ZodType<api.Stats>;

export const health = z.object({
  status: z.literal("ok"),
  version: z.string(),
  store: z.exactOptional(z.enum(["connected", "alone"])),
}) satisfies z.ZodType<api.Health>;

const policyEntry = z.object({ phase, group: z.string(), name: z.string(), action: z.string() });

export const policyOrder = z.object({ order: z.array(policyEntry).readonly() }) satisfies z.ZodType<api.PolicyOrder>;

const verdict = z.object({
  action,
  phase,
  rule: z.string(),
  reason: z.string(),
  provisional: z.boolean(),
}) satisfies z.ZodType<api.Verdict>;

export const explanation = z.object({
  entries: z.array(policyEntry.extend({ truth: z.union([z.boolean(), z.literal("unknown")]) })).readonly(),
  verdict,
}) satisfies z.ZodType<api.Explanation>;

export const role = z.enum(["primary", "secondary"]) satisfies z.ZodType<api.AuthorityRole>;
export const keyType = z.enum(["ecdsa", "rsa"]) satisfies z.ZodType<api.KeyType>;

export const authority = z.object({
  role,
  keyType,
  subject: z.string(),
  serial: z.string(),
  sha256: z.string(),
  notBefore: time,
  notAfter: time,
  origin: z.enum(["made", "given"]),
}) satisfies z.ZodType<api.AuthorityInfo>;

export const key = z.object({
  id: z.string(),
  hosts: z.array(z.string()).readonly(),
  keyType: z.string(),
  sha256: z.string().nullable(),
  notAfter: time.nullable(),
  origin: z.enum(["configuration", "added"]),
  state: z.enum(["valid", "expires soon", "expired", "not yet valid", "waiting"]),
}) satisfies z.ZodType<api.KeyInfo>;

export const generatedKey = z.object({
  key,
  request: z.string().nullable().describe("PKCS#10 in PEM; null: the certificate is self-signed"),
}) satisfies z.ZodType<api.GeneratedKey>;

export const cache = z.object({
  name: z.string(),
  size: z.int(),
  limit: z.int(),
  hits: z.int(),
  misses: z.int(),
}) satisfies z.ZodType<api.CacheInfo>;

export const reloaded = z.object({ changes: z.array(z.string()).readonly() }) satisfies z.ZodType<api.Reloaded>;
