import { NetworkError } from "../errors.ts";

/**
 * The handshakes of each client that are under way at one time: they cost the most of what a session costs. Those above the bound
 * wait until one of the same client's is over, so that other clients' handshakes need not wait for them.
 */
export interface Turns {
  /** Resolves when this client may begin a handshake, with what ends its turn. Throws NetworkError when that takes `within` ms. */
  take(client: string, most: number, within: number): Promise<() => void>;
  /** Clients with a handshake under way. */
  readonly size: number;
}

interface Client {
  running: number;
  /** In the order in which they came. */
  readonly waiting: Set<() => void>;
}

export function createTurns(): Turns {
  const clients = new Map<string, Client>();

  function leave(name: string, client: Client): void {
    const [next] = client.waiting;
    if (next) {
      client.waiting.delete(next);
      next();
      return;
    }
    client.running -= 1;
    if (client.running === 0) clients.delete(name);
  }

  /** What ends a turn, once. */
  function turn(name: string, client: Client): () => void {
    let isOver = false;
    return () => {
      if (!isOver) leave(name, client);
      isOver = true;
    };
  }

  return {
    get size() {
      return clients.size;
    },
    take(name, most, within) {
      const client = clients.get(name) ?? { running: 0, waiting: new Set() };
      clients.set(name, client);
      if (client.running < most) {
        client.running += 1;
        return Promise.resolve(turn(name, client));
      }
      return new Promise((resolve, reject) => {
        const begin = () => {
          clearTimeout(timer);
          resolve(turn(name, client));
        };
        const timer = setTimeout(() => {
          client.waiting.delete(begin);
          const reason = `The client has ${most} handshakes under way, and this one waited ${within} ms for its turn`;
          reject(new NetworkError(reason, "EBUSY"));
        }, within);
        client.waiting.add(begin);
      });
    },
  };
}
