import { type Bypass, readBypassEntry } from "./bypass.ts";

/**
 * What a node keeps of its bypasses, and nodes tell each other. Books can be merged in any order and any number of times, also with
 * old ones: what was removed is remembered, so that nobody who did not hear of it brings it back. Times in ms since the epoch.
 */
export interface BypassBook {
  /** By ID. */
  readonly bypasses: readonly Bypass[];
  readonly removed: readonly RemovedBypass[];
}

/** A bypass that was removed before its end. */
export interface RemovedBypass {
  readonly id: string;
  /** Until when this has to be remembered. */
  readonly until: number;
}

export const EMPTY_BOOK: BypassBook = { bypasses: [], removed: [] };
/** The most bypasses. Those that were made last are left out. */
export const MOST_BYPASSES = 500;
const MOST_REMOVED = 2_000;
/** How long a removed bypass is remembered: beyond its end, or if it has none. */
const REMEMBERED = { afterEnd: 30 * 86_400_000, withoutEnd: 366 * 86_400_000 };

export const MOST_COMMENT = 200;
const MOST_AUTHOR = 128;

export function withBypass({ bypasses, removed }: BypassBook, added: Bypass): BypassBook {
  return { bypasses: byId([...bypasses, added]), removed };
}

export function withoutBypass({ bypasses, removed }: BypassBook, gone: Bypass, now: number): BypassBook {
  const until = gone.expires === null ? now + REMEMBERED.withoutEnd : gone.expires + REMEMBERED.afterEnd;
  return {
    bypasses: bypasses.filter(({ id }) => id !== gone.id),
    removed: remembered([...removed.filter(({ id }) => id !== gone.id), { id: gone.id, until }], now),
  };
}

/** Takes over what another book has. What has ended by now is not taken over. */
export function mergeBooks(own: BypassBook, other: BypassBook, now: number): BypassBook {
  const removed = new Map<string, RemovedBypass>();
  for (const one of [...own.removed, ...other.removed]) {
    const known = removed.get(one.id);
    if (one.until > now && (!known || known.until < one.until)) removed.set(one.id, one);
  }
  const bypasses = new Map(own.bypasses.map((one) => [one.id, one]));
  for (const one of other.bypasses)
    if (!bypasses.has(one.id) && (one.expires === null || one.expires > now)) bypasses.set(one.id, one);
  const kept = [...bypasses.values()].filter(({ id }) => !removed.has(id));
  return {
    bypasses: byId(kept.sort((a, b) => a.made - b.made || compare(a.id, b.id)).slice(0, MOST_BYPASSES)),
    removed: remembered([...removed.values()], now),
  };
}

function remembered(removed: readonly RemovedBypass[], now: number): readonly RemovedBypass[] {
  const latest = removed.filter(({ until }) => until > now).toSorted((a, b) => b.until - a.until);
  return byId(latest.slice(0, MOST_REMOVED));
}

/** Both are by ID. */
export function isSameBook(one: BypassBook, other: BypassBook): boolean {
  const idsOf = ({ bypasses, removed }: BypassBook) =>
    [...bypasses.map(({ id }) => id), "", ...removed.map(({ id, until }) => `${id} ${until}`)].join();
  return idsOf(one) === idsOf(other);
}

/** Reads what was written as JSON: by this node, or by another one, whose version may know more. `problems` names what is left out. */
export function readBook(value: unknown): { readonly book: BypassBook; readonly problems: readonly string[] } {
  const problems: string[] = [];
  const { bypasses, removed } = isRecord(value) ? value : {};
  const read = <Entry>(name: string, list: unknown, readOne: (one: unknown) => Entry | undefined): Entry[] => {
    if (!Array.isArray(list)) {
      problems.push(`${name} is not a list`);
      return [];
    }
    return list.flatMap((one: unknown, index) => {
      const entry = readOne(one);
      if (!entry) problems.push(`${name}[${index}] is not one`);
      return entry ? [entry] : [];
    });
  };
  const book = { bypasses: read("bypasses", bypasses, readBypass), removed: read("removed", removed, readRemoved) };
  return { book: { bypasses: byId(book.bypasses), removed: byId(book.removed) }, problems };
}

function readBypass(value: unknown): Bypass | undefined {
  if (!isRecord(value)) return undefined;
  const { id, entry, author, comment, made, expires } = value;
  if (!isId(id) || typeof entry !== "string" || readBypassEntry(entry) !== entry) return undefined;
  if (!isText(author, MOST_AUTHOR) || !isText(comment, MOST_COMMENT)) return undefined;
  return isTime(made) && (expires === null || isTime(expires))
    ? { id, entry, author, comment, made, expires }
    : undefined;
}

function readRemoved(value: unknown): RemovedBypass | undefined {
  if (!isRecord(value)) return undefined;
  const { id, until } = value;
  return isId(id) && isTime(until) ? { id, until } : undefined;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function isId(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{8}$/.test(value);
}

function isText(value: unknown, most: number): value is string {
  return typeof value === "string" && value.length <= most;
}

/** Dates beyond this cannot be written (ECMA-262, section 21.4.1.1). */
function isTime(value: unknown): value is number {
  return Number.isInteger(value) && Math.abs(Number(value)) <= 8.64e15;
}

function byId<Entry extends { readonly id: string }>(entries: readonly Entry[]): readonly Entry[] {
  return entries.toSorted((a, b) => compare(a.id, b.id));
}

function compare(one: string, other: string): number {
  return one < other ? -1 : Number(one > other);
}
