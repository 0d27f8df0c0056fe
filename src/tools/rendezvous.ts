/** Finds the owner of a connection by its keys. A key that several owners share identifies none of them. */
export interface Rendezvous<Owner> {
  expect(owner: Owner, keys: readonly string[]): void;
  forget(owner: Owner, keys: readonly string[]): void;
  /** Forgets all keys of this owner. */
  leave(owner: Owner): void;
  /** The owner of the first of these keys that has exactly one owner. */
  find(keys: readonly string[]): Owner | undefined;
}

export function createRendezvous<Owner>(): Rendezvous<Owner> {
  const owners = new Map<string, Owner[]>();

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
    },
    forget(owner, keys) {
      for (const key of keys) remove(owner, key);
    },
    leave(owner) {
      for (const key of [...owners.keys()]) remove(owner, key);
    },
    find,
  };
}
