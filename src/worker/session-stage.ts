import type { Arrival, BegunWith } from "../capture/arrival.ts";
import type { TlsDetails } from "../feeds/feed.ts";
import { logSession } from "../feeds/taps.ts";
import type { SessionHandle, SessionStage } from "../flow/stages.ts";
import { log } from "../log.ts";
import type { LiveSession } from "../sessions/ledger.ts";
import type { Ending } from "../sessions/outcome.ts";
import type { LegAlerts } from "../sessions/record.ts";
import type { SessionUpdate } from "../sessions/session.ts";
import type { Endpoint } from "../vocabulary.ts";
import type { WorkerState } from "./state.ts";

/** What the sessions that begin under one setup share. */
interface Common {
  readonly state: Pick<WorkerState, "feeds">;
  /** The node has ended the sessions that are still open. */
  readonly isStopped: () => boolean;
  /** Whether a warning about this listener is due. */
  readonly isDue: (listener: string) => boolean;
}

/** Keeps the sessions' records in the ledger. */
export function createSessionStage(
  state: Pick<WorkerState, "ledger" | "live" | "feeds">,
  isStopped: () => boolean,
): SessionStage {
  const { ledger, live } = state;
  const common = { state, isStopped, isDue: oncePerMinute() };
  return {
    open(arrival: Arrival) {
      const { listener, mode, vlan, from, client } = arrival;
      const ends = client ? ("EST:INIT:INIT:INIT" as const) : ("INIT:INIT:INIT:INIT" as const);
      const session = ledger.open({ listener, mode, vlan, client: from, server: null, state: ends }, Date.now());
      live.set(arrival, session);
      return new RecordedSession(session, common);
    },
  };
}

/** A class: an object with functions of its own takes 1.5 KiB of every session that is idle. */
class RecordedSession implements SessionHandle {
  readonly #session: LiveSession;
  readonly #common: Common;
  #details: TlsDetails | undefined;

  constructor(session: LiveSession, common: Common) {
    this.#session = session;
    this.#common = common;
  }

  get id(): string {
    return this.#session.id;
  }

  get client(): Endpoint {
    return this.#session.record.client;
  }

  get meter(): LiveSession["meter"] {
    return this.#session.meter;
  }

  get rule(): string | null {
    return this.#session.record.rule;
  }

  note(news: SessionUpdate): void {
    this.#session.update(news, Date.now());
  }

  noteDetails(news: () => TlsDetails): void {
    // Some hundred bytes for each session, for a log that few have.
    if (this.#common.state.feeds.some(({ takeSession }) => takeSession))
      this.#details = { ...this.#details, ...news() };
  }

  close(reason: string, alerts: LegAlerts, ending: Ending | undefined): void {
    const { state, isStopped } = this.#common;
    const stopped = isStopped();
    const why = stopped ? ({ by: "node", code: "nodeStopped" } as const) : ending;
    this.#session.close(stopped ? "The node stopped" : reason, Date.now(), alerts, why);
    // The feeds of today: those that the session began with may be closed.
    logSession(state.feeds, this.#session.record, this.#details ?? {});
  }

  reportBug(error: unknown): void {
    log.error({ ...this.#about(), err: error }, "A bug ended a session");
  }

  warnOfProxyHeader({ version, from: sender, client: named }: BegunWith): void {
    const { listener } = this.#session.record;
    if (!this.#common.isDue(listener)) return;
    log.warn(
      { ...this.#about(), listener, version, from: sender.address, client: named?.address },
      "A connection began with a PROXY header that its listener does not expect: set its proxyProtocol",
    );
  }

  warnOfWithdrawnTls(protocol: string, server: Endpoint): void {
    log.warn({ ...this.#about(), protocol, server }, "A server no longer offers the TLS that it offered before");
  }

  /** With the Community ID a line of the log leads to what analysers say of the connection. */
  #about() {
    return { session: this.id, communityId: this.#session.record.communityId ?? undefined };
  }
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
