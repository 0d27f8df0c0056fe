import { isIP } from "node:net";
import { z } from "zod";
import { action, phase, session, time } from "../sessions/record.ts";
import { AUDIT_OUTCOMES, AUDITED_ACTIONS, CALLER_ROLES } from "../vocabulary.ts";

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

const foundSessions = z.object({
  sessions: z
    .array(session)
    .readonly()
    .describe("live and closed sessions in one order, by their start: the newest first"),
  more: z.boolean().describe("true: more sessions match than the limit allows"),
  foundByCertificate: z
    .array(z.string())
    .readonly()
    .describe("IDs of the sessions whose client named another host: only a name of the certificate is the wanted one"),
});

export const sessionList = foundSessions.extend({
  next: z
    .string()
    .nullable()
    .describe("the `cursor` for what follows; sessions that begin meanwhile shift nothing. null: there are no more"),
});

export const fleetSessions = z.object({
  nodes: z
    .array(
      foundSessions.extend({
        name: z.string(),
        since: time.describe("when the node started, in ms since the epoch"),
        answered: z.boolean().describe("false: it did not answer in time, and its sessions are not known"),
      }),
    )
    .readonly()
    .describe("this node first, then every other node that reported to the store within the last 15 s"),
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
    .describe("drop rules, bypass list, bypasses, decrypt list, bypass rules, decrypt rules, issuer rules, default…"),
  name: z.string(),
  action: z.string(),
});

const hits = z
  .object({
    hour: amount.describe("sessions of the last hour, to 5 minutes"),
    day: amount.describe("sessions of the last 24 hours, or since `hitsSince`"),
  })
  .describe(
    "the sessions that it decided; under policy.monitor, would have decided. Connections that the kernel forwards itself are no sessions: " +
      "GET /stats counts them",
  );

export const policyOrder = z.object({
  order: z.array(policyEntry.extend({ hits })).readonly().describe("in the order in which they are evaluated"),
  hitsSince: time.describe("since when hits are counted: the node's start, in ms since the epoch"),
});

export const listInfos = z.object({
  lists: z
    .array(
      z.object({
        kind: z.enum(["bypass", "decrypt"]),
        path: z.string().describe("where the configuration names it: policy.lists.bypass[0]"),
        name: z.string().describe("the file's name without its folders"),
        file: z.string(),
        entries: amount,
        read: time.describe("when the node read it, in ms since the epoch"),
        stale: z.boolean().describe("true: the file was changed or removed since, and the next reload reads it"),
        matches: z
          .array(z.string())
          .readonly()
          .describe("the entries that match what `find` names, the most specific first; without `find`, empty"),
      }),
    )
    .readonly()
    .describe("in the order of the configuration"),
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
        reason: z
          .exactOptional(z.string())
          .describe("of a bypass with an end that applies: whose it is, what it bypasses, until when and why"),
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
  stage: z.enum(["present", "next"]).describe("present: it signs; next: it will once it is activated"),
});

export const destroyed = z.object({ keys: z.int().describe("how many private keys were destroyed") });

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

const tokenName = z.string().regex(/^[A-Za-z0-9][\w.-]{0,63}$/, "not 1 to 64 letters, digits, or any of . _ -");
const callerRole = z
  .enum(CALLER_ROLES)
  .describe(
    "viewer: reads; operator: also flushes, reloads, bypasses and looks at plaintext; administrator: also keys, CAs and tokens",
  );

export const token = z.object({
  name: z.string(),
  role: callerRole,
  made: time.describe("when it was made, in ms since the epoch"),
  until: time.nullable().describe("when it expires, in ms since the epoch; null: never"),
  by: z.string().describe("the caller who made it"),
  lastUsed: time.nullable().describe("in ms since the epoch; null: not since the node started"),
});

export const newToken = z.strictObject({
  name: tokenName.describe("the name that the audit log has for it"),
  role: callerRole,
  validSeconds: z
    .int()
    .min(60)
    .max(3650 * 86_400)
    .optional()
    .describe("for how many seconds it is valid; absent: until it is removed"),
});

export const shownToken = token.extend({ token: z.string().describe("the token itself, which is shown only here") });

