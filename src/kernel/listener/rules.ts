import { hex } from "../../vocabulary.ts";
import { bridgeChains } from "./bridge-rules.ts";
import type { Lane, PlannedCounter } from "./lane.ts";
import { CODE, markOf } from "./marks.ts";
import { inputChains, outputChains } from "./own-packets.ts";
import { addressSets, liveSets } from "./policy-rows.ts";
import {
  chain,
  count,
  dropImpossible,
  HOOK,
  indent,
  NEW,
  newChains,
  type RuleContext,
  type RuleInput,
} from "./rule-writing.ts";

/** The rulesets of both families as one script, and their counters. */
export function writeRules(
  lanes: readonly Lane[],
  mask: number,
  settings: RuleInput,
): { nft: string; counters: PlannedCounter[] } {
  const counters: PlannedCounter[] = [];
  const keep = hex(~mask >>> 0);
  const codes = `meta mark & ${hex(mask)}`;
  const mark = (code: number) => hex(markOf(code, settings.markShift));
  // The other bits of the mark belong to others.
  const set = (code: number) => `meta mark set meta mark & ${keep} | ${mark(code)}`;
  const notrack = settings.features.notrack ? "notrack " : "";
  const writing: RuleContext = {
    workers: settings.workers,
    markShift: settings.markShift,
    features: settings.features,
    lanes,
    rows: settings.rows,
    live: settings.live ?? [],
    counters,
    codes,
    set,
    is: (code) => `${codes} == ${mark(code)}`,
    toClientLeg: ({ index }) => `${set(CODE.LOCAL_A + index)} ${notrack}accept`,
  };
  const bridges = lanes.some(({ bridge }) => bridge !== undefined);
  const inet = inetChains(writing);
  const bridge = bridges ? bridgeChains(writing) : [];
  const text = [
    ...replaced("inet", inet, counters, addressSets(settings.rows)),
    ...replaced(
      "bridge",
      bridge,
      counters,
      bridges ? [...addressSets(settings.rows), ...liveSets(writing.live).sets] : [],
    ),
  ];
  return { nft: `${text.join("\n")}\n`, counters };
}

/** Creates the table, deletes it and creates it again: this works whether the table exists or not. A table without chains is only deleted. */
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

/** TCP, and the ICMP errors that quote it. */
const TCP_AND_ERRORS = "meta l4proto { tcp, icmp, ipv6-icmp }";

function inetChains(w: RuleContext): string[] {
  const links = w.lanes.flatMap(({ bridge, listener }) => bridge?.name ?? [listener.networkA, listener.networkB]);
  return [
    ...w.lanes.flatMap((lane) => [
      ...existingChains(w, lane),
      ...(lane.bridge === undefined ? routedChains(w, lane) : liftedChains(w, lane)),
    ]),
    ...chain("arriving", [
      HOOK.arriving,
      `iifname != { ${links.map((link) => `"${link}"`).join(", ")} } accept`,
      ...w.lanes.map(
        ({ index, bridge, listener }) => `iifname "${bridge?.name ?? listener.networkA}" goto from-a-${index}`,
      ),
    ]),
    ...(w.features.nftQueue ? queueChain(w) : []),
    ...w.lanes.flatMap((lane) => steeringChains(w, lane)),
    ...chain("steer", [
      HOOK.steer,
      ...w.lanes.map(
        ({ index, bridge, listener }) => `iifname "${bridge?.name ?? listener.networkA}" goto steer-${index}`,
      ),
    ]),
    ...chain("returning", [
      HOOK.returning,
      ...w.lanes.map(({ index, bridge, listener }) =>
        bridge === undefined
          ? `iifname "${listener.networkB}" goto from-b-${index}`
          : `iifname "${bridge.name}" ${w.is(CODE.SIDE_B + index)} goto from-b-${index}`,
      ),
    ]),
    ...inputChains(w),
    ...outputChains(w),
  ];
}

/** Packets of a live session go to its socket. Listening sockets are skipped: they have no connection, only the same port by chance. */
function existingChains(w: RuleContext, lane: Lane): string[] {
  const { index } = lane;
  const listening = `${TCP_AND_ERRORS} socket wildcard 1 return`;
  return [
    ...chain(`existing-a-${index}`, [listening, `${TCP_AND_ERRORS} socket transparent 1 ${w.toClientLeg(lane)}`]),
    ...chain(`existing-b-${index}`, [
      listening,
      `${TCP_AND_ERRORS} socket transparent 1 ${w.set(CODE.LOCAL_B + index)} accept`,
    ]),
  ];
}

/** Packets for this machine's own services are accepted without a code. */
function ownServices(w: RuleContext): string {
  return `fib daddr type local ${w.set(0)} accept`;
}

