/** Finds the owner of a connection by its keys. A key that several owners share identifies none of them. */
export interface Rendezvous<Owner> {
  expect(owner: Owner, keys: readonly string[]): void;
  forget(owner: Owner, keys: readonly string[]): void;
  /** Forgets all keys of this owner. */
  leave(owner: Owner): void;
  /** The owner of the first of these keys that has exactly one owner. */
  find(keys: readonly string[]): Owner | undefined;
  /** As `find`, but waits for an owner whose `expect` is still on its way. */
  await(keys: readonly string[]): Promise<Owner | undefined>;
}

/** `patience`: ms for which `await` waits. */
export function createRendezvous<Owner>(patience: number): Rendezvous<Owner> {
  const owners = new Map<string, Owner[]>();
  const waiting = new Set<() => void>();

  const find = (keys: readonly string[]): Owner | undefined => {
    for (const key of keys) {
      const [first, ...others] = owners.get(key) ?? [];
      if (first !== undefined && others.length === 0) return first;
    }
    return undefined;
  };
  const remove = (owner: Owner, key: string) => {
    const left = owners.get(key)?.filter((one) => one !== owner) ?? [];
    if (left.length > 0) owners.set(key, left);
    else owners.delete(key);
  };
  return {
    expect(owner, keys) {
      for (const key of keys) owners.set(key, [...(owners.get(key) ?? []), owner]);
      for (const look of [...waiting]) look();
    },
    forget(owner, keys) {
      for (const key of keys) remove(owner, key);
    },
    leave(owner) {
      for (const key of [...owners.keys()]) remove(owner, key);
    },
    find,
    await(keys) {
      return new Promise((resolve) => {
        const settle = (owner: Owner | undefined) => {
          clearTimeout(late);
          waiting.delete(look);
          resolve(owner);
        };
        const look = () => {
          const owner = find(keys);
          if (owner !== undefined) settle(owner);
        };
        const late = setTimeout(() => settle(undefined), patience);
        waiting.add(look);
        look();
      });
    },
  };
}
