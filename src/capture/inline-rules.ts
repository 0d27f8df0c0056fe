import type { InlineListener, Marks, PlannedCounter } from "./inline-plan.ts";
import { addressSets, type NetworkRow, type PortRange, portMatch, rowMatches } from "./network-rows.ts";

/** One listener with everything that is numbered for it. */
export interface Lane {
  readonly index: number;
  readonly listener: InlineListener;
  readonly bridge: { readonly name: string; readonly mac: string } | undefined;
  readonly sharedPort: number;
  readonly workerPorts: readonly number[];
  readonly queues: readonly number[];
  /** Undefined: all. */
  readonly ports: readonly PortRange[] | undefined;
}

/**
 * What eight bits of a packet's mark say, from one hook to the next and between kernel and worker. 1 to 63: the worker of that
 * number plus one accepts the client. Above HELD: its SYN is to wait for that worker. Zero: not ours.
 */
export const CODE = {
  WORKER: 1,
  HELD: 64,
  INTERCEPT: 128,
  LOCAL: 129,
  REFUSED: 130,
  HOST_UNREACHABLE: 131,
  NET_UNREACHABLE: 132,
  QUIC: 133,
} as const;

export function markOf(code: number, shift: number): number {
  return (code << shift) >>> 0;
}

export function readMarks(shift: number, workers: number): Marks {
  return {
    mask: markOf(0xff, shift),
    workers: Array.from({ length: workers }, (_, worker) => markOf(CODE.WORKER + worker, shift)),
    refused: markOf(CODE.REFUSED, shift),
    hostUnreachable: markOf(CODE.HOST_UNREACHABLE, shift),
    netUnreachable: markOf(CODE.NET_UNREACHABLE, shift),
  };
}

interface Settings {
  readonly workers: number;
  readonly basePort: number;
  readonly markShift: number;
  readonly features: { readonly nftQueue: boolean };
}

/** What the chains of one table are written with. */
interface Writing extends Settings {
  readonly lanes: readonly Lane[];
  readonly rows: readonly NetworkRow[];
  readonly counters: PlannedCounter[];
  readonly set: (code: number) => string;
  readonly is: (code: number) => string;
  readonly codes: string;
}

/** The ruleset of both families as one script, and the counters in it. */
export function writeRules(
  lanes: readonly Lane[],
  rows: readonly NetworkRow[],
  mask: number,
  settings: Settings,
): { nft: string; counters: PlannedCounter[] } {
  const counters: PlannedCounter[] = [];
  const keep = hex(~mask >>> 0);
  const codes = `meta mark & ${hex(mask)}`;
  const mark = (code: number) => hex(markOf(code, settings.markShift));
  const writing: Writing = {
    workers: settings.workers,
    basePort: settings.basePort,
    markShift: settings.markShift,
    features: settings.features,
    lanes,
    rows,
    counters,
    codes,
    // The other bits of the mark are somebody else's.
    set: (code) => `meta mark set meta mark & ${keep} | ${mark(code)}`,
    is: (code) => `${codes} == ${mark(code)}`,
  };
  const bridges = lanes.some(({ bridge }) => bridge !== undefined);
  const inet = inetChains(writing);
  const bridge = bridges ? bridgeChains(writing) : [];
  const text = [
    ...replaced("inet", inet, counters, lanes.some((lane) => lane.bridge === undefined) ? addressSets(rows) : []),
    ...replaced("bridge", bridge, counters, bridges ? addressSets(rows) : []),
  ];
  return { nft: `${text.join("\n")}\n`, counters };
}

/** Made, deleted and made again: so it is new whether it was there or not. An empty one stays away. */
function replaced(
  family: "inet" | "bridge",
  chains: readonly string[],
  counters: readonly PlannedCounter[],
  sets: readonly string[],
): string[] {
  const gone = [`table ${family} clearline`, `delete table ${family} clearline`];
  if (chains.length === 0) return gone;
  const named = counters
    .filter((counter) => counter.family === family)
    .flatMap(({ name }) => [`counter ${name} {`, "}"]);
  return [...gone, `table ${family} clearline {`, ...indent([...named, ...sets, ...chains]), "}"];
}

