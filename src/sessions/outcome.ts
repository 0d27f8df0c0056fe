import type { Blame, Outcome } from "../vocabulary.ts";
import { ADDED_BYPASS, BUILT_INS, type Cause, causeOf } from "./causes.ts";
import { isUp } from "./leg.ts";
import type { Session } from "./record.ts";

/** How a session ended, why, and who is to blame: from what its record says, and what the flow knows of its end. */

/** What ended a session, as the flow knows it. Nothing in it is free text. */
export interface Ending {
  /** Who did it; undefined: nobody, or the code says it. */
  readonly by: Blame | undefined;
  /** An alert's name, an error's code, or a cause. "EOF": an orderly end. */
  readonly code: string;
  /** The bytes of the peers were passing: handshakes and verdict were behind them. */
  readonly carried?: boolean;
}

export interface Result {
  readonly outcome: Outcome;
  readonly cause: Cause | null;
  readonly blame: Blame | null;
}

export const LIVE: Result = { outcome: "live", cause: null, blame: null };

/** Alerts that say that a client does not take the certificate: RFC 8446, section 6.2. */
const REFUSALS: readonly Cause[] = [
  ...(["bad_certificate", "unsupported_certificate", "certificate_revoked", "certificate_expired"] as const),
  ...(["certificate_unknown", "unknown_ca", "access_denied", "bad_certificate_status_response"] as const),
];

/** Leaving without an alert that says why. A user who is asked about the certificate may cancel. */
const LEAVING: readonly Cause[] = ["closed", "reset", "user_canceled"];

/** ms within which a client that looks at the certificate after the handshake leaves. */
const AT_ONCE = 3_000;

/** Causes that say by themselves who is to blame; null: nobody. */
const OWNERS: Readonly<Partial<Record<Cause, Blame | null>>> = {
  ...{ toolDown: "tool", toolEnded: "tool", leftEarly: "client", idle: null, notReading: null },
  ...{ limit: "node", noPort: "node", notPermitted: "node", noCertificate: "node", internalError: "node" },
  ...{ workerEnded: "node", nodeEnded: "node", nodeStopped: "node", endedByOperator: "node" },
};

/** Of a session that has ended. `known`: undefined: what ended it was not recorded. */
export function outcomeOf(session: Session, known: Ending | undefined): Result {
  if (session.verdict === "drop") return dropped(session, known?.by ?? null);
  const { by, code, carried = false } = known ?? guessEnding(session);
  const cause = causeOf(code);
  const owner = OWNERS[cause];
  const blame = owner === undefined ? (by ?? null) : owner;
  if ((cause === "nodeStopped" || cause === "endedByOperator") && hasPassed(session))
    return { outcome: passedAs(session), cause, blame };
  if (blame === "node") return { outcome: "nodeFailed", cause, blame };
  if (blame === "tool") return { outcome: "toolFailed", cause, blame };
  if (!carried) return failedEarly(session, cause, blame);
  const outcome = passedAs(session);
  if (outcome === "bypassed") return { outcome, cause: policyCause(session), blame: null };
  if (outcome === "plaintext") return plaintext(session, cause, blame);
  return decrypted(session, cause, blame);
}

/** Before the bytes of the peers passed. */
function failedEarly(session: Session, cause: Cause, blame: Blame | null): Result {
  if (blame === "server") {
    const [, nb] = session.state.split(":");
    // Nothing was dialled yet: the time passed while the name was asked for.
    const why = nb === "INIT" && cause === "timeout" ? "resolverFailed" : cause;
    return { outcome: nb === "EST" ? "serverFailed" : "serverUnreachable", cause: why, blame };
  }
  if (session.presented && (REFUSALS.includes(cause) || LEAVING.includes(cause))) {
    const why = cause === "closed" || cause === "reset" ? "leftAtCertificate" : cause;
    return { outcome: "clientRefusedCertificate", cause: why, blame: "client" };
  }
  return { outcome: "clientFailed", cause: LEAVING.includes(cause) ? "leftEarly" : cause, blame: "client" };
}

/** What passed on the two legs was decrypted; its end may still be a refusal. */
function decrypted(session: Session, cause: Cause, blame: Blame | null): Result {
  if (blame === "client" && refusesLate(session, cause)) {
    const why = LEAVING.includes(cause) ? "leftAfterHandshake" : cause;
    return { outcome: "clientRefusedCertificate", cause: why, blame };
  }
  if (cause === "closed") return { outcome: "decrypted", cause: null, blame: null };
  if (cause === "reset" || blame === null) return { outcome: "decrypted", cause, blame };
  return { outcome: blame === "client" ? "clientFailed" : "serverFailed", cause, blame };
}

