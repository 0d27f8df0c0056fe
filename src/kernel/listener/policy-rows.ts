import { ConfigError } from "../../errors.ts";
import { type AddressBlock, blocksOf } from "../../policy/address-set.ts";
import type { NetworkRow, PortRange } from "../../policy/network-rows.ts";

const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];

/** Sets with the addresses of the rows. A look-up among 10,000 addresses costs a packet no more than among ten. */
export function addressSets(rows: readonly NetworkRow[]): string[] {
  return rows.flatMap((row, index) =>
    (["client", "server"] as const).flatMap((end) =>
      FAMILIES.flatMap((family) => {
        const elements = elementsOf(row, end, family);
        if (elements.length === 0) return [];
        return [
          `set ${setName(index, end, family)} {`,
          `  type ${family === 4 ? "ipv4_addr" : "ipv6_addr"}`,
          "  flags interval",
          "  auto-merge",
          `  elements = { ${elements.join(", ")} }`,
          "}",
        ];
      }),
    ),
  );
}

/**
 * The matches of a row: the row matches a packet if one of them does. Empty: the row never matches. `from`: whether the packets come
 * from the client ("a") or the server ("b").
 */
export function rowMatches(row: NetworkRow, index: number, from: "a" | "b"): string[] {
  const ports = [
    portMatch(from === "a" ? "dport" : "sport", row.ports),
    portMatch(from === "a" ? "sport" : "dport", row.sourcePorts),
  ];
  if (ports.includes(undefined)) return [];
  if (row.client === undefined && row.server === undefined) return [join(...ports, "")];
  return FAMILIES.flatMap((family) => {
    const ends = (["client", "server"] as const).map((end) => {
      if (row[end] === undefined) return "";
      if (elementsOf(row, end, family).length === 0) return undefined;
      const field = (end === "client") === (from === "a") ? "saddr" : "daddr";
      return `${family === 4 ? "ip" : "ip6"} ${field} @${setName(index, end, family)}`;
    });
    return ends.includes(undefined) ? [] : [join(...ends, ...ports)];
  });
}

/** "tcp dport { 443, 8000-8099 }". Empty: every port matches. Undefined: no port matches. */
export function portMatch(field: "dport" | "sport", ranges: readonly PortRange[] | undefined): string | undefined {
  if (ranges === undefined) return "";
  const parts = mergeRanges(ranges).map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`));
  return parts.length === 0 ? undefined : `tcp ${field} { ${parts.join(", ")} }`;
}

/** nft refuses ranges that overlap. */
function mergeRanges(ranges: readonly PortRange[]): PortRange[] {
  const merged: [number, number][] = [];
  for (const [first, last] of ranges.toSorted(([a], [b]) => a - b)) {
    if (!isPort(first) || !isPort(last) || first > last) {
      throw new ConfigError("policy", `Cannot steer by the ports ${first}-${last}: not a range of ports`);
    }
    const previous = merged.at(-1);
    if (previous !== undefined && first <= previous[1] + 1) previous[1] = Math.max(previous[1], last);
    else merged.push([first, last]);
  }
  return merged;
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 0 && port <= 65_535;
}

function setName(index: number, end: "client" | "server", family: Family): string {
  return `row-${index}-${end}-${family}`;
}

function elementsOf(row: NetworkRow, end: "client" | "server", family: Family): string[] {
  return (row[end] ?? []).flatMap(readBlocks).flatMap((block) => (block.family === family ? [block.text] : []));
}

function readBlocks(entry: string): readonly AddressBlock[] {
  const blocks = blocksOf(entry);
  if (blocks) return blocks;
  throw new ConfigError("policy", `Cannot steer by ${JSON.stringify(entry)}: not an address, a subnet or a range`);
}

function join(...parts: readonly (string | undefined)[]): string {
  return parts.filter((part) => part !== "").join(" ");
}
