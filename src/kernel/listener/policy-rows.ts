import { isIPv4, isIPv6 } from "node:net";
import ipaddr from "ipaddr.js";
import { ConfigError } from "../../errors.ts";

/** From first to last, both included. */
export type PortRange = readonly [first: number, last: number];

/** One row of the policy's network phase, in the policy's order: what is absent does not matter. */
export interface NetworkRow {
  /** The rule or list that it comes from, for people. */
  readonly name: string;
  readonly action: "bypass" | "decrypt" | "drop";
  /** Addresses, subnets, ranges. */
  readonly client?: readonly string[];
  readonly server?: readonly string[];
  /** The server's ports. */
  readonly ports?: readonly PortRange[];
  readonly sourcePorts?: readonly PortRange[];
  /** The listeners' names. */
  readonly listeners?: readonly string[];
}

/** A TCP connection by its ends. */
export interface LiveConnection {
  readonly client: { readonly address: string; readonly port: number };
  readonly server: { readonly address: string; readonly port: number };
}

const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];

/** The sets that the rows' addresses are looked up in: 10,000 of them cost a packet no more than ten. */
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
 * The matches of a row, one for each way in which it can hold; none when it never holds. "a": packets that come from the
 * client; "b": from the server.
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

/** The sets of the connections that live, and for packets from one side the matches that find them; none without any. */
export function liveSets(live: readonly LiveConnection[]): { sets: string[]; matches(from: "a" | "b"): string[] } {
  const found = FAMILIES.flatMap((family) => {
    const ends = live.flatMap(({ client, server }) => {
      const [a, b] = [readEntry(client.address), readEntry(server.address)];
      return a.family === family && b.family === family
        ? [`${a.element} . ${client.port} . ${b.element} . ${server.port}`]
        : [];
    });
    return ends.length === 0 ? [] : [{ family, ends: [...new Set(ends)] }];
  });
  return {
    sets: found.flatMap(({ family, ends }) => [
      `set live-${family} {`,
      `  type ipv${family}_addr . inet_service . ipv${family}_addr . inet_service`,
      `  elements = { ${ends.join(", ")} }`,
      "}",
    ]),
    matches: (from) =>
      found.map(({ family }) => {
        const ip = family === 4 ? "ip" : "ip6";
        const [source, destination] = [`${ip} saddr . tcp sport`, `${ip} daddr . tcp dport`];
        return `${from === "a" ? `${source} . ${destination}` : `${destination} . ${source}`} @live-${family}`;
      }),
  };
}

/** "tcp dport { 443, 8000-8099 }"; empty when every port will do, undefined when none will. */
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
  return (row[end] ?? []).map(readEntry).flatMap((entry) => (entry.family === family ? [entry.element] : []));
}

/** An address, subnet or range as nft writes it. IPv4 addresses that are written as IPv6 ones are IPv4 ones. */
function readEntry(text: string): { family: Family; element: string } {
  const [, first = "", sign, second = ""] = /^([\d.:a-fA-F]+)(?:\s*([-/])\s*([\d.:a-fA-F]+))?$/.exec(text.trim()) ?? [];
  const start = readAddress(first);
  if (start !== undefined && sign === undefined) return { family: start.family, element: start.text };
  if (start !== undefined && sign === "/" && /^\d{1,3}$/.test(second)) {
    const bits = Number(second) - (start.mapped ? 96 : 0);
    if (bits >= 0 && bits <= (start.family === 4 ? 32 : 128)) return subnet(start, bits);
  }
  const end = sign === "-" ? readAddress(second) : undefined;
  if (start !== undefined && end?.family === start.family) {
    return { family: start.family, element: start.text === end.text ? start.text : `${start.text}-${end.text}` };
  }
  throw new ConfigError("policy", `Cannot steer by ${JSON.stringify(text)}: not an address, a subnet or a range`);
}

interface Address {
  readonly family: Family;
  readonly text: string;
  readonly mapped: boolean;
}

function readAddress(text: string): Address | undefined {
  if (isIPv4(text)) return { family: 4, text, mapped: false };
  if (!isIPv6(text)) return undefined;
  const address = ipaddr.IPv6.parse(text);
  if (!address.isIPv4MappedAddress()) return { family: 6, text: address.toRFC5952String(), mapped: false };
  return { family: 4, text: address.toIPv4Address().toString(), mapped: true };
}

function subnet({ family, text }: Address, bits: number): { family: Family; element: string } {
  const kind = family === 4 ? ipaddr.IPv4 : ipaddr.IPv6;
  return { family, element: `${kind.networkAddressFromCIDR(`${text}/${bits}`).toString()}/${bits}` };
}

function join(...parts: readonly (string | undefined)[]): string {
  return parts.filter((part) => part !== "").join(" ");
}
