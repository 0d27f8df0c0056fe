import { z } from "zod";
import { ACTIONS, BLAMES, OUTCOMES, PHASES, type Side } from "../vocabulary.ts";
import { CAUSES } from "./causes.ts";

/**
 * The session record: its schema, from which its types and the API's document follow. The flow imports the types only, so
 * that a worker does not load the schema.
 */

/** A type inferred from a schema, read-only all the way down: answers and records are replaced, never changed. */
export type Frozen<Shape> = { readonly [Key in keyof Shape]: Frozen<Shape[Key]> };

export const time = z.int().describe("ms since the epoch");
const bytes = z.int().nonnegative();
export const endpoint = z.object({
  address: z.string().describe("IPv4 or IPv6, without brackets"),
  port: z.int(),
});
export const action = z.enum(ACTIONS);
export const phase = z
  .enum(PHASES)
  .describe("network: decided on the SYN; sni: on the ClientHello; certificate: on the server's certificate");

/** Of one of the node's four TCP ends: docs/glossary.md. */
const end = z.enum(["INIT", "SYN_SENT", "SYN_RCV", "EST"]);
const state = z
  .templateLiteral([end, ":", end, ":", end, ":", end])
  .describe("the states of the node's four TCP ends, Na:Nb:Ta:Tb, such as EST:EST:INIT:INIT");

const leg = z
  .object({
    version: z.exactOptional(z.string()).describe("TLSv1.3; absent until the handshake is complete"),
    unfinished: z
      .exactOptional(z.literal(true))
      .describe("true: the handshake did not finish; version, suite and group are those of the ServerHello"),
    suite: z.exactOptional(z.string()).describe("IANA's name: TLS_AES_128_GCM_SHA256"),
    group: z.exactOptional(z.string()).describe("IANA's name: X25519MLKEM768"),
    alpn: z.exactOptional(z.string().nullable()).describe("h2; null: none was agreed"),
    resumed: z.exactOptional(z.boolean()).describe("true: the handshake resumed an earlier session"),
    alertReceived: z
      .exactOptional(z.string())
      .describe("the last TLS alert of this leg's peer, by IANA's name: close_notify; at the end of the session"),
    alertSent: z.exactOptional(z.string()).describe("the last TLS alert that the node's TLS sent to it, alike"),
    received: bytes.describe("bytes from this leg's peer: of plaintext, or as they are when not decrypted"),
    sent: bytes.describe("bytes to this leg's peer, counted alike"),
  })
  .describe("one of the two connections: what was negotiated on it, and what passed");

const revocation = z.object({
  status: z
    .enum(["good", "revoked", "unknown", "exempt"])
    .describe("unknown: no source could answer; exempt: this certificate has no source and needs none"),
  from: z
    .enum(["stapled", "ocsp", "crl"])
    .nullable()
    .describe(
      "stapled: a response that the server sent; ocsp: the issuer's responder; crl: the issuer's list; null: none",
    ),
  cached: z.boolean().describe("true: the answer is one that an earlier session received"),
  reason: z.string().nullable().describe("why it was revoked, or why the status is unknown"),
  thisUpdate: time.nullable().describe("when the issuer made the statement, in ms since the epoch"),
  nextUpdate: time.nullable().describe("until when it holds, in ms since the epoch"),
});

const certificate = z
  .object({
    subject: z.string(),
    issuer: z.string(),
    names: z.array(z.string()).readonly().describe("DNS names and addresses that it is for; the first 64 of many"),
    nameCount: z.exactOptional(z.int()).describe("how many names it has; absent: all are in `names`"),
    sha256: z.string().describe("SHA-256 of the DER, in lower-case hex"),
    sha1: z.exactOptional(z.string()).describe("SHA-1 of the DER, alike, as Suricata names certificates"),
    serial: z.exactOptional(z.string()).describe("the serial number in lower-case hex"),
    notBefore: time.nullable().describe("ms since the epoch; null: the date cannot be read"),
    notAfter: time.nullable().describe("ms since the epoch; null: the date cannot be read"),
    faults: z
      .array(z.object({ fault: z.string(), code: z.string().describe("OpenSSL's code, or the node's own") }))
      .readonly()
      .describe("everything that is wrong with it; empty: it is valid"),
    revocation: z.exactOptional(revocation).describe("absent: its revocation was not checked"),
  })
  .describe("the server's certificate");

