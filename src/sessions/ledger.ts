import { bounded } from "./bounds.ts";
import type { Ending } from "./outcome.ts";
import type { LegAlerts, Session } from "./record.ts";
import { advance, end, type OpenRecord, openSession, type SessionStart, type SessionUpdate } from "./session.ts";
import type { SessionChange } from "./table.ts";
import { timelineAfter } from "./timeline.ts";

/** Bytes that passed, by direction. The relay counts them. */
interface Meter {
  fromClient: number;
  fromServer: number;
  toClient: number;
  toServer: number;
  /** When the server's first byte was relayed, in ms since the epoch. */
  firstByte?: number;
}

/** A worker's live sessions, and their changes that the supervisor does not know yet. */
export class Ledger {
  readonly #worker: number;
  readonly #live = new Set<LiveSession>();
  readonly #changed = new Set<LiveSession>();
  readonly #onChange = (session: LiveSession): void => {
    this.#changed.add(session);
    if (session.record.end !== null) this.#live.delete(session);
  };
  #count = 0;

  constructor(worker: number) {
    this.#worker = worker;
  }

  get size(): number {
    return this.#live.size;
  }

  /** `now` in ms since the epoch. */
  open(start: Omit<SessionStart, "id" | "worker">, now: number): LiveSession {
    this.#count += 1;
    const worker = this.#worker;
    const id = `${now.toString(36)}-${worker.toString(36)}-${this.#count.toString(36)}`;
    const session = new LiveSession(openSession({ ...start, id, worker }, now), this.#onChange);
    this.#live.add(session);
    this.#changed.add(session);
    return session;
  }

  /** Everything that changed since the last call. A session that opened since then is given whole, once. */
  drain(now: number): SessionChange[] {
    for (const session of this.#live) session.measure(now);
    const changes = Array.from(this.#changed, (session) => session.takeChange());
    this.#changed.clear();
    return changes;
  }
}

/** One session while it lives. Times in ms since the epoch. */
export class LiveSession {
  readonly meter: Meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  readonly #onChange: (session: LiveSession) => void;
  readonly #record: OpenRecord;
  /** What the supervisor does not know yet; "whole": it does not know the session. */
  #change: SessionChange | "whole" | undefined = "whole";

  constructor(record: OpenRecord, onChange: (session: LiveSession) => void) {
    this.#record = record;
    this.#onChange = onChange;
  }

  get id(): string {
    return this.#record.id;
  }

  /** As it is now: it changes while the session lives. */
  get record(): Session {
    return this.#record;
  }

  /** What changed since the last call: at first the whole record. It does not change any more. */
  takeChange(): SessionChange {
    const change = this.#change;
    this.#change = undefined;
    if (change !== "whole") return change ?? { id: this.id };
    return this.#record.end === null ? { ...this.#record } : this.#record;
  }

  update(news: SessionUpdate, now: number): void {
    if (this.#record.end !== null) return;
    const kept = bounded(news);
    const timeline = timelineAfter(this.#record, kept, now);
    const marked = timeline ? { ...kept, timeline } : kept;
    advance(this.#record, marked, now);
    this.#tell(marked, { lastActivity: this.#record.lastActivity });
  }

  /** Takes the bytes that passed since the last call into the record. */
  measure(now: number): void {
    const { fromClient, fromServer, toClient, toServer } = this.meter;
    const { clientLeg, serverLeg } = this.#record;
    const sameClient = clientLeg.received === fromClient && clientLeg.sent === toClient;
    if (sameClient && serverLeg.received === fromServer && serverLeg.sent === toServer) return;
    this.#noteFirstByte();
    this.update(
      {
        clientLeg: { ...clientLeg, received: fromClient, sent: toClient },
        serverLeg: { ...serverLeg, received: fromServer, sent: toServer },
      },
      now,
    );
  }

  #noteFirstByte(): void {
    const { timeline = {}, start } = this.#record;
    const { firstByte } = this.meter;
    if (firstByte === undefined || timeline.firstByte !== undefined) return;
    this.#record.timeline = { ...timeline, firstByte: Math.max(0, firstByte - start) };
    this.#tell({ timeline: this.#record.timeline });
  }

  /** Only the first close counts. */
  close(reason: string, now: number, alerts: LegAlerts = {}, ending?: Ending): void {
    if (this.#record.end !== null) return;
    this.measure(now);
    const { client, server } = alerts;
    const legs = {
      ...(client && { clientLeg: { ...this.#record.clientLeg, ...client } }),
      ...(server && { serverLeg: { ...this.#record.serverLeg, ...server } }),
    };
    Object.assign(this.#record, legs);
    this.#tell(legs, end(this.#record, bounded({ reason }).reason, now, ending));
  }

  #tell(...news: readonly Partial<Session>[]): void {
    if (this.#change !== "whole") this.#change = Object.assign(this.#change ?? { id: this.id }, ...news);
    this.#onChange(this);
  }
}
