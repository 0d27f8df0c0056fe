import { UNTAGGED } from "../../policy/conditions.ts";
import type { NetworkRow } from "../../policy/network-rows.ts";
import { hex } from "../../vocabulary.ts";
import { type Lane, type LiveConnection, type PlannedCounter, vlanOf } from "./lane.ts";
import { CODE, markOf } from "./marks.ts";
import { portMatch, rowMatches } from "./policy-rows.ts";
import { dropUnsigned, passBgp, passSigned } from "./signed-rules.ts";

/** The input of the rules. */
export interface RuleInput {
  readonly workers: number;
  readonly markShift: number;
  readonly features: { readonly nftQueue: boolean; readonly notrack: boolean };
  readonly rows: readonly NetworkRow[];
  readonly live?: readonly LiveConnection[];
  /** The port of the node's API. */
  readonly apiPort: number;
}

/** The input of the rules, with the parts that all chains share. */
export interface RuleContext extends RuleInput {
  readonly lanes: readonly Lane[];
  readonly live: readonly LiveConnection[];
  readonly counters: PlannedCounter[];
  /** The statement that sets a packet's code. */
  readonly set: (code: number) => string;
  /** The match for packets with this code. */
  readonly is: (code: number) => string;
  /** The expression for a packet's code. */
  readonly codes: string;
  /** The statement that hands a packet, or its connection, to a socket of the client leg. */
  readonly toClientLeg: (lane: Lane) => string;
}

/**
 * The hooks. Their order follows from connection tracking (-200) and address translation (-100): both legs have the same ends, so one
 * of them must not be tracked. That is the client leg, whose rules come before tracking. The rules of the server leg come after
 * translation, when the replies have the client's address again. Packets that no worker takes are tracked as on any router.
 */
export const HOOK = {
  /** Before the queue (raw, -300). */
  arriving: "type filter hook prerouting priority -310; policy accept;",
  hold: "type filter hook prerouting priority raw; policy accept;",
  steer: "type filter hook prerouting priority -290; policy accept;",
  returning: "type filter hook prerouting priority -90; policy accept;",
  guard: "type filter hook input priority filter; policy accept;",
  /** After the chains of others, which may match the mark. */
  landed: "type filter hook input priority 310; policy accept;",
  untracked: "type filter hook output priority raw; policy accept;",
  unreached: "type route hook output priority mangle; policy accept;",
  silence: "type filter hook output priority filter; policy accept;",
} as const;

/** The first packet of a connection: RFC 9293, section 3.5. */
export const NEW = "tcp flags & (fin|syn|rst|ack) == syn";

/** The server's answer to it. */
export const SYN_ACK = "tcp flags & (fin|syn|rst|ack) == syn|ack";

/**
 * Flags that no TCP sends together, or none at all: RFC 9293, section 3.10.7. Hosts differ in what they make of them, and some open
 * a connection on SYN with FIN.
 */
const IMPOSSIBLE = "tcp flags & (fin|syn|rst|ack) { 0x0, 0x3, 0x5, 0x6, 0x7, 0x13, 0x15, 0x16, 0x17 }";

/** Drops packets with impossible flags, and counts them. */
export function dropImpossible(w: RuleContext, lane: Lane, family: "inet" | "bridge"): string {
  return `${IMPOSSIBLE} ${count(w, lane, family, "impossible")} drop`;
}

/**
 * The network phase of the policy, for the first packet of a connection. `then`: the statement after the mark is set; `pass`: the
 * one for a packet that is forwarded.
 */
