import { isIP } from "node:net";
import { z } from "zod";
import { counters } from "../sessions/counters.ts";
import { action, phase, session, time } from "../sessions/record.ts";
import { LIMIT_NAMES } from "../vocabulary.ts";

/**
 * The shapes of the REST API: what requests are checked against, and what the OpenAPI document says. `api.ts` infers the
 * types from them. An answer is not checked against its schema: the types hold the code to it.
 */

const amount = z.int().nonnegative();

const placeInFile = {
  line: z.exactOptional(z.int().positive()).describe("the line in the configuration file"),
  column: z.exactOptional(z.int().positive()).describe("the column in that line, from 1"),
};

/** Any answer that is not 2xx. */
export const failure = z.object({
  error: z.string().describe("what could not be done and why, in one sentence"),
  path: z.exactOptional(z.string()).describe("the part of the request, or of the configuration, that is wrong"),
  ...placeInFile,
  errors: z
    .exactOptional(z.array(z.object({ error: z.string(), path: z.string(), ...placeInFile })).readonly())
    .describe("all of them, when there are several"),
});

export const sessionList = z.object({
  sessions: z.array(session).readonly().describe("live sessions before closed ones, the newest first"),
  more: z.boolean().describe("true: more sessions match than the limit allows"),
  foundByCertificate: z
    .array(z.string())
    .readonly()
    .describe("IDs of the sessions whose client named another host: only a name of the certificate is the wanted one"),
});

export const fleetSessions = z.object({
  nodes: z
    .array(
      sessionList.extend({
        name: z.string(),
        since: time.describe("when the node started, in ms since the epoch"),
        answered: z.boolean().describe("false: it did not answer in time, and its sessions are not known"),
      }),
    )
    .readonly()
    .describe("this node first, then every other node that reported to the store within the last 15 s"),
});