const NEW = "tcp flags & (fin|syn|rst|ack) == syn";
/** TCP, and the errors that routers send about it, which quote it. */
const TCP_AND_ERRORS = "meta l4proto { tcp, icmp, ipv6-icmp }";
/** Before the queue (raw, -300) and before connection tracking (-200). */
const ARRIVAL = "type filter hook prerouting priority -310; policy accept;";

function inetChains(w: Writing): string[] {
  const links = w.lanes.flatMap(({ bridge, listener }) => bridge?.name ?? [listener.networkA, listener.networkB]);
  const entries = w.lanes.flatMap((lane) =>
    lane.bridge !== undefined
      ? [`iifname "${lane.bridge.name}" goto lifted-${lane.index}`]
      : [
          `iifname "${lane.listener.networkA}" goto from-a-${lane.index}`,
          `iifname "${lane.listener.networkB}" goto existing`,
        ],
  );
  return [
    ...w.lanes.flatMap((lane) => (lane.bridge === undefined ? routedChains(w, lane) : liftedChain(w, lane))),
    "# Packets of a live session go to its socket; a listening socket has none, even if a port is the same by chance.",
    ...chain("existing", [
      `${TCP_AND_ERRORS} socket wildcard 1 return`,
      `${TCP_AND_ERRORS} socket transparent 1 ${w.set(CODE.LOCAL)} accept`,
    ]),
    ...chain("arriving", [
      ARRIVAL,
      `iifname != { ${links.map((link) => `"${link}"`).join(", ")} } accept`,
      // This machine's own services are not Clearline's business, whatever a frame was marked with.
      `fib daddr type local ${w.set(0)} accept`,
      ...entries,
    ]),
    ...(w.features.nftQueue ? queueChain(w) : []),
    ...w.lanes.flatMap((lane) => steeringChains(w, lane)),
    ...chain("steer", [
      "type filter hook prerouting priority mangle; policy accept;",
      ...w.lanes.map(
        ({ index, bridge, listener }) => `iifname "${bridge?.name ?? listener.networkA}" goto steer-${index}`,
      ),
    ]),
    ...guardChain(w),
    ...silenceChain(w),
  ];
}

/** Of a router's packets only the first of a connection needs a decision: what has no socket is forwarded. */
function routedChains(w: Writing, lane: Lane): string[] {
  const quic = lane.listener.blockQuic
    ? [`udp dport 443 ${count(w, lane, "inet", "quic")} reject with icmpx type port-unreachable`]
    : [];
  return [
    ...newChains(w, lane, "inet", "accept"),
    ...chain(`from-a-${lane.index}`, [`${NEW} goto new-${lane.index}`, ...quic, "goto existing"]),
  ];
}

/** A bridge's packets were judged as frames; the mark tells how. */
function liftedChain(w: Writing, { index }: Lane): string[] {
  return chain(`lifted-${index}`, [
    `${NEW} socket wildcard 0 socket transparent 1 ${w.set(CODE.LOCAL)} accept`,
    `${w.codes} != 0x0 accept`,
    "goto existing",
  ]);
}

