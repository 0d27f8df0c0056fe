import type { Endpoint } from "../vocabulary.ts";

/** The connections that a worker has sent into a tool. A connection that comes back is one of them, or a stranger. */
export interface Pairing<Connection> {
  /** Whether a session already has these ends. */
  has(from: Endpoint, to: Endpoint): boolean;
  /** A session sends a connection with these ends. After `forget` a connection with these ends is a stranger. */
  await(from: Endpoint, to: Endpoint, session: AwaitedSession<Connection>): { forget(): void };
  /** A SYN came back. "awaited": it is to be accepted. "again": a duplicate, whose connection is already there. */
  onSyn(from: Endpoint, to: Endpoint): "awaited" | "again" | "stranger";
  /** A connection came back. Returns whether a session has taken it; otherwise the caller ends it. */
  onConnection(connection: Connection, from: Endpoint, to: Endpoint): boolean;
  /** The SYNs and connections that belonged to no session. */
  readonly strangers: number;
}

export interface AwaitedSession<Connection> {
  /** Its SYN came back: state 5 in docs/glossary.md. */
  onReturn(): void;
  onConnection(connection: Connection): void;
}

interface AwaitedConnection<Connection> {
  readonly session: AwaitedSession<Connection>;
  paired: boolean;
}

/** `canonical` returns the canonical text of an address. */
export function createPairing<Connection>(canonical: (address: string) => string): Pairing<Connection> {
  const entries = new Map<string, AwaitedConnection<Connection>>();
  let strangers = 0;
  const keyOf = (from: Endpoint, to: Endpoint) =>
    `${canonical(from.address)} ${from.port} ${canonical(to.address)} ${to.port}`;
  return {
    has: (from, to) => entries.has(keyOf(from, to)),
    await(from, to, session) {
      const key = keyOf(from, to);
      const entry = { session, paired: false };
      entries.set(key, entry);
      return {
        forget() {
          if (entries.get(key) === entry) entries.delete(key);
        },
      };
    },
    onSyn(from, to) {
      const entry = entries.get(keyOf(from, to));
      if (!entry) {
        strangers += 1;
        return "stranger";
      }
      if (entry.paired) return "again";
      entry.session.onReturn();
      return "awaited";
    },
    onConnection(connection, from, to) {
      const entry = entries.get(keyOf(from, to));
      if (!entry || entry.paired) {
        strangers += 1;
        return false;
      }
      entry.paired = true;
      entry.session.onConnection(connection);
      return true;
    },
    get strangers() {
      return strangers;
    },
  };
}
