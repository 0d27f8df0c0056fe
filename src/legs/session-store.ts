import type { SavedSession } from "../ssl3/connection.ts";

/**
 * Sessions that may be resumed, as one leg sees them: already bound to whom they belong, so that a leg cannot find
 * another's.
 */
export interface SessionStore {
  find(id: string): SavedSession | undefined;
  keep(id: string, session: SavedSession): void;
  forget(id: string): void;
}

export interface SessionCache {
  /** The sessions of one binding: what must be the same for a session to be resumed, in one text. */
  of(binding: string): SessionStore;
  readonly size: number;
  flush(): number;
}

/** At most `limit` sessions of this process, the oldest goes first; each for `lifetime` ms. */
export function createSessionCache(limit: number, lifetime: number): SessionCache {
  const kept = new Map<string, { readonly session: SavedSession; readonly until: number }>();
  return {
    of: (binding) => ({
      find(id) {
        const entry = kept.get(nameOf(binding, id));
        return entry && entry.until > Date.now() ? entry.session : undefined;
      },
      keep(id, session) {
        const name = nameOf(binding, id);
        // A session that is resumed again and again does not live longer for it.
        const until = kept.get(name)?.until ?? 0;
        const known = until > Date.now() && kept.get(name)?.session.id.equals(session.id);
        kept.delete(name);
        kept.set(name, { session, until: known ? until : Date.now() + lifetime });
        if (kept.size > limit) kept.delete(kept.keys().next().value!);
      },
      forget: (id) => void kept.delete(nameOf(binding, id)),
    }),
    get size() {
      return kept.size;
    },
    flush() {
      const { size } = kept;
      kept.clear();
      return size;
    },
  };
}

function nameOf(binding: string, id: string): string {
  return JSON.stringify([binding, id]);
}
