import { z } from "zod";
import { ACTIONS, PHASES } from "../vocabulary.ts";
import { isUp } from "./leg.ts";
import type { Session } from "./record.ts";

const number = z.int().nonnegative();
const listenerCounters = z.object({
  open: number.describe("live sessions"),
  total: number.describe("sessions that began"),
  decided: z
    .record(z.enum(ACTIONS), z.record(z.enum(PHASES), number))
    .describe("sessions by verdict and by the phase that decided it"),
  undecided: number.describe("sessions without a verdict: still opening, or over before one was reached"),
  faults: z
    .record(z.string(), number)
    .describe("sessions whose server's certificate had this fault; one with two faults counts in both"),
  handshakeFailures: number.describe(
    "sessions that ended without being decrypted as they should, because a TLS handshake failed",
  ),
  bytes: z
    .object({ clientReceived: number, clientSent: number, serverReceived: number, serverSent: number })
    .describe("bytes from and to the peer of each leg"),
});
export const counters = z.record(z.string(), listenerCounters).describe("by listener name");

export type ListenerCounters = z.output<typeof listenerCounters>;
/** By listener name. Plain data, which is sent between processes and summed over workers. */
export type Counters = z.output<typeof counters>;

/** Empty counters, without a prototype because a listener may have any name. */
export function noCounters(): Counters {
  return Object.create(null);
}

/** Adds one session to the counters, in place. Add each session only once. */
export function count(counters: Counters, session: Session): void {
  counters[session.listener] ??= noSessions();
  const sums = counters[session.listener]!;
  sums.total += 1;
  if (session.end === null) sums.open += 1;
  if (session.verdict && session.phase) sums.decided[session.verdict][session.phase] += 1;
  else sums.undecided += 1;
  for (const fault of new Set(session.certificate?.faults.map(({ fault }) => fault))) {
    sums.faults[fault] = (sums.faults[fault] ?? 0) + 1;
  }
  if (handshakeFailed(session)) sums.handshakeFailures += 1;
  sums.bytes.clientReceived += session.clientLeg.received;
  sums.bytes.clientSent += session.clientLeg.sent;
  sums.bytes.serverReceived += session.serverLeg.received;
  sums.bytes.serverSent += session.serverLeg.sent;
}

/** The client's leg completes last. */
function handshakeFailed({ end, protocol, verdict, clientLeg }: Session): boolean {
  const wanted = verdict === "decrypt" || verdict === null;
  return end !== null && protocol?.startsWith("tls") === true && wanted && !isUp(clientLeg);
}

/** Makes the sum of all counters. */
export function sum(all: Iterable<Counters>): Counters {
  const result = noCounters();
  for (const counters of all) {
    for (const [listener, part] of Object.entries(counters)) {
      result[listener] ??= noSessions();
      accumulate(result[listener], part);
    }
  }
  return result;
}

function accumulate(into: ListenerCounters, part: ListenerCounters): void {
  into.open += part.open;
  into.total += part.total;
  into.undecided += part.undecided;
  into.handshakeFailures += part.handshakeFailures;
  for (const verdict of ACTIONS) {
    for (const phase of PHASES) into.decided[verdict][phase] += part.decided[verdict][phase];
  }
  for (const [fault, sessions] of Object.entries(part.faults))
    into.faults[fault] = (into.faults[fault] ?? 0) + sessions;
  for (const way of ["clientReceived", "clientSent", "serverReceived", "serverSent"] as const) {
    into.bytes[way] += part.bytes[way];
  }
}

function noSessions(): ListenerCounters {
  const phases = () => ({ network: 0, sni: 0, certificate: 0 });
  return {
    open: 0,
    total: 0,
    decided: { decrypt: phases(), bypass: phases(), drop: phases() },
    undecided: 0,
    faults: {},
    handshakeFailures: 0,
    bytes: { clientReceived: 0, clientSent: 0, serverReceived: 0, serverSent: 0 },
  };
}