const worker = z.object({
  id: z.int(),
  pid: z.int(),
  startedAt: time,
  restarts: amount.describe("how often this worker was started again"),
  sessions: amount.describe("sessions that it carries now"),
  memory: z.exactOptional(amount).describe("resident memory in bytes; absent until the worker first reports"),
  cpu: z.number().describe("seconds of CPU time that it has used, over all restarts"),
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

const mint = z.object({
  minted: amount.describe("certificates issued"),
  hits: amount.describe("times an issued certificate was presented again"),
  size: amount.describe("certificates in the cache"),
});

const stopReason = z.string().optional().describe("why it stopped");

const feed = z.object({
  name: z.string(),
  kind: z.string(),
  state: z.enum(["running", "stopped"]).describe("stopped: in one worker at least"),
  reason: stopReason,
  sessions: amount.describe("sessions that were copied to it"),
  packets: amount.describe("packets written"),
  bytes: amount.describe("bytes written, with what the format adds"),
  dropped: amount.describe("packets left out: the feed was stopped, or its reader was too slow"),
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
});

const kernelCount = z.object({
  listener: z.string(),
  counts: z
    .string()
    .describe(
      "row: new connections that a rule or list of the network phase decided; accepted: SYNs handed to a worker; " +
        "refused: SYNs answered with a RST; unserved: SYNs that no worker took; quic: UDP packets to port 443 that were refused; " +
        "impossible: TCP packets dropped for flags that no TCP sends together; midStream: packets of connections that began " +
        "before the node; asymmetric: packets of connections of which one direction crosses the node; tagged: frames with a VLAN tag; " +
        "signed: SYNs to port 179 and SYNs of signed TCP, which are forwarded; unsigned: answers to signed SYNs that were not signed and were dropped",
    ),
  name: z.string().optional().describe("the rule or list of a row"),
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

export const stats = z.object({
  version: z.string(),
  startedAt: time,
  sessions: z.object({ live: amount }),
  counters,
  workers: z.array(worker).readonly(),
  listeners: z.array(listener).readonly(),
  limits,
  mint,
  feeds: z.array(feed).readonly(),
  tools: z.array(tool).readonly(),
  kernel: z
    .array(kernelCount)
    .readonly()
    .describe("what the kernel's rules counted for the inline listeners; empty without such listeners"),
  store: store.optional().describe("the store that several nodes share; absent: resumption.shared is not set"),
  history,
});

export const health = z.object({
  status: z.literal("ok"),
  version: z.string(),
  store: z
    .exactOptional(z.enum(["connected", "alone"]))
    .describe(
      "whether the shared store answers; absent: resumption.shared is not set. A node that is alone is healthy",
    ),
});

export const suggestion = z.object({
  client: z.string().describe("the client's address"),
  host: z.string().describe("the SNI, the CONNECT host or the server's address"),
  port: z.int(),
  refusals: amount.describe("sessions that the client ended at the certificate, without one that worked in between"),
  how: z
    .record(z.string(), amount)
    .readonly()
    .describe("how often in which way: by the alert, such as unknown_ca; left: it left at once, without a word"),
  first: time,
  last: time,
  bypassedUntil: time
    .nullable()
    .describe("until when policy.learn bypasses the host for this client; null: it does not"),
  remedy: z.string().describe("what to do, in a sentence"),
});

export const cache = z.object({
  name: z.string(),
  size: amount.describe("entries now"),
  limit: amount.describe("most entries"),
  hits: amount,
  misses: amount,
});

/** What to explain: a flow of which any part may be unknown. */
export const flow = z.strictObject({
  host: z.string().min(1).max(253).optional().describe("the SNI or CONNECT host"),
  client: z.string().refine(isIP, "not an IPv4 or IPv6 address").optional().describe("the client's address"),
  server: z
    .string()
    .refine(isEndpoint, "not an address with a port such as 10.0.0.5:443")
    .optional()
    .describe("the server's address and port: 10.0.0.5:443"),
  listener: z.string().optional().describe("the name of a listener"),
  vlan: z.string().max(9).optional().describe("the VLAN that it comes by: 10, 100/10, untagged"),
  alpn: z.string().max(1024).optional().describe("the protocols that the client offers by ALPN: h2,http/1.1"),
});

export const flowWithCertificate = flow.extend({
  certificatePem: z
    .string()
    .max(256 * 1024)
    .optional()
    .describe("the server's certificate in PEM; the first of several"),
});

function isEndpoint(text: string): boolean {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const known = bracketed === undefined ? isIP(plain ?? "") === 4 : isIP(bracketed) === 6;
  return known && Number(port) >= 1 && Number(port) <= 65535;
}

const policyEntry = z.object({
  phase,
  group: z
    .string()
    .describe("drop rules, bypass list, decrypt list, bypass rules, decrypt rules, issuer rules, default…"),
  name: z.string(),
  action: z.string(),
});

export const policyOrder = z.object({
  order: z.array(policyEntry).readonly().describe("in the order in which they are evaluated"),
});

const verdict = z.object({
  action,
  phase,
  rule: z.string().describe("the rule, list or built-in that decides"),
  reason: z.string().describe("why, in one sentence"),
  provisional: z.boolean().describe("true: a later phase may still bypass or drop"),
});

export const explanation = z.object({
  entries: z
    .array(
      policyEntry.extend({
        truth: z
          .union([z.boolean(), z.literal("unknown")])
          .describe("whether it applies; unknown: it depends on a fact that was not given"),
      }),
    )
    .readonly()
    .describe("every step of the evaluation, in order; the first one of a phase that applies decides the phase"),
  verdict,
  assumed: z
    .array(z.string())
    .readonly()
    .describe("what the query does not say and the explanation depends on, one sentence each"),
  otherwise: z
    .array(z.string())
    .readonly()
    .describe(
      "what becomes of it if it is not TLS, or TLS that cannot be decrypted; what would decrypt TLS behind plaintext",
    ),
});

export const role = z.enum(["primary", "secondary"]);
export const keyType = z.enum(["ecdsa", "rsa"]);

export const authority = z.object({
  role,
  keyType,
  subject: z.string(),
  serial: z.string().describe("lower-case hex"),
  sha256: z.string().describe("SHA-256 of the DER, in lower-case hex"),
  notBefore: time,
  notAfter: time,
  origin: z.enum(["made", "given"]).describe("made: by the node itself; given: by the configuration"),
});

export const key = z.object({
  id: z.string(),
  hosts: z.array(z.string()).readonly(),
  keyType: z.string().describe("ecdsa, rsa or ed25519"),
  sha256: z.string().nullable().describe("SHA-256 of the certificate's DER; null: it has no certificate yet"),
  notAfter: time.nullable().describe("when the certificate expires, in ms since the epoch; null: it has none yet"),
  origin: z.enum(["configuration", "added"]).describe("added: by the API or `clearline keys`"),
  state: z
    .enum(["valid", "expires soon", "expired", "not yet valid", "waiting"])
    .describe("waiting: the node made the key, and its certificate was not added yet"),
});

/** A text that an error must not show. */
function secret(longest: number) {
  return z.string().refine(({ length }) => length <= longest, `is longer than ${longest} characters`);
}

const hosts = z.array(z.string().min(1).max(253)).min(1).max(1000).describe("names, wildcards, addresses");

/** Certificate and key, or PKCS#12; or a certificate alone, when the node already holds its key. */
export const newKey = z.strictObject({
  hosts: hosts.optional().describe("names, wildcards, addresses; absent: those that the certificate names"),
  certificate: secret(256 * 1024)
    .min(1)
    .optional()
    .describe("PEM, the leaf first; the key may be in the same text"),
  key: secret(256 * 1024)
    .min(1)
    .optional()
    .describe("PEM; absent: the node already holds the key"),
  pkcs12: secret(512 * 1024)
    .refine((text) => /^[A-Za-z\d+/]+={0,2}$/.test(text), "is not base64")
    .optional()
    .describe("PKCS#12 in base64, instead of certificate and key"),
  passphrase: secret(1024).optional().describe("the passphrase that encrypts the key or the PKCS#12 file"),
});

export const newKeyRequest = z.strictObject({
  hosts,
  keyType: z.enum(["ecdsa", "rsa", "ed25519"]).default("ecdsa"),
  selfSignedDays: z
    .int()
    .min(1)
    .max(3650)
    .optional()
    .describe("for how many days a self-signed certificate is valid; absent: a CA will sign it"),
});

export const generatedKey = z.object({
  key,
  request: z.string().nullable().describe("PKCS#10 in PEM, for the CA; null: the certificate is self-signed"),
});

export const reloaded = z.object({
  changes: z.array(z.string()).readonly().describe("one sentence each; empty: nothing has changed"),
});

/** An event of GET /events. They are sent four times a second, each with at most 100 sessions of either kind. */
export const sessionEvents = z.object({
  live: z.array(session).readonly().describe("opened or changed since the last event, in their latest form"),
  closed: z.array(session).readonly(),
  dropped: amount.describe("changes left out because this client reads too slowly: fetch the list again"),
});