export function newChains(
  w: RuleContext,
  lane: Lane,
  family: "inet" | "bridge",
  then: string,
  pass = "accept",
): string[] {
  const verdicts = {
    bypass: pass,
    drop: `${w.set(CODE.REFUSED)} ${then}`,
    decrypt: `goto intercept-${lane.index}`,
  };
  const verdict = (row: NetworkRow, index: number) => `${count(w, lane, family, "row", index)} ${verdicts[row.action]}`;
  const signed = () => `${count(w, lane, family, "signed")} ${pass}`;
  const live = family === "inet" ? [`socket wildcard 0 socket transparent 1 ${w.toClientLeg(lane)}`] : [];
  return [
    ...interceptChains(w, lane, family, then),
    ...chain(`new-${lane.index}`, [
      ...live,
      // Where a router ends a packet's way, it does so without the node too.
      ...(family === "inet" && lane.bridge === undefined ? [`ip ttl < 2 ${pass}`, `ip6 hoplimit < 2 ${pass}`] : []),
      ...unlisted(lane, ["dport"], pass),
      ...rowRules(w, lane, "a", (row, index) => (row.action === "drop" ? verdict(row, index) : undefined)),
      // Link-local addresses are valid on their own link only, which a bridge is a part of: drop rules hold, and no more can be done.
      ...["saddr", "daddr"].map((end) => {
        const counted = lane.bridge === undefined ? "" : `${count(w, lane, family, "linkLocal")} `;
        return `ip6 ${end} fe80::/10 ${counted}${pass}`;
      }),
      ...passSigned(lane, family, signed),
      ...rowRules(w, lane, "a", (row, index) => (row.action === "drop" ? undefined : verdict(row, index))),
      ...passBgp(lane, signed),
      `goto intercept-${lane.index}`,
    ]),
  ];
}

/** Chooses the worker by the connection's ends, so that a retransmitted SYN reaches the same worker. */
function interceptChains(w: RuleContext, lane: Lane, family: "inet" | "bridge", then: string): string[] {
  const name = `intercept-${lane.index}`;
  const pending = notePending(lane);
  if (!lane.listener.synHold) return chain(name, [...pending, `${w.set(CODE.INTERCEPT)} ${then}`]);
  const workers = Array.from({ length: w.workers }, (_, worker) => worker);
  const held = workers.map((worker) => chain(`held-${lane.index}-${worker}`, [`${w.set(CODE.HELD + worker)} ${then}`]));
  if (w.workers === 1) return [...held.flat(), ...chain(name, [...pending, `goto held-${lane.index}-0`])];
  const map = workers.map((worker) => `${worker} : goto held-${lane.index}-${worker}`).join(", ");
  const protocol =
    family === "inet"
      ? { ip: "meta nfproto ipv4", ip6: "meta nfproto ipv6" }
      : { ip: "meta protocol ip", ip6: "meta protocol ip6" };
  const spread = (ip: "ip" | "ip6") => `${protocol[ip]} ${workerBy(w, ip, "saddr", "daddr")} vmap { ${map} }`;
  return [...held.flat(), ...chain(name, [...pending, spread("ip"), spread("ip6")])];
}

/** The expression for a connection's worker. `client`: the field with the client's address. */
function workerBy(w: RuleContext, ip: "ip" | "ip6", client: "saddr" | "daddr", server: "saddr" | "daddr"): string {
  const end = (field: "saddr" | "daddr") => `${ip} ${field} . tcp ${field === "saddr" ? "sport" : "dport"}`;
  return `jhash ${end(client)} . ${end(server)} mod ${w.workers} seed 0x1`;
}

/** A server's answer to a SYN of a server leg: a copy goes to the connection's worker. */
export function copyAnswers(w: RuleContext, { index, answers }: Lane): { chains: string[]; rule: string[] } {
  if (answers.length === 0) return { chains: [], rule: [] };
  const copies = answers.map((group, worker) => chain(`answer-${index}-${worker}`, [`log group ${group} snaplen 256`]));
  const map = answers.map((_, worker) => `${worker} : jump answer-${index}-${worker}`).join(", ");
  const choose = (ip: "ip" | "ip6", family: string) =>
    w.workers === 1
      ? `meta nfproto ${family} jump answer-${index}-0`
      : `meta nfproto ${family} ${workerBy(w, ip, "daddr", "saddr")} vmap { ${map} }`;
  const name = `answers-${index}`;
  return {
    chains: [...copies.flat(), ...chain(name, [choose("ip", "ipv4"), choose("ip6", "ipv6")])],
    rule: [`${SYN_ACK} socket transparent 1 jump ${name}`],
  };
}

