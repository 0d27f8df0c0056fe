import type { TlsDetails } from "../feeds/feed.ts";
import { logSession } from "../feeds/taps.ts";
import type { SessionStage } from "../flow/stages.ts";
import { log } from "../log.ts";
import type { WorkerState } from "./state.ts";

/** Keeps the sessions' records in the ledger. `isStopped`: the node has ended the sessions that are still open. */
export function createSessionStage(
  state: Pick<WorkerState, "ledger" | "live" | "feeds">,
  isStopped: () => boolean,
): SessionStage {
  const { ledger, live } = state;
  const isDue = oncePerMinute();
  return {
    open(arrival) {
      const { listener, mode, vlan, from, client } = arrival;
      const ends = client ? ("EST:INIT:INIT:INIT" as const) : ("INIT:INIT:INIT:INIT" as const);
      const session = ledger.open({ listener, mode, vlan, client: from, server: null, state: ends }, Date.now());
      live.set(arrival, session);
      const { id, meter } = session;
      let details: TlsDetails = {};
      // With the Community ID a line of the log leads to what analysers say of the connection.
      const about = () => ({ session: id, communityId: session.record.communityId ?? undefined });
      return {
        id,
        client: from,
        meter,
        get rule() {
          return session.record.rule;
        },
        note: (news) => session.update(news, Date.now()),
        noteDetails(news) {
          // Some hundred bytes for each session, for a log that few have.
          if (state.feeds.some(({ takeSession }) => takeSession)) details = { ...details, ...news() };
        },
        close(reason, alerts, ending) {
          const stopped = isStopped();
          const why = stopped ? ({ by: "node", code: "nodeStopped" } as const) : ending;
          session.close(stopped ? "The node stopped" : reason, Date.now(), alerts, why);
          // The feeds of today: those that the session began with may be closed.
          logSession(state.feeds, session.record, details);
        },
        reportBug: (error) => log.error({ ...about(), err: error }, "A bug ended a session"),
        warnOfProxyHeader: ({ version, from: sender, client: named }) => {
          if (!isDue(listener)) return;
          const sent = { ...about(), listener, version, from: sender.address, client: named?.address };
          log.warn(
            sent,
            "A connection began with a PROXY header that its listener does not expect: set its proxyProtocol",
          );
        },
        warnOfWithdrawnTls: (protocol, server) =>
          log.warn({ ...about(), protocol, server }, "A server no longer offers the TLS that it offered before"),
      };
    },
  };
}

/** ms between two warnings about one listener. */
const SELDOM = 60_000;

function oncePerMinute(): (listener: string) => boolean {
  const last = new Map<string, number>();
  return (listener) => {
    const now = Date.now();
    if (now - (last.get(listener) ?? Number.NEGATIVE_INFINITY) < SELDOM) return false;
    last.set(listener, now);
    return true;
  };
}
