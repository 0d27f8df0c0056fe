import { stat } from "node:fs/promises";
import { basename } from "node:path";
import type { Loaded, LoadedList } from "../config/load.ts";
import type { ListInfos } from "../control/api.ts";
import { ConfigError } from "../errors.ts";
import { readAddress } from "../policy/address-set.ts";
import { canonicalHost, readHostEntry } from "../policy/host-set.ts";
import { listedAddresses, listedHosts, tablesOf } from "../policy/list-table.ts";

/** The policy's lists as they were read, and which of their entries match a host or an address. Throws ConfigError. */
export async function showLists(loaded: Pick<Loaded, "lists">, find: string | undefined): Promise<ListInfos> {
  const entriesFor = find === undefined ? undefined : matcherFor(find);
  const lists = loaded.lists.map(async (list) => {
    const { kind, path, file, read, entries } = list;
    const matches = entriesFor?.(list) ?? [];
    return { kind, path, name: basename(file), file, read, stale: await isStale(list), entries, matches };
  });
  return { lists: await Promise.all(lists) };
}

/** Entries from which on it is told that a list has lost more than half of them. */
const MANY = 100;

/** Lists that a reload made so much shorter that their files may have been cut off: a sentence each. */
export function shrunkLists(before: readonly LoadedList[], after: readonly LoadedList[]): string[] {
  const known = new Map(before.map((list) => [`${list.kind} ${list.file}`, list.entries]));
  return after.flatMap(({ kind, path, file, entries }) => {
    const had = known.get(`${kind} ${file}`) ?? 0;
    const isShrunk = entries === 0 ? had > 0 : had >= MANY && entries < had / 2;
    if (!isShrunk) return [];
    const has = entries === 0 ? "has no entry" : `has ${entries} entries`;
    return `${path}: ${file} ${has}, and had ${had} before; reload again once the file is whole, if it was cut off`;
  });
}

function matcherFor(find: string): (list: LoadedList) => readonly string[] {
  const address = readAddress(find.replace(/^\[|\]$/g, ""));
  if (address) return ({ table }) => listedAddresses(tablesOf([table])).find(address);
  if (!readHostEntry(find)) throw new ConfigError("find", `find is ${JSON.stringify(find)}, not a host or an address`);
  // As it is compared with the names that a client or a certificate has.
  return ({ table }) => listedHosts(tablesOf([table])).reach(canonicalHost(find));
}

/** A file that is gone has changed, too. */
async function isStale({ file, read }: LoadedList): Promise<boolean> {
  try {
    return (await stat(file)).mtimeMs > read;
  } catch {
    return true;
  }
}
