import type { Session } from "./record.ts";
import { advance, finish, openSession, type SessionBirth, type SessionNews } from "./session.ts";
import type { SessionChange } from "./table.ts";

/** A worker's own sessions, and what is to be told of them to the live table of all workers. */
export interface Ledger {
  /** `now` in ms since the epoch. */
  open(birth: Omit<SessionBirth, "id" | "worker">, now: number): Entry;
  /** Everything that changed since the last call. A session that opened and closed in between is told once, whole. */
  drain(now: number): SessionChange[];
  readonly size: number;
}

/** One session while it lives. */
export interface Entry {
  readonly id: string;
  readonly session: Session;
  /** Bytes that passed, from each side: counted by the relay, taken into the record when it is told. */
  readonly meter: { fromClient: number; fromServer: number; toClient: number; toServer: number };
  note(news: SessionNews, now: number): void;
  /** Only the first close counts. */
  close(reason: string, now: number): void;
}

export function createLedger(worker: number): Ledger {
  const live = new Set<Entry>();
  const changed = new Map<Entry, SessionChange | "whole">();
  let count = 0;

  const told = (entry: Entry, news: Partial<Session>) => {
    const before = changed.get(entry);
    if (before !== "whole") changed.set(entry, { ...before, ...news, id: entry.id });
  };

  function open(birth: Omit<SessionBirth, "id" | "worker">, now: number): Entry {
    count += 1;
    const id = `${now.toString(36)}-${worker.toString(36)}-${count.toString(36)}`;
    let session = openSession({ ...birth, id, worker }, now);
    const entry: Entry = {
      id,
      get session() {
        return session;
      },
      meter: { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 },
      note(news, at) {
        if (session.end !== null) return;
        session = advance(session, news, at);
        told(entry, { ...news, lastActivity: session.lastActivity });
      },
      close(reason, at) {
        if (session.end !== null) return;
        measure(entry, at);
        session = finish(session, reason, at);
        told(entry, { end: session.end, closeReason: session.closeReason });
        live.delete(entry);
      },
    };
    live.add(entry);
    changed.set(entry, "whole");
    return entry;
  }

  return {
    open,
    drain(now) {
      for (const entry of live) measure(entry, now);
      const changes = [...changed].map(([entry, change]) => (change === "whole" ? entry.session : change));
      changed.clear();
      return changes;
    },
    get size() {
      return live.size;
    },
  };
}

/** Takes the bytes that passed since the last time into the record. */
function measure({ session, meter, note }: Entry, now: number): void {
  const { fromClient, fromServer, toClient, toServer } = meter;
  const { clientLeg, serverLeg } = session;
  const near = clientLeg.received === fromClient && clientLeg.sent === toClient;
  if (near && serverLeg.received === fromServer && serverLeg.sent === toServer) return;
  note(
    {
      clientLeg: { ...clientLeg, received: fromClient, sent: toClient },
      serverLeg: { ...serverLeg, received: fromServer, sent: toServer },
    },
    now,
  );
}
