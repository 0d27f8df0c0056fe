import type { NetworkRow } from "../../policy/network-rows.ts";
import { hex } from "../../vocabulary.ts";
import type { Lane, PlannedCounter } from "./lane.ts";
import { CODE, markOf } from "./marks.ts";
import { type LiveConnection, portMatch, rowMatches } from "./policy-rows.ts";

/** What the rules are written from. */
export interface Settings {
  readonly workers: number;
  readonly markShift: number;
  readonly features: { readonly nftQueue: boolean; readonly notrack: boolean };
  readonly rows: readonly NetworkRow[];
  readonly live?: readonly LiveConnection[];
}

/** What the chains of one table are written with. */
export interface Writing extends Settings {
  readonly lanes: readonly Lane[];
  readonly live: readonly LiveConnection[];
  readonly counters: PlannedCounter[];
  /** The statement that gives a packet this code. */
  readonly set: (code: number) => string;
  /** The match for packets that have this code. */
  readonly is: (code: number) => string;
  /** The expression that is a packet's code. */
  readonly codes: string;
  /** The statement that hands a packet, or its connection, to a socket of the client leg. */
  readonly toClientLeg: (lane: Lane) => string;
}

/**
 * The order of the hooks, which is all about connection tracking (-200) and address translation (-100). Both legs have the same
 * ends, so one of them must not be tracked, and that is the client leg: it is judged before, and the server leg after, when
 * the addresses of its answers are the client's again. What no worker takes is tracked as on any router.
 */
export const HOOK = {
  /** Before the queue (raw, -300). */
  arriving: "type filter hook prerouting priority -310; policy accept;",
  hold: "type filter hook prerouting priority raw; policy accept;",
  steer: "type filter hook prerouting priority -290; policy accept;",
  returning: "type filter hook prerouting priority -90; policy accept;",
  guard: "type filter hook input priority filter; policy accept;",
  /** Behind everybody else's chains, which may ask for the mark. */
  landed: "type filter hook input priority 310; policy accept;",
  untracked: "type filter hook output priority raw; policy accept;",
  unreached: "type route hook output priority mangle; policy accept;",
  silence: "type filter hook output priority filter; policy accept;",
} as const;

/** The first packet of a connection: RFC 9293, section 3.5. */
export const NEW = "tcp flags & (fin|syn|rst|ack) == syn";

/** The network phase of the policy, for the first packet of a connection. `then`: where it goes with its mark. */
export function newChains(w: Writing, lane: Lane, family: "inet" | "bridge", then: string): string[] {
  const verdicts = {
    bypass: "accept",
    drop: `${w.set(CODE.REFUSED)} ${then}`,
    decrypt: `goto intercept-${lane.index}`,
  };
  const live = family === "inet" ? [`socket wildcard 0 socket transparent 1 ${w.toClientLeg(lane)}`] : [];
  return [
    ...interceptChains(w, lane, family, then),
    ...chain(`new-${lane.index}`, [
      ...live,
      // Link-local ends are on this link only, and their addresses mean nothing without it.
      "ip6 saddr fe80::/10 accept",
      "ip6 daddr fe80::/10 accept",
      ...unlisted(lane, "dport"),
      ...rowRules(w, lane, "a", (row, index) => `${count(w, lane, family, "row", index)} ${verdicts[row.action]}`),
      `goto intercept-${lane.index}`,
    ]),
  ];
}

/** Which worker: by the connection's ends, so that a SYN that is sent again meets the same one. */
function interceptChains(w: Writing, lane: Lane, family: "inet" | "bridge", then: string): string[] {
  const name = `intercept-${lane.index}`;
  if (!lane.listener.synHold) return chain(name, [`${w.set(CODE.INTERCEPT)} ${then}`]);
  const workers = Array.from({ length: w.workers }, (_, worker) => worker);
  const held = workers.map((worker) => chain(`held-${lane.index}-${worker}`, [`${w.set(CODE.HELD + worker)} ${then}`]));
  if (w.workers === 1) return [...held.flat(), ...chain(name, [`goto held-${lane.index}-0`])];
  const map = workers.map((worker) => `${worker} : goto held-${lane.index}-${worker}`).join(", ");
  const protocol =
    family === "inet"
      ? { ip: "meta nfproto ipv4", ip6: "meta nfproto ipv6" }
      : { ip: "ether type ip", ip6: "ether type ip6" };
  const spread = (ip: "ip" | "ip6") =>
    `${protocol[ip]} jhash ${ip} saddr . tcp sport . ${ip} daddr . tcp dport mod ${w.workers} seed 0x1 vmap { ${map} }`;
  return [...held.flat(), ...chain(name, [spread("ip"), spread("ip6")])];
}

/** What the listener does not take goes on as it is. */
export function unlisted({ ports }: Lane, field: "dport" | "sport"): string[] {
  const listed = portMatch(field, ports);
  if (listed === undefined) return ["accept"];
  return listed === "" ? [] : [`${listed.replace(field, `${field} !=`)} accept`];
}

/** The rules of all rows that concern this listener, for packets from this side. */
export function rowRules(
  w: Writing,
  lane: Lane,
  side: "a" | "b",
  verdict: (row: NetworkRow, index: number) => string,
): string[] {
  return w.rows.flatMap((row, index) => {
    if (row.listeners !== undefined && !row.listeners.includes(lane.listener.name)) return [];
    const rules = rowMatches(row, index, side).map((match) => `${match} ${verdict(row, index)}`.trim());
    return rules.length === 0 ? [] : [`# ${printable(row.name)}: ${row.action}`, ...rules];
  });
}

/** The statement that counts here, by a counter of the table that the plan names. */
export function count(
  w: Writing,
  lane: Lane,
  family: "inet" | "bridge",
  counts: PlannedCounter["counts"],
  row?: number,
): string {
  const name = `${counts}-${lane.index}${row === undefined ? "" : `-${row}`}`;
  if (!w.counters.some((counter) => counter.family === family && counter.name === name)) {
    const rowName = row === undefined ? undefined : w.rows[row]?.name;
    w.counters.push({ family, name, listener: lane.listener.name, counts, row, rowName });
  }
  return `counter name "${name}"`;
}

/** The match for packets whose code is of this kind, under these bits of it. */
export function kindMatch(w: Writing, kind: number, bits: number, is: "==" | "!=" = "=="): string {
  return `meta mark & ${hex(markOf(bits, w.markShift))} ${is} ${hex(markOf(kind, w.markShift))}`;
}

/** The lines of a chain. */
export function chain(name: string, rules: readonly string[]): string[] {
  return [`chain ${name} {`, ...indent(rules), "}"];
}

/** The lines, two spaces further in. */
export function indent(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}

/** A comment ends with its line. */
function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, "?");
}
