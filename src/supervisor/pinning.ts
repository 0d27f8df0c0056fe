import { log } from "../log.ts";
import { readBypassEntry } from "../policy/bypass.ts";
import { type Refusal, refusalKey, type Suggestion } from "../policy/refusals.ts";
import { isUp } from "../sessions/leg.ts";
import type { Session } from "../sessions/record.ts";
import type { NodeState } from "./state.ts";

/** Alerts that say that the client does not take the certificate: RFC 8446, section 6.2. */
const REFUSING: readonly string[] = ["unknown_ca", "bad_certificate", "certificate_unknown"];
/** ms within which a client that has looked at the certificate itself leaves. */
const AT_ONCE = 3_000;
/** Fewer refusals suggest nothing. */
const LEAST = 2;

/** Notes what the sessions that have just ended tell about their clients, and learns what policy.learn wants learnt. */
export function noticeRefusals(state: NodeState, ended: readonly Session[]): void {
  for (const session of ended) {
    const { server, clientLeg } = session;
    if (session.verdict !== "decrypt" || !server || session.presented?.authority !== "primary") continue;
    const host = hostOf(session, server.address);
    const how = clientLeg.resumed ? undefined : refusalOf(session);
    if (how) suggest(state, { client: session.client.address, host, port: server.port, how, at: session.end ?? 0 });
    else if (clientLeg.received > 0) state.refusals.accept(session.client.address, host, server.port);
  }
}

/** How a client showed that it does not take the certificate; undefined: it did not. */
function refusalOf({ clientLeg, clientLeft, start, end }: Session): string | undefined {
  const { alertReceived, received } = clientLeg;
  if (alertReceived !== undefined && REFUSING.includes(alertReceived)) return alertReceived;
  // A client may compare keys only after the handshake: then it leaves without having asked for anything.
  const left = isUp(clientLeg) ? clientLeft !== null && received === 0 : alertReceived === undefined;
  return left && (end ?? 0) - start < AT_ONCE ? "left" : undefined;
}

function suggest(state: NodeState, refusal: Refusal): void {
  const suggestion = state.refusals.note(refusal);
  const { learn } = state.active.loaded.config.policy;
  if (!learn || suggestion.refusals < learn.after) return;
  const server = refusalKey(suggestion.client, suggestion.host, suggestion.port);
  const until = refusal.at + learn.for;
  state.pinning.learn(server, until);
  state.workers.tell({ kind: "pinning", server, until });
  log.info(
    { client: refusal.client, host: refusal.host, port: refusal.port, refusals: suggestion.refusals },
    "A client refuses the node's certificate again and again; policy.learn bypasses the host for it now",
  );
}

/** As the flow names it. */
function hostOf({ sni, connectHost }: Session, address: string): string {
  return sni ?? connectHost ?? address;
}

/** What the API shows: the evidence, and what has become of it. */
export interface ShownSuggestion extends Suggestion {
  /** Until when policy.learn bypasses the host for this client; null: it does not. */
  readonly bypassedUntil: number | null;
  /** What to do, in a sentence. */
  readonly remedy: string;
}

export function listSuggestions({ refusals, pinning, active }: NodeState, now: number): ShownSuggestion[] {
  const learnt = new Map(active.loaded.config.policy.learn ? pinning.entries() : []);
  return refusals.list(LEAST).map((one) => {
    const until = learnt.get(refusalKey(one.client, one.host, one.port)) ?? 0;
    return { ...one, bypassedUntil: until > now ? until : null, remedy: remedyFor(one) };
  });
}

function remedyFor({ host, how }: Suggestion): string {
  // The client has chosen this text: only what is a name or an address becomes part of a command.
  const entry = readBypassEntry(host);
  const trust = how["unknown_ca"] ? "If the client does not trust the node's CA yet, install it there. " : "";
  const command = entry ? `bypass ${entry} for a time (clearline bypass add ${entry} --for 24h --because "…"), ` : "";
  return `${trust}If it pins the server's certificate, ${command}put ${host} on the bypass list, or let policy.learn do it.`;
}