/** The network phase of the policy, for the first packet of a connection. `then`: where it goes with its mark. */
function newChains(w: Writing, lane: Lane, family: "inet" | "bridge", then: string): string[] {
  const verdicts = {
    bypass: "accept",
    drop: `${w.set(CODE.REFUSED)} ${then}`,
    decrypt: `goto intercept-${lane.index}`,
  };
  const listed = portMatch("dport", lane.ports);
  const live = family === "inet" ? [`socket wildcard 0 socket transparent 1 ${w.set(CODE.LOCAL)} accept`] : [];
  return [
    ...interceptChains(w, lane, family, then),
    ...chain(`new-${lane.index}`, [
      ...live,
      // Link-local ends are on this link only, and their addresses mean nothing without it.
      "ip6 saddr fe80::/10 accept",
      "ip6 daddr fe80::/10 accept",
      ...(listed === "" ? [] : [listed === undefined ? "accept" : `${listed.replace("dport", "dport !=")} accept`]),
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

function queueChain(w: Writing): string[] {
  const rules = w.lanes.flatMap(({ bridge, listener, queues }) =>
    queues.map(
      (queue, worker) =>
        `iifname "${bridge?.name ?? listener.networkA}" ${w.is(CODE.HELD + worker)} queue num ${queue} bypass`,
    ),
  );
  return rules.length === 0
    ? []
    : chain("hold", ["type filter hook prerouting priority raw; policy accept;", ...rules]);
}

/** After the queue: the mark is the worker's verdict, or still the one it came with. */
function steeringChains(w: Writing, lane: Lane): string[] {
  const { index, listener, sharedPort, workerPorts, queues } = lane;
  const mark = (code: number) => hex(markOf(code, w.markShift));
  const accept = (port: number) =>
    `meta l4proto tcp tproxy to :${port} ${count(w, lane, "inet", "accepted")} ${w.set(CODE.LOCAL)} accept`;
  const unserved = count(w, lane, "inet", "unserved");
  const held = queues.length > 0 ? workerPorts : [];
  const verdicts = [
    ...held.map((_, worker) => `${mark(CODE.WORKER + worker)} : goto worker-${index}-${worker}`),
    ...held.map((_, worker) => `${mark(CODE.HELD + worker)} : goto shared-${index}`),
    `${mark(CODE.INTERCEPT)} : goto shared-${index}`,
    `${mark(CODE.REFUSED)} : goto refused-${index}`,
    `${mark(CODE.HOST_UNREACHABLE)} : goto host-unreachable`,
    `${mark(CODE.NET_UNREACHABLE)} : goto net-unreachable`,
    `${mark(CODE.QUIC)} : goto port-unreachable`,
  ];
  return [
    ...(index === 0
      ? ["host", "net", "port"].flatMap((what) =>
          chain(`${what}-unreachable`, [`reject with icmpx type ${unreachable(what)}`]),
        )
      : []),
    ...chain(`refused-${index}`, [`${count(w, lane, "inet", "refused")} meta l4proto tcp reject with tcp reset`]),
    "# A tproxy rule without a listener does not match: the next one decides.",
    ...chain(`shared-${index}`, [
      accept(sharedPort),
      listener.failure === "closed" ? `${unserved} drop` : `${unserved} ${w.set(0)} accept`,
    ]),
    ...held.flatMap((port, worker) => chain(`worker-${index}-${worker}`, [accept(port), `goto shared-${index}`])),
    ...chain(`steer-${index}`, [`${w.codes} vmap { ${verdicts.join(", ")} }`]),
  ];
}

function unreachable(what: string): string {
  return what === "net" ? "no-route" : `${what}-unreachable`;
}

/** The workers' ports are for steered connections: whoever connects to one directly would be sent round in circles. */
function guardChain(w: Writing): string[] {
  const ports = w.lanes.map(({ sharedPort, workerPorts }) => `${sharedPort}-${workerPorts.at(-1)}`).join(", ");
  return chain("guard", [
    "type filter hook input priority filter; policy accept;",
    `${NEW} tcp dport { ${ports} } ${w.codes} != ${hex(markOf(CODE.LOCAL, w.markShift))} reject with tcp reset`,
  ]);
}

/** A bridge that forwards between two hosts of one network must not tell them of a shorter way. */
function silenceChain(w: Writing): string[] {
  const rules = w.lanes.flatMap(({ bridge }) =>
    bridge === undefined
      ? []
      : [`oifname "${bridge.name}" icmp type redirect drop`, `oifname "${bridge.name}" icmpv6 type nd-redirect drop`],
  );
  return rules.length === 0
    ? []
    : chain("silence", ["type filter hook output priority filter; policy accept;", ...rules]);
}

/** Frames: what may be Clearline's is lifted to the rules of IP, all else crosses the bridge as it is. */
function bridgeChains(w: Writing): string[] {
  const lanes = w.lanes.filter(({ bridge }) => bridge !== undefined);
  return [
    ...lanes.flatMap((lane) => [
      ...chain(`lift-${lane.index}`, [`meta pkttype set host ether daddr set ${lane.bridge?.mac} accept`]),
      ...newChains(w, lane, "bridge", `goto lift-${lane.index}`),
      ...sideChain(w, lane, "a"),
      ...sideChain(w, lane, "b"),
    ]),
    ...chain("frames", [
      "type filter hook prerouting priority dstnat; policy accept;",
      // Tagged frames, ARP and all that is not IP stay where they are.
      "ether type != { ip, ip6 } accept",
      ...lanes.flatMap(({ index, listener }) => [
        `iifname "${listener.networkA}" goto side-a-${index}`,
        `iifname "${listener.networkB}" goto side-b-${index}`,
      ]),
    ]),
  ];
}

function sideChain(w: Writing, lane: Lane, side: "a" | "b"): string[] {
  const lift = `goto lift-${lane.index}`;
  const listed = portMatch(side === "a" ? "dport" : "sport", lane.ports);
  const field = side === "a" ? "dport" : "sport";
  const quic =
    lane.listener.blockQuic && side === "a"
      ? [`udp dport 443 ${count(w, lane, "bridge", "quic")} ${w.set(CODE.QUIC)} ${lift}`]
      : [];
  const entry = chain(`side-${side}-${lane.index}`, [
    ...quic,
    // RFC 792 and RFC 4443, section 3: an error that quotes TCP (6) tells one of our sockets, or is forwarded.
    `icmp type { destination-unreachable, time-exceeded } @th,136,8 6 ${lift}`,
    `icmpv6 type { destination-unreachable, packet-too-big, time-exceeded } @th,112,8 6 ${lift}`,
    // A packet that is no sound IP has no protocol: it crosses.
    `meta l4proto tcp goto tcp-${side}-${lane.index}`,
  ]);
  const tcp = chain(`tcp-${side}-${lane.index}`, [
    "ip6 saddr fe80::/10 accept",
    "ip6 daddr fe80::/10 accept",
    // Only the first fragment has the ports: they are put together above, where what is not ours is forwarded.
    `ip frag-off & 0x3fff != 0 ${lift}`,
    `exthdr frag exists ${lift}`,
    ...(listed === "" ? [] : [listed === undefined ? "accept" : `${listed.replace(field, `${field} !=`)} accept`]),
    ...(side === "a" ? [`${NEW} goto new-${lane.index}`] : []),
    ...rowRules(w, lane, side, (row) => (row.action === "bypass" ? "accept" : lift)),
    lift,
  ]);
  return [...tcp, ...entry];
}

function rowRules(
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

function count(
  w: Writing,
  lane: Lane,
  family: "inet" | "bridge",
  counts: PlannedCounter["counts"],
  row?: number,
): string {
  const name = `${counts}-${lane.index}${row === undefined ? "" : `-${row}`}`;
  if (!w.counters.some((counter) => counter.family === family && counter.name === name)) {
    w.counters.push({ family, name, listener: lane.listener.name, counts, row });
  }
  return `counter name "${name}"`;
}

function chain(name: string, rules: readonly string[]): string[] {
  return [`chain ${name} {`, ...indent(rules), "}"];
}

function indent(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}

/** A comment ends with its line. */
function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, "?");
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