const presented = z
  .object({
    authority: z
      .enum(["primary", "secondary", "inbound"])
      .describe("the CA that signed it; inbound: it is the server's own, whose key the node holds"),
    serial: z.string(),
    sha256: z.string().describe("SHA-256 of the DER, in lower-case hex"),
    keyType: z.string(),
  })
  .describe("the certificate that the node presented to the client");

const startTls = z
  .object({
    protocol: z
      .string()
      .describe("SMTP, CONNECT…; the last one when there were several; unknown: no dialogue was understood"),
    outcome: z
      .enum(["upgraded", "refused", "withdrawn"])
      .describe("refused: the server does not offer TLS; withdrawn: it offered TLS earlier and no longer does"),
    at: time.nullable().describe("when both sides agreed to use TLS, in ms since the epoch; null: they did not"),
  })
  .describe("how a session that began in plaintext came to TLS");

const proxyHeader = z
  .object({
    version: z.union([z.literal(1), z.literal(2)]),
    client: endpoint.nullable().describe("the client that it names; null: it names nobody"),
    from: endpoint.describe("who has sent it"),
    believed: z
      .boolean()
      .describe("true: the session's client is the header's; false: the listener does not expect a header from there"),
  })
  .describe("a header of the PROXY protocol");

const passed = z.exactOptional(z.int().nonnegative());
const timeline = z
  .object({
    connected: passed.describe("the server was connected"),
    hello: passed.describe("the ClientHello was here"),
    serverLeg: passed.describe("the handshake with the server was complete"),
    judged: passed.describe("the server's certificate was judged"),
    decided: passed.describe("the last verdict fell"),
    tools: passed.describe("the way through the inline tools was up"),
    clientLeg: passed.describe("the handshake with the client was complete"),
    firstByte: passed.describe("the server's first byte was relayed"),
  })
  .describe("when the session reached each phase, in ms after its start; a phase that it did not reach is absent");

const left = z
  .enum(["closed", "reset"])
  .nullable()
  .describe("how the peer left: closed with a FIN, reset with a RST; null: it is there, or the node closed first");

/** Texts, not lists: what a client offers is up to it, and the same for most of its sessions. */
const facts = z
  .object({
    upgraded: z.boolean().describe("it began in plaintext: CONNECT, STARTTLS"),
    alpn: z
      .string()
      .describe(
        "the protocols that the client offered, separated by commas; in them, a comma is %2C and a percent sign %25",
      ),
    versions: z.string().describe("the versions that the client offered, separated by commas, the newest first"),
    keyHeld: z.boolean().describe("the node held a key for the server"),
    clientCertificateDemanded: z.boolean().describe("the server was known to demand a client certificate"),
    channelBound: z.boolean().describe("a client was known to bind its log-in at this server to the TLS channel"),
    certificateRefused: z.boolean().describe("the client was known to refuse the node's certificates for this host"),
  })
  .describe("what policy knew at the ClientHello beside the other fields");