/** Forwards packets to ports that the listener does not take. `fields`: those that may have the server's port. */
export function unlisted({ ports }: Lane, fields: readonly ("dport" | "sport")[], pass = "accept"): string[] {
  const listed = portMatch("dport", ports);
  if (listed === undefined) return [pass];
  if (listed === "") return [];
  return [`${fields.map((field) => listed.replace("dport", `${field} !=`)).join(" ")} ${pass}`];
}

/** The rules of all rows that apply to this listener and have a verdict, for packets from this side. */
export function rowRules(
  w: RuleContext,
  lane: Lane,
  side: "a" | "b",
  verdict: (row: NetworkRow, index: number) => string | undefined,
): string[] {
  return w.rows.flatMap((row, index) => {
    if (row.listeners !== undefined && !row.listeners.includes(lane.listener.name)) return [];
    if (row.vlans !== undefined && !row.vlans.includes(vlanOf(lane) ?? UNTAGGED)) return [];
    const then = verdict(row, index);
    if (then === undefined) return [];
    const rules = rowMatches(row, index, side).map((match) => `${match} ${then}`.trim());
    return rules.length === 0 ? [] : [`# ${printable(row.name)}: ${row.action}`, ...rules];
  });
}

/** The connections that have sent their SYN and wait for an answer: what their clients send next is for the IP rules too. */
export function pendingSets({ index }: Lane): string[] {
  return ([4, 6] as const).flatMap((family) => [
    `set pending-${index}-${family} {`,
    `  type ipv${family}_addr . inet_service . ipv${family}_addr . inet_service`,
    ...["  flags dynamic,timeout", "  timeout 1m", "  size 65536", "}"],
  ]);
}

function notePending({ index }: Lane): string[] {
  return PENDING.map(([family, key]) => `${NEW} update @pending-${index}-${family} { ${key} }`);
}

/**
 * Hands over the RST of a client whose SYN is held to the worker that holds it: the server has answered the client by another way,
 * for a client refuses a SYN-ACK that does not answer its own SYN (RFC 9293, section 3.10.7.3).
 */
export function heldResets(w: RuleContext, lane: Lane, family: "inet" | "bridge"): string[] {
  if (!lane.listener.synHold) return [];
  const counted = count(w, lane, family, "asymmetric");
  return PENDING.map(
    ([version, key]) =>
      `tcp flags & rst == rst ${key} @pending-${lane.index}-${version} ${counted} goto intercept-${lane.index}`,
  );
}

const PENDING = [
  [4, "ip saddr . tcp sport . ip daddr . tcp dport"],
  [6, "ip6 saddr . tcp sport . ip6 daddr . tcp dport"],
] as const;

/** Drops what answers a signed SYN and is not signed. */
export function dropUnsignedAnswers(w: RuleContext, lane: Lane, family: "inet" | "bridge"): string[] {
  return dropUnsigned(lane, family, () => `${count(w, lane, family, "unsigned")} drop`);
}

/** The statement that counts a packet. Adds the counter to the plan. */
export function count(
  w: RuleContext,
  lane: Lane,
  family: "inet" | "bridge",
  counts: PlannedCounter["counts"],
  row?: number,
): string {
  const name = `${counts}-${lane.index}${row === undefined ? "" : `-${row}`}`;
  if (!w.counters.some((counter) => counter.family === family && counter.name === name)) {
    const rowName = row === undefined ? undefined : w.rows[row]?.name;
    w.counters.push({ family, name, listener: lane.listener.name, vlan: vlanOf(lane), counts, row, rowName });
  }
  return `counter name "${name}"`;
}

/** The match for packets whose code, masked with `bits`, is `kind`. */
export function kindMatch(w: RuleContext, kind: number, bits: number, is: "==" | "!=" = "=="): string {
  return `meta mark & ${hex(markOf(bits, w.markShift))} ${is} ${hex(markOf(kind, w.markShift))}`;
}

/** The lines of a chain. */
export function chain(name: string, rules: readonly string[]): string[] {
  return [`chain ${name} {`, ...indent(rules), "}"];
}

/** The lines, indented by two more spaces. */
export function indent(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}

/** A name of the policy in a comment. A line break in it would end the comment. */
function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, "?");
}