/** On a router only the first packet of a connection needs a decision. Later packets go to their socket, or are forwarded. */
function routedChains(w: RuleContext, lane: Lane): string[] {
  const { index } = lane;
  const quic = lane.listener.blockQuic
    ? [`udp dport 443 ${count(w, lane, "inet", "quic")} ${w.set(CODE.QUIC)} accept`]
    : [];
  return [
    ...newChains(w, lane, "inet", "accept"),
    ...chain(`from-a-${index}`, [
      ownServices(w),
      ...dropImpossible(w, lane, "inet"),
      `${NEW} goto new-${index}`,
      ...quic,
      `goto existing-a-${index}`,
    ]),
    ...chain(`from-b-${index}`, [ownServices(w), `goto existing-b-${index}`]),
  ];
}

/** On a bridge the decision was made for the frame, and the mark carries it; for a packet that came in fragments it is made here. */
function liftedChains(w: RuleContext, lane: Lane): string[] {
  const { index } = lane;
  const passing = w.set(CODE.PASSING + index);
  const fromSideA = w.is(CODE.SIDE_A + index);
  return [
    ...newChains(w, lane, "inet", "accept", `${passing} accept`),
    ...chain(`from-a-${index}`, [
      `${w.is(CODE.SIDE_B + index)} accept`,
      ownServices(w),
      `${NEW} socket wildcard 0 socket transparent 1 ${w.toClientLeg(lane)}`,
      `${w.codes} != { 0x0, ${hex(markOf(CODE.SIDE_A + index, w.markShift))} } accept`,
      ...dropImpossible(w, lane, "inet").map((rule) => `${fromSideA} ${rule}`),
      `${fromSideA} ${NEW} goto new-${index}`,
      `jump existing-a-${index}`,
      passing,
    ]),
    ...chain(`from-b-${index}`, [ownServices(w), `jump existing-b-${index}`, passing]),
  ];
}

function queueChain(w: RuleContext): string[] {
  const rules = w.lanes.flatMap(({ bridge, listener, queues }) =>
    queues.map(
      (queue, worker) =>
        `iifname "${bridge?.name ?? listener.networkA}" ${w.is(CODE.HELD + worker)} queue num ${queue} bypass`,
    ),
  );
  return rules.length === 0 ? [] : chain("hold", [HOOK.hold, ...rules]);
}

/** After the queue the mark is the worker's verdict. Without a verdict it is the mark from before. */
function steeringChains(w: RuleContext, lane: Lane): string[] {
  const { index, listener, bridge, sharedPort, workerPorts, queues } = lane;
  const mark = (code: number) => hex(markOf(code, w.markShift));
  const accept = (port: number) =>
    `meta l4proto tcp tproxy to :${port} ${count(w, lane, "inet", "accepted")} ${w.toClientLeg(lane)}`;
  const unserved = count(w, lane, "inet", "unserved");
  const onward = w.set(bridge === undefined ? 0 : CODE.PASSING + index);
  const held = queues.length > 0 ? workerPorts : [];
  const verdicts = [
    ...held.map((_, worker) => `${mark(CODE.WORKER + worker)} : goto worker-${index}-${worker}`),
    ...held.map((_, worker) => `${mark(CODE.HELD + worker)} : goto shared-${index}`),
    `${mark(CODE.INTERCEPT)} : goto shared-${index}`,
    `${mark(CODE.REFUSED)} : goto refused-${index}`,
    `${mark(CODE.HOST_UNREACHABLE)} : goto host-unreachable-${index}`,
    `${mark(CODE.NET_UNREACHABLE)} : goto net-unreachable-${index}`,
    `${mark(CODE.QUIC)} : goto port-unreachable-${index}`,
    `${mark(CODE.PROHIBITED)} : goto prohibited-${index}`,
  ];
  // The kernel copies this mark into its reply, which is then routed by it and not tracked.
  const answer = w.set(CODE.SIDE_A + index);
  return [
    ...Object.entries(UNREACHABLE).flatMap(([name, type]) =>
      chain(`${name}-${index}`, [`${answer} reject with icmpx type ${type}`]),
    ),
    ...chain(`refused-${index}`, [
      `${count(w, lane, "inet", "refused")} meta l4proto tcp ${answer} reject with tcp reset`,
    ]),
    "# A tproxy rule without a listening socket does not match, and the next rule decides.",
    ...chain(`shared-${index}`, [
      accept(sharedPort),
      listener.failure === "closed" ? `${unserved} drop` : `${unserved} ${onward} accept`,
    ]),
    ...held.flatMap((port, worker) => chain(`worker-${index}-${worker}`, [accept(port), `goto shared-${index}`])),
    ...chain(`steer-${index}`, [`${w.codes} vmap { ${verdicts.join(", ")} }`]),
  ];
}

/** The chains of ICMP errors, by what they send. */
const UNREACHABLE = {
  "host-unreachable": "host-unreachable",
  "net-unreachable": "no-route",
  "port-unreachable": "port-unreachable",
  prohibited: "admin-prohibited",
} as const;
