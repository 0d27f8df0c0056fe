/**
 * Servers that demanded a client certificate, which only the client can show: what is learnt holds for a time. Bounded,
 * because the names come from clients; the oldest goes. Times in ms since the epoch.
 */
export interface Demanding {
  has(server: string, now: number): boolean;
  learn(server: string, until: number): void;
  entries(): readonly (readonly [server: string, until: number])[];
  flush(): number;
  readonly size: number;
}

export function createDemanding(limit: number): Demanding {
  const known = new Map<string, number>();
  return {
    has(server, now) {
      const until = known.get(server);
      if (until === undefined) return false;
      if (until > now) return true;
      known.delete(server);
      return false;
    },
    learn(server, until) {
      known.delete(server);
      known.set(server, until);
      if (known.size > limit) known.delete(known.keys().next().value!);
    },
    entries: () => [...known],
    flush() {
      const size = known.size;
      known.clear();
      return size;
    },
    get size() {
      return known.size;
    },
  };
}