export const loginState = z.object({
  name: z.string().describe("the name of the token; oidc:NAME: a user who logged in by OpenID Connect"),
  role: z.enum(CALLER_ROLES),
  csrf: z
    .string()
    .nullable()
    .describe(
      "what a browser sends in the header x-csrf-token with what changes something; null: no browser is logged in",
    ),
  until: time.nullable().describe("when the log-in ends; it ends after 30 min without a request, too; null: no log-in"),
});

export const loginWays = z.object({
  token: z.literal(true).describe("POST /login with a token"),
  oidc: z
    .object({
      path: z.string().describe("where a browser goes; with ?to=/PLACE it comes back to that place of the console"),
      issuer: z.string().describe("the URL of the provider"),
    })
    .nullable()
    .describe("OpenID Connect; null: console.oidc is not set"),
});

export const auditEntry = z.object({
  number: z
    .int()
    .positive()
    .describe("rises by one with each entry; a gap means that entries were removed from the file"),
  time: time.describe("when it began, in ms since the epoch"),
  who: z
    .string()
    .describe(
      "the name of the caller's token; oidc:NAME: a user of OpenID Connect; owner: the token in the data folder; SIGHUP: the signal",
    ),
  role: callerRole,
  address: z.string().nullable().describe("where the request came from; null: a signal on this machine"),
  action: z.string().describe(AUDITED_ACTIONS.join(", ")),
  subject: z.string().nullable().describe("what it was about: a name, a host, an ID; null: the node as a whole"),
  outcome: z
    .enum(AUDIT_OUTCOMES)
    .describe("begun: under way, or the node ended first; refused: the caller's role did not allow it"),
  detail: z.string().nullable().describe("why it failed or was refused"),
});

export const auditList = z.object({
  entries: z.array(auditEntry).readonly().describe("the newest first"),
  more: z.boolean().describe("true: more entries match than the limit allows"),
});

export const reloaded = z.object({
  changes: z.array(z.string()).readonly().describe("one sentence each; empty: nothing has changed"),
  warnings: z
    .array(z.string())
    .readonly()
    .describe("what works and should still be looked at, such as a list that may be cut off: one sentence each"),
});

/** An event of GET /events. They are sent four times a second, each with at most 100 sessions of either kind. */
export const sessionEvents = z.object({
  live: z.array(session).readonly().describe("opened or changed since the last event, in their latest form"),
  closed: z.array(session).readonly(),
  dropped: amount.describe("changes left out because this client reads too slowly: fetch the list again"),
});

const bytes = amount.describe("bytes");
const moment = time.nullable().describe("in ms since the epoch; null: not yet");

const transaction = z.object({
  session: z.string().describe("the session's ID"),
  number: z.int().positive().describe("from 1 in each session"),
  client: z.string().describe("address and port"),
  server: z.string().describe("address and port"),
  method: z.string(),
  url: z.string().describe("at most 2,048 characters of it"),
  version: z.string().describe("HTTP/1.0, HTTP/1.1 or HTTP/2"),
  status: z.int().nullable().describe("null: no response has come"),
  requestType: z.string().nullable().describe("the media type of the request's body"),
  responseType: z.string().nullable().describe("the media type of the response's body"),
  responseEncoding: z.string().nullable().describe("the response's Content-Encoding"),
  requestBytes: bytes.describe("bytes of the request's body, as it was sent"),
  responseBytes: bytes.describe("bytes of the response's body, as it was sent"),
  started: time.describe("in ms since the epoch"),
  requestEnded: moment,
  responseStarted: moment,
  ended: moment,
  state: z.enum(["open", "complete", "aborted"]),
  problem: z.string().nullable().describe("why it was not completed"),
  messages: z
    .object({ client: amount, server: amount })
    .nullable()
    .describe("messages of a WebSocket from either side; null: it is none"),
});

export const transactionList = z.object({
  transactions: z.array(transaction).readonly().describe("the newest first"),
  sessions: amount.describe("sessions that the view reads now"),
  leftBehind: amount.describe("sessions that the view could not follow, since it started"),
  held: bytes.describe("bytes of plaintext that the view holds in memory"),
});

/** An event of GET /sessions/{id}/follow. */
export const viewPart = z.object({
  exchange: amount.describe("the transaction's number in the session; 0: it is about the session"),
  from: z.enum(["client", "server", "view"]).describe("whose bytes these are; view: a note of the view"),
  kind: z.enum(["head", "body", "message", "note"]).describe("message: one of a WebSocket"),
  text: z.string().describe("a head has one field a line; a body comes in pieces, decoded"),
});
