import { hex } from "../../vocabulary.ts";
import { bridgeChains } from "./bridge-rules.ts";
import type { Lane, PlannedCounter } from "./lane.ts";
import { CODE, markOf } from "./marks.ts";
import { ownSets, passedSets } from "./own-connections.ts";
import { inputChains, outputChains } from "./own-packets.ts";
import { passingSets } from "./passing-vlans.ts";
import { addressSets } from "./policy-rows.ts";
import {
  chain,
  copyAnswers,
  count,
  dropImpossible,
  dropUnsignedAnswers,
  HOOK,
  heldResets,
  indent,
  NEW,
  newChains,
  pendingSets,
  type RuleContext,
  type RuleInput,
  SYN_ACK,
} from "./rule-writing.ts";
import { signedSets } from "./signed-rules.ts";

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
    apiPort: settings.apiPort,
    counters,
    codes,
    set,
    is: (code) => `${codes} == ${mark(code)}`,
    toClientLeg: ({ index }) => `${set(CODE.LOCAL_A + index)} ${notrack}accept`,
  };
  const bridges = lanes.filter(({ bridge }) => bridge !== undefined);
  const inet = inetChains(writing);
  const bridge = bridges.length > 0 ? bridgeChains(writing, bridges) : [];
  const text = [
    ...replaced("inet", inet, counters, [
      ...addressSets(settings.rows),
      ...lanes.flatMap(pendingSets),
      ...lanes.flatMap(signedSets),
    ]),
    ...replaced(
      "bridge",
      bridge,
      counters,
      bridges.length > 0
        ? [
            ...addressSets(settings.rows),
            ...bridges.flatMap((lane) => [
              ...ownSets(lane, writing.live),
              ...passedSets(lane),
              ...passingSets(lane),
              ...pendingSets(lane),
              ...signedSets(lane),
            ]),
          ]
        : [],
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
      ...w.lanes.flatMap((lane) => clientLinks(lane).map((link) => `iifname "${link}" goto from-a-${lane.index}`)),
    ]),
    ...(w.features.nftQueue ? queueChain(w) : []),
    ...w.lanes.flatMap((lane) => steeringChains(w, lane)),
    ...chain("steer", [
      HOOK.steer,
      ...w.lanes.flatMap((lane) => clientLinks(lane).map((link) => `iifname "${link}" goto steer-${lane.index}`)),
    ]),
    ...chain("returning", [HOOK.returning, ...w.lanes.flatMap((lane) => returningRules(w, lane))]),
    ...inputChains(w),
    ...outputChains(w),
  ];
}

/** The links by which clients' packets come in. On a bridge every packet comes in by the bridge. */
export function clientLinks({ bridge, listener }: Lane): string[] {
  if (bridge !== undefined) return [bridge.name];
  return listener.direction === "both" ? [listener.networkA, listener.networkB] : [listener.networkA];
}

function returningRules(w: RuleContext, { index, bridge, listener }: Lane): string[] {
  if (bridge !== undefined) return [`iifname "${bridge.name}" ${w.is(CODE.SIDE_B + index)} goto from-b-${index}`];
  const servers = listener.direction === "both" ? [listener.networkB, listener.networkA] : [listener.networkB];
  const others =
    servers.length === 1 && w.features.notrack ? [`iifname "${listener.networkA}" goto unseen-${index}`] : [];
  return [...servers.map((link) => `iifname "${link}" goto from-b-${index}`), ...others];
}

/** Packets of a live session go to its socket. Listening sockets are skipped: they have no connection, only the same port by chance. */
function existingChains(w: RuleContext, lane: Lane): string[] {
  const { index } = lane;
  const listening = `${TCP_AND_ERRORS} socket wildcard 1 return`;
  // A connection to a server is found later, after address translation. The mark of a half-open socket cannot be read.
  const serverLeg = `socket transparent 1 socket mark ${hex(markOf(CODE.SIDE_B + index, w.markShift))} return`;
  const answers = copyAnswers(w, lane);
  return [
    ...answers.chains,
    ...chain(`existing-a-${index}`, [
      listening,
      ...(lane.listener.direction === "both" ? [`${TCP_AND_ERRORS} ${serverLeg}`] : []),
      `${TCP_AND_ERRORS} socket transparent 1 ${w.toClientLeg(lane)}`,
    ]),
    ...chain(`existing-b-${index}`, [
      listening,
      ...answers.rule,
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
      dropImpossible(w, lane, "inet"),
      `${NEW} goto new-${index}`,
      ...quic,
      `jump existing-a-${index}`,
      ...heldResets(w, lane, "inet"),
    ]),
    ...chain(`from-b-${index}`, [
      ownServices(w),
      `jump existing-b-${index}`,
      ...dropUnsignedAnswers(w, lane, "inet"),
      ...(w.features.notrack ? unseen(w, lane) : []),
    ]),
    ...(w.features.notrack ? chain(`unseen-${index}`, unseen(w, lane)) : []),
  ];
}

/**
 * Connections that are not ours, as connection tracking sees their first packet: they began before the node, or only one of their
 * directions crosses it.
 */
function unseen(w: RuleContext, lane: Lane): string[] {
  const mid = `${w.codes} == 0x0 ct state new meta l4proto tcp tcp flags & (syn|rst) == 0x0 ${count(w, lane, "inet", "midStream")}`;
  return [
    `${w.codes} == 0x0 ct state invalid ${SYN_ACK} ${count(w, lane, "inet", "asymmetric")}`,
    lane.listener.midStream === "reset" ? `${mid} reject with tcp reset` : mid,
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
      ...(lane.listener.direction === "both" ? bySocket(w, lane) : []),
      `${w.is(CODE.SIDE_B + index)} accept`,
      ownServices(w),
      `${NEW} socket wildcard 0 socket transparent 1 ${w.toClientLeg(lane)}`,
      `${w.codes} != { 0x0, ${hex(markOf(CODE.SIDE_A + index, w.markShift))} } accept`,
      `${fromSideA} ${dropImpossible(w, lane, "inet")}`,
      `${fromSideA} ${NEW} goto new-${index}`,
      `jump existing-a-${index}`,
      passing,
    ]),
    ...chain(`from-b-${index}`, [ownServices(w), `jump existing-b-${index}`, passing]),
  ];
}

/** Where both sides open connections, what came in fragments, and errors, belong to the leg whose socket is found. */
function bySocket(w: RuleContext, lane: Lane): string[] {
  const { index } = lane;
  const own = (code: number) =>
    `socket wildcard 0 socket transparent 1 socket mark ${hex(markOf(code + index, w.markShift))}`;
  return [
    `${w.is(CODE.SIDE_B + index)} meta l4proto { icmp, ipv6-icmp } ${own(CODE.SIDE_A)} ${w.toClientLeg(lane)}`,
    `${w.is(CODE.SIDE_A + index)} ${own(CODE.SIDE_B)} ${w.set(CODE.SIDE_B + index)} accept`,
  ];
}

function queueChain(w: RuleContext): string[] {
  const rules = w.lanes.flatMap((lane) =>
    clientLinks(lane).flatMap((link) =>
      lane.queues.map((queue, worker) => `iifname "${link}" ${w.is(CODE.HELD + worker)} queue num ${queue} bypass`),
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
