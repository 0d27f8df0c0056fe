import { bridgeChains } from "./inline-frames.ts";
import { CODE, markOf } from "./inline-marks.ts";
import type { Lane, PlannedCounter } from "./inline-plan.ts";
import { addressSets, liveSets } from "./network-rows.ts";
import { chain, count, hex, indent, NEW, newChains, type Settings, type Writing } from "./rule-writing.ts";

/** The ruleset of both families as one script, and the counters in it. */
export function writeRules(
  lanes: readonly Lane[],
  mask: number,
  settings: Settings,
): { nft: string; counters: PlannedCounter[] } {
  const counters: PlannedCounter[] = [];
  const keep = hex(~mask >>> 0);
  const codes = `meta mark & ${hex(mask)}`;
  const mark = (code: number) => hex(markOf(code, settings.markShift));
  const writing: Writing = {
    workers: settings.workers,
    markShift: settings.markShift,
    features: settings.features,
    lanes,
    rows: settings.rows,
    live: settings.live ?? [],
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
    ...replaced(
      "inet",
      inet,
      counters,
      lanes.some((lane) => lane.bridge === undefined) ? addressSets(settings.rows) : [],
    ),
    ...replaced(
      "bridge",
      bridge,
      counters,
      bridges ? [...addressSets(settings.rows), ...liveSets(writing.live).sets] : [],
    ),
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
