import { createHash } from "node:crypto";
import {
  type Address,
  type AddressSet,
  isAddressEntry,
  keysOfEntry,
  keyWithin,
  PREFIX_LENGTHS,
} from "./address-set.ts";
import { type HostSet, readHostEntry } from "./host-set.ts";
import { packTable, SortedTable } from "./sorted-table.ts";

/** A list: entries, and tables that `packList` made of many. */
export type ListSource = readonly (string | Uint8Array)[];

/**
 * The keys of a table. A host is under the name above it, so that the hosts directly below a name stand together:
 * "h example.com/www", and "h example.com/*" for every subdomain. A block of addresses is followed by its entry:
 * "a4 24 a000000 10.0.0.0/24".
 */
const HOST = "h ";
const ADDRESS = "a";

/** Packs entries that `readList` accepted; others are left out. */
export function packList(entries: readonly string[]): Uint8Array<ArrayBuffer> {
  return packTable(
    entries.flatMap((entry) => {
      const host = readHostEntry(entry);
      if (host) return [host.subdomains ? `${HOST}${host.host}/*` : hostKey(host.host)];
      // A block's entry is what the user is shown.
      return keysOfEntry(entry)?.map((key) => `${ADDRESS}${key} ${entry.replace(/\s+/g, "")}`) ?? [];
    }),
  );
}

function hostKey(host: string): string {
  const dot = host.indexOf(".");
  return dot < 0 ? `${HOST}/${host}` : `${HOST}${host.slice(dot + 1)}/${host.slice(0, dot)}`;
}

/** The tables of a list. */
export function tablesOf(list: ListSource): SortedTable[] {
  const entries = list.filter((one) => typeof one === "string");
  const packed = list.filter((one) => typeof one !== "string");
  return [...packed, ...(entries.length > 0 ? [packList(entries)] : [])].map((bytes) => new SortedTable(bytes));
}

/** The hosts of a list, like those of `createHostSet`. Their values are the entries. */
export function listedHosts(tables: readonly SortedTable[]): HostSet<string> {
  const find = (host: string) => tables.flatMap((table) => findHost(table, host));
  const below = (parent: string, most = Number.POSITIVE_INFINITY) =>
    tables.flatMap((table) => childrenOf(table, parent, most)).slice(0, most);
  return {
    size: tables.reduce((size, table) => size + table.count(HOST), 0),
    find,
    // One of thousands below a wildcard is enough.
    reach: (name) => (name.startsWith("*.") ? [...find(name), ...below(name.slice(2), 1)] : find(name)),
    below,
  };
}

function findHost(table: SortedTable, host: string): string[] {
  const found = !host.startsWith("*.") && table.has(hostKey(host)) ? [host] : [];
  // Only suffixes after a dot are compared: "evilexample.com" does not end in "example.com" here.
  for (let dot = host.indexOf("."); dot > 0; dot = host.indexOf(".", dot + 1)) {
    const parent = host.slice(dot + 1);
    if (table.has(`${HOST}${parent}/*`)) found.push(`*.${parent}`);
  }
  return found;
}

function childrenOf(table: SortedTable, parent: string, most: number): string[] {
  // Without the name itself, "" would be the name above all hosts that have no dot.
  if (parent === "") return [];
  return table
    .after(`${HOST}${parent}/`, most + 1)
    .filter((label) => label !== "*")
    .slice(0, most)
    .map((label) => `${label}.${parent}`);
}

/** The addresses of a list, like those of `createAddressSet`. Their values are the entries. */
export function listedAddresses(tables: readonly SortedTable[]): AddressSet<string> {
  const lengths = (family: 4 | 6) =>
    PREFIX_LENGTHS[family].filter((length) => tables.some((table) => table.count(`${ADDRESS}${length.key} `) > 0));
  const used = { 4: lengths(4), 6: lengths(6) };
  return {
    size: tables.reduce((size, table) => size + table.count(ADDRESS), 0),
    find: (address: Address) =>
      used[address.family].flatMap((length) => {
        const prefix = `${ADDRESS}${keyWithin(address, length)} `;
        return tables.flatMap((table) => table.after(prefix));
      }),
  };
}

/** The addresses, subnets and ranges of a list. */
export function addressEntries(list: ListSource): string[] {
  const written = list.filter((one) => typeof one === "string" && isAddressEntry(one)) as string[];
  const tables = list.filter((one) => typeof one !== "string").map((bytes) => new SortedTable(bytes));
  const packed = tables.flatMap((table) => table.after(ADDRESS)).map((key) => key.slice(key.lastIndexOf(" ") + 1));
  return [...new Set([...written, ...packed])];
}

/** A name for a table, by its content. */
export function tableName(table: Uint8Array): string {
  const name = names.get(table) ?? createHash("sha256").update(table).digest("hex");
  names.set(table, name);
  return name;
}

const names = new WeakMap<Uint8Array, string>();

/** The policy, and whatever else, as text that is the same only if all of it is the same. */
export function textWithLists(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => (inner instanceof Uint8Array ? tableName(inner) : inner));
}