/**
 * In TLS 1.3 a client's alert comes when the handshake is over for the node, and a client that pins keys may look at the certificate only
 * then, and leave without having asked for anything. What came before STARTTLS says nothing about the certificate.
 */
function refusesLate({ clientLeg, startTls, lastActivity, end }: Session, cause: Cause): boolean {
  if (clientLeg.resumed) return false;
  if (REFUSALS.includes(cause)) return clientLeg.received === 0 || startTls !== null;
  // A server of HTTP/2 speaks first, too; where ALPN says nothing, a client that has been greeted may have had all it wanted.
  const isSilent = clientLeg.received === 0 && (clientLeg.sent === 0 || clientLeg.alpn === "h2");
  return LEAVING.includes(cause) && isSilent && (end ?? lastActivity) - lastActivity < AT_ONCE;
}

function plaintext({ startTls }: Session, cause: Cause, blame: Blame | null): Result {
  const outcome = "plaintext";
  if (cause !== "closed") return { outcome, cause, blame };
  if (startTls?.outcome === "withdrawn") return { outcome, cause: "startTlsWithdrawn", blame: "server" };
  if (startTls?.outcome === "refused") return { outcome, cause: "startTlsRefused", blame: "server" };
  return { outcome, cause: null, blame: null };
}

function hasPassed({ verdict, protocol, clientLeg }: Session): boolean {
  return verdict === "bypass" || protocol === "http" || protocol === "other" || isUp(clientLeg);
}

function passedAs({ verdict, clientLeg }: Session): "bypassed" | "decrypted" | "plaintext" {
  if (verdict === "bypass") return "bypassed";
  return isUp(clientLeg) ? "decrypted" : "plaintext";
}

/** `by`: the peer that broke what policy wants kept, where the flow knows it. */
function dropped(session: Session, by: Blame | null): Result {
  const cause = policyCause(session);
  const inHello = session.phase === "sni" && cause === "versions";
  return { outcome: "dropped", cause, blame: inHello ? "client" : (DROPPED_FOR[cause] ?? by) };
}

/** Whose fault it is that policy drops; the rest is nobody's, or the flow knows it. */
const DROPPED_FOR: Readonly<Partial<Record<Cause, Blame>>> = {
  ...{ versions: "server", clientCertificate: "server", verifyBypass: "server", secondHello: "client" },
  ...{ missingKey: "node", overload: "node", expired: "server", selfSigned: "server", unknownIssuer: "server" },
  ...{ hostMismatch: "server", invalid: "server", revoked: "server", revocationUnknown: "server" },
};

/** What decided: a built-in, a fault of the certificate, or a rule. */
function policyCause({ rule, certificate }: Session): Cause {
  if (rule !== null && ADDED_BYPASS.test(rule)) return "addedBypass";
  const cause = (rule !== null && Object.hasOwn(BUILT_INS, rule) && BUILT_INS[rule]) || "rule";
  const fault = rule === "certificate fault" ? certificate?.faults[0]?.fault : undefined;
  return fault !== undefined && fault in DROPPED_FOR ? (fault as Cause) : cause;
}

/** For records of earlier versions: what the record itself says about its end. */
function guessEnding({ verdict, protocol, state, clientLeg, serverLeg, clientLeft, serverLeft }: Session): Ending {
  const alert = clientLeg.alertReceived === "close_notify" ? undefined : clientLeg.alertReceived;
  if (verdict === "bypass") return { by: undefined, code: "EOF", carried: true };
  if (isUp(clientLeg)) {
    return { by: alert || clientLeft ? "client" : undefined, code: alert ?? "EOF", carried: true };
  }
  if (serverLeg.version !== undefined) return { by: "client", code: alert ?? "EOF" };
  if (verdict === "decrypt") return { by: "server", code: serverLeg.alertReceived ?? "networkError" };
  if (!state.startsWith("EST:EST")) return { by: "server", code: "networkError" };
  if (protocol === "other" || protocol === "http") {
    return { by: clientLeft ? "client" : serverLeft ? "server" : undefined, code: "EOF", carried: true };
  }
  return { by: "client", code: "ELEFT" };
}