export const session = z.object({
  id: z.string(),
  worker: z.int(),
  listener: z.string(),
  mode: z.string().describe("the listener's mode: explicit, forward or inline"),
  vlan: z
    .string()
    .nullable()
    .describe('inline: the VLAN that it came by: "10"; "100/10": VLAN 10 in the outer tag 100; null: no tag'),
  state,
  client: endpoint,
  server: endpoint.nullable().describe("null: not known yet"),
  seenAs: endpoint
    .nullable()
    .describe("the client's end as the server sees it: its own address inline, the node's elsewhere"),
  proxyHeader: proxyHeader.nullable().describe("null: the connection began with none"),
  protocol: z
    .enum(["tls", "tls after an unknown dialogue", "tls on an unwatched port", "http", "other"])
    .nullable()
    .describe(
      "tls: a ClientHello was seen, first or after a dialogue that agreed to it; tls after an unknown dialogue: it was found behind other plaintext; tls on an unwatched port: the same where nobody looks for it in order to decrypt it; http: plain HTTP/1.x; null: nothing seen yet",
    ),
  startTls: startTls.nullable().describe("null: TLS from the first byte, or never asked to become TLS"),
  sni: z.string().nullable().describe("the host that the ClientHello names"),
  connectHost: z.string().nullable().describe("the host of an HTTP CONNECT, or of plain HTTP requests"),
  ech: z.enum(["outer", "inner"]).nullable().describe("Encrypted ClientHello: which of the two hellos was seen"),
  ja3: z.string().nullable().describe("JA3 fingerprint of the ClientHello"),
  ja4: z.string().nullable().describe("JA4 fingerprint of the ClientHello"),
  communityId: z
    .string()
    .nullable()
    .describe("Community ID of the client and the server (version 1, seed 0); null: the server is not known yet"),
  deployment: z
    .enum(["outbound", "inbound"])
    .nullable()
    .describe("outbound: the node signed the certificate that it presented; inbound: it holds the server's own key"),
  certificate: certificate.nullable().describe("the server's certificate; null: it was not seen"),
  presented: presented.nullable().describe("the certificate presented to the client; null: none was"),
  verdict: action.nullable().describe("null: nothing was decided"),
  phase: phase.nullable(),
  rule: z.string().nullable().describe("the rule, list or built-in that decided"),
  reason: z.string().nullable().describe("why, in one sentence"),
  monitored: z
    .object({ verdict: action, phase, rule: z.string(), reason: z.string() })
    .nullable()
    .describe("what the verdict would have been without monitor mode; null: the same"),
  page: z
    .enum(["shown", "text", "notAsked", "refused"])
    .nullable()
    .describe(
      "what the client got of policy.page, instead of an alert: a page (shown), text because it asked for no page, nothing because it asked for nothing in time (notAsked), or nothing because it did not take the page's certificate (refused); null: the session had no page",
    ),
  clientLeg: leg,
  serverLeg: leg,
  tools: z
    .array(z.object({ name: z.string(), state: z.enum(["connected", "bypassed"]) }))
    .readonly()
    .describe("the session's inline tools, in order; bypassed: the tool had failed, and its sessions go on without it"),
  feeds: z
    .record(z.string(), z.string())
    .readonly()
    .describe("where the copy of the plaintext is, such as a file, by the feed's name"),
  start: time,
  timeline: z
    .exactOptional(timeline)
    .describe("absent: nothing was reached yet, or an earlier version wrote the record"),
  facts: z.exactOptional(facts).describe("absent: no ClientHello was judged, or an earlier version wrote the record"),
  lastActivity: time,
  end: time.nullable().describe("ms since the epoch; null: the session is live"),
  closeReason: z.string().nullable().describe("why the session ended, in one sentence; null: it is live"),
  clientLeft: left,
  serverLeft: left,
  outcome: z
    .enum(OUTCOMES)
    .describe(
      "how it ended; decrypted, bypassed and plaintext: its bytes passed; dropped: by policy; live: it goes on",
    ),
  cause: z
    .enum(CAUSES)
    .nullable()
    .describe(
      "why it ended so: the name of an alert, or the node's word for an error or for what decided; null: in order",
    ),
  blame: z.enum(BLAMES).nullable().describe("who is to blame; null: nobody"),
});

/** Na:Nb:Ta:Tb, written as "EST:EST:INIT:INIT". */
export type State = z.output<typeof state>;
export type LegRecord = Frozen<z.output<typeof leg>>;
/** The last alerts of the legs that had TLS. */
export type LegAlerts = Partial<Record<Side, Pick<LegRecord, "alertReceived" | "alertSent">>>;
export type RevocationRecord = Frozen<z.output<typeof revocation>>;
export type CertificateRecord = Frozen<z.output<typeof certificate>>;
export type PresentedRecord = Frozen<z.output<typeof presented>>;
/** One client connection with its legs: a row of the session table. Plain data, replaced and never mutated. */
export type Session = Frozen<z.output<typeof session>>;
