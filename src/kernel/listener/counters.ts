import type { Plan, PlannedCounter } from "./lane.ts";

interface Count {
  readonly packets: number;
  readonly bytes: number;
}

/** The counts of each table's counters, by their names. */
export type Counted = Readonly<Record<PlannedCounter["family"], ReadonlyMap<string, Count>>>;

/**
 * The new ruleset, with the counts of the old one: a counter takes over the count of the counter that counted the same for the same
 * listener, even if its name has changed. Rules and counts are loaded in one transaction.
 */
export function carryCounts(before: Plan, after: Plan, counted: Counted): string {
  const stand = new Map(
    before.counters.flatMap((counter) => {
      const count = counted[counter.family].get(counter.name);
      return count === undefined ? [] : [[identityOf(counter), count]];
    }),
  );
  return after.counters.reduce((nft, counter) => {
    const count = stand.get(identityOf(counter));
    if (count === undefined) return nft;
    return fill(nft, counter, `packets ${count.packets} bytes ${count.bytes}`);
  }, after.nft);
}

function identityOf({ family, listener, vlan, counts, rowName }: PlannedCounter): string {
  return JSON.stringify([family, listener, vlan, counts, rowName]);
}

/** Both tables may have a counter of this name: search from the beginning of its own table. */
function fill(nft: string, { family, name }: PlannedCounter, value: string): string {
  const table = nft.indexOf(`table ${family} clearline {`);
  const opening = `  counter ${name} {\n`;
  const at = nft.indexOf(opening, table) + opening.length;
  return `${nft.slice(0, at)}    ${value}\n${nft.slice(at)}`;
}
