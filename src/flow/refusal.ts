import type { Destination, Refusal } from "../capture/arrival.ts";
import { NetworkError, PeerError } from "../errors.ts";
import type { LegFailure } from "../legs/leg.ts";
import type { Verdict } from "../policy/facts.ts";
import type { Ending } from "../sessions/outcome.ts";
import { ALERTS, nameAlert } from "../wire/alert.ts";
import { bypassLate } from "./bypass.ts";
import { showPage, showUnreached } from "./page.ts";
import { noteFailedLeg, noteVerdict, refuseClient, type Story, type TlsLayer } from "./story.ts";
import { unverified } from "./verification.ts";

/** The part of a session's story in which somebody refuses: the policy, the server, or an error. */

/** The policy drops before the server is reached: the client is told in its listener's own way. */
export async function refuseArrival(story: Story, verdict: Verdict, destination: Destination): Promise<string> {
  noteVerdict(story.session, verdict);
  const { reason, rule } = verdict;
  await refuseByListener(story, destination, { kind: "policy", message: reason }, rule);
  return `Dropped: ${reason}`;
}

/** Tells the client in its listener's way: with a page, in the answer to its request or inside of its TLS, if it may ask for one. */
export async function refuseByListener(
  story: Story,
  destination: Destination,
  refusal: Refusal,
  rule?: string,
): Promise<void> {
  const { arrival, node, session } = story;
  const { kind, message: reason } = refusal;
  const why = { kind, reason, rule };
  const inTls = await showUnreached(story, destination, why);
  if (inTls === "shown") return;
  if (inTls === "other") {
    arrival.client?.reset();
    return;
  }
  const page = node.pages?.write({ ...why, session: session.id, host: destination.host });
  const shown = arrival.refuse({ ...refusal, ...(page && { page }) });
  if (shown) session.note({ page: shown });
}

/** What the client is told of a built-in that drops; any rule denies access. */
const ALERTS_OF_RULES: ReadonlyMap<string, number> = new Map([
  ["versions", ALERTS.protocol_version],
  ["undecryptable", ALERTS.handshake_failure],
  ["overload", ALERTS.internal_error],
]);

/** The policy drops after the ClientHello: the client is told with a page if it may ask for one, otherwise with an alert. */
export async function refuseHello(
  story: Story,
  layer: TlsLayer,
  { rule, reason }: Verdict,
  faults: readonly string[] = [],
): Promise<string> {
  const kind = ALERTS_OF_RULES.has(rule) ? "handshake" : faults.length > 0 ? "certificate" : "policy";
  // For a page there would be a handshake.
  const shown = !story.overload && (await showPage(story, layer, { kind, reason, rule, faults }));
  const { client, received } = layer;
  if (!shown) refuseClient(story, client, ALERTS_OF_RULES.get(rule) ?? ALERTS.access_denied, received.hello);
  return `Dropped: ${reason}`;
}

/**
 * The server leg did not come up. If the policy bypasses by what is known so far, the session is bypassed. If it would
 * decrypt, the reason counts: the server demands a client certificate, which only the client has, or speaks too old a
 * version; for both the policy has an action. Otherwise the client gets the alert that says why.
 */
export async function afterServerRefusal(story: Story, layer: TlsLayer, failure: LegFailure): Promise<string> {
  const { session } = story;
  const { client, received } = layer;
  const verdict = verdictOnRefusal(story, layer, failure);
  if (verdict) noteVerdict(session, verdict);
  if (verdict?.action === "bypass") return bypassLate(story, layer, verdict);
  if (verdict?.action === "drop") return refuseHello(story, layer, verdict);
  noteFailedLeg(story, "server", failure);
  const shown = await showPage(story, layer, { kind: "handshake", reason: failure.reason });
  if (shown) return failure.reason;
  if (failure.code === "ECONNRESET") client.reset();
  else refuseClient(story, client, failure.alert, received.hello);
  return failure.reason;
}

function verdictOnRefusal(story: Story, layer: TlsLayer, failure: LegFailure): Verdict | undefined {
  const { policy, servers } = story.node;
  const { facts, serverKey } = layer;
  const verdict = policy.verdictSoFar(facts);
  const inclined = (verdict.instead ?? verdict).action;
  if (policy.verifies(verdict)) return unverified(`it showed no certificate. ${failure.reason}`);
  // A server must not get out of what its certificate would decide by showing none.
  if (inclined === "bypass" && policy.isOpen(facts)) return undefined;
  if (inclined !== "decrypt") return verdict;
  // certificate_required alone is an alert that anybody can send in plaintext.
  if (failure.certificateRequested) {
    servers.demandingCertificate.learn(serverKey);
    return policy.verdictSoFar({ ...facts, clientCertificateDemanded: true });
  }
  if (failure.alert === ALERTS.protocol_version) return policy.serverBelowMin(facts);
  const undecryptable = verdictBeyondNode(story, layer, failure);
  if (undecryptable) return undecryptable;
  return verdict.instead && { ...verdict, instead: { ...verdict.instead, reason: `It would fail: ${failure.reason}` } };
}

/** What a server says that has nothing in common with what it was offered. */
const NOTHING_IN_COMMON: readonly number[] = [
  ALERTS.handshake_failure,
  ALERTS.insufficient_security,
  ALERTS.unknown_psk_identity,
];

/**
 * The verdict for a server that may speak only what the client offered and this node cannot. While the session passes, it may choose
 * nothing else: a server must not get out of decryption by refusing the node.
 */
function verdictBeyondNode(
  { node: { legs, policy } }: Story,
  { facts, received: { hello } }: TlsLayer,
  { cause, alert }: LegFailure,
): Verdict | undefined {
  if (cause !== "alert" || !NOTHING_IN_COMMON.includes(alert) || !legs.leavesOut(hello)) return undefined;
  if (policy.isOpen(facts)) return undefined;
  const why = "The server refused what this node can offer of the client's hello";
  return { ...policy.onUndecryptable(facts, why), beyondNode: true };
}

/**
 * An error ends the session. A client that broke its protocol gets an alert; otherwise its connection is reset. A bug of
 * ours is reported. Answers why the session is over.
 */
export function endOnError(story: Story, error: unknown): string {
  const { arrival, session, clientConnections } = story;
  // The last one: a client that has left a conversation goes on as another end.
  const client = [...clientConnections].at(-1) ?? arrival.client;
  story.ending = endingOf(error);
  if (error instanceof PeerError && client) {
    refuseClient(story, client, error.alert);
    return error.message;
  }
  // A reset would overtake a last answer that is still being sent, such as a proxy's 408.
  if (client && !client.isLeaving) client.reset();
  else if (!client) arrival.refuse({ kind: "timeout", message: "The session ended before the client was let in" });
  if (error instanceof NetworkError) return error.message;
  session.reportBug(error);
  return "An internal error ended the session";
}

/** Who ended the session with this error. While nothing passes yet, the node waits for the client, unless the error says otherwise. */
function endingOf(error: unknown): Ending {
  if (error instanceof NetworkError) return { by: error.side ?? "client", code: error.code };
  if (!(error instanceof PeerError)) return { by: "node", code: "internalError" };
  // The supervisor gave no certificate.
  if (error.side === undefined && error.alert === ALERTS.internal_error) return { by: "node", code: "noCertificate" };
  return { by: error.side ?? "client", code: nameAlert(error.alert) };
}
