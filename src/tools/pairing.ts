import type { Endpoint } from "../vocabulary.ts";

/** What a worker knows of the connections that it sent into a tool: whatever comes back is one of them, or a stranger. */
export interface Pairing<Socket> {
  /** Whether these ends are a session's already. */
  has(from: Endpoint, to: Endpoint): boolean;
  /** A session sends a connection with these ends. `forget` when it is over: what comes back from then on is a stranger. */
  await(from: Endpoint, to: Endpoint, session: AwaitedSession<Socket>): { forget(): void };
  /**
   * A SYN came back: "awaited" is let in. "again": its connection is there already, and the
   * SYN is one that was sent twice; nothing is to be done with it.
   */
  onSyn(from: Endpoint, to: Endpoint): "awaited" | "again" | "stranger";
  /** A connection came back. Whether a session has taken it; otherwise it is to be ended. */
  onConnection(socket: Socket, from: Endpoint, to: Endpoint): boolean;
  /** SYNs and connections that were nobody's. */
  readonly strangers: number;
}

export interface AwaitedSession<Socket> {
  /** Its SYN came back: state 5. */
  onReturn(): void;
  onConnection(socket: Socket): void;
}

interface AwaitedConnection<Socket> {
  readonly session: AwaitedSession<Socket>;
  paired: boolean;
}

/** `canonical` writes an address in one way, however it was written. */
export function createPairing<Socket>(canonical: (address: string) => string): Pairing<Socket> {
  const entries = new Map<string, AwaitedConnection<Socket>>();
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
    onConnection(socket, from, to) {
      const entry = entries.get(keyOf(from, to));
      if (!entry || entry.paired) {
        strangers += 1;
        return false;
      }
      entry.paired = true;
      entry.session.onConnection(socket);
      return true;
    },
    get strangers() {
      return strangers;
    },
  };
}
