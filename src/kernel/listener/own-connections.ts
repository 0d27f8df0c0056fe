import { blocksOf } from "../../policy/address-set.ts";
import { type Lane, type LiveConnection, vlanOf } from "./lane.ts";
import { CODE } from "./marks.ts";
import { chain, NEW, type RuleContext } from "./rule-writing.ts";

/**
 * Which frames on a bridge belong to our sockets. A bridge has no view of sockets, so it keeps sets: our own SYN, or SYN-ACK, that
 * leaves by the bridge puts its connection there. Whatever is in no set crosses the bridge unchanged.
 */

/** CLIENTS: frames that clients send to Na. SERVERS: frames that servers send to Nb. */
const LEGS = [
  { name: "clients", code: CODE.SIDE_A },
  { name: "servers", code: CODE.SIDE_B },
] as const;
type Leg = (typeof LEGS)[number];

const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];

/** Each packet renews it. It is longer than sessions may be idle, unless `timeouts.idle` says otherwise. */
const OPEN = "1d";
/** Until the peer has answered, which it may never do: a flood of SYNs must not fill the sets. */
const OPENING = "5m";
/** For a connection in which either side has sent a FIN or RST. It may go on half-closed, or the peer may send its RST again. */
const CLOSING = "30m";
/** The kernel takes memory for what a set holds, not for this. */
const SIZE = 4_194_304;

/** The sets of one listener, with the connections that live already. */
export function ownSets(lane: Lane, all: readonly LiveConnection[]): string[] {
  const live = all.filter(
    ({ listener = lane.listener.name, vlan = vlanOf(lane) }) =>
      listener === lane.listener.name && vlan === vlanOf(lane),
  );
  return LEGS.flatMap((leg) =>
    FAMILIES.flatMap((family) => [
      ...set(setName(lane, leg, family), family, OPEN, elementsOf(live, leg, family)),
      ...set(closingName(lane, leg, family), family, CLOSING, []),
    ]),
  );
}

function set(name: string, family: Family, timeout: string, elements: readonly string[]): string[] {
  return [
    `set ${name} {`,
    `  type ipv${family}_addr . inet_service . ipv${family}_addr . inet_service`,
    "  flags dynamic,timeout",
    `  timeout ${timeout}`,
    `  size ${SIZE}`,
    ...(elements.length > 0 ? [`  elements = { ${elements.join(", ")} }`] : []),
    "}",
  ];
}

/** Rules that go to the lift of the frames of our connections; those of others fall through. */
export function ownRules(lane: Lane): string[] {
  return LEGS.flatMap((leg) =>
    FAMILIES.flatMap((family) => [
      `${incoming(family)} @${setName(lane, leg, family)} goto ${chainName(lane, leg, family)}`,
      `${incoming(family)} @${closingName(lane, leg, family)} goto closing-${chainName(lane, leg, family)}`,
    ]),
  );
}

/** The chains that `ownRules` goes to. */
export function ownChains(w: RuleContext, lane: Lane): string[] {
  return LEGS.flatMap((leg) =>
    FAMILIES.flatMap((family) => {
      const lift = `${w.set(leg.code + lane.index)} goto lift-${lane.index}`;
      const [own, closing] = [setName(lane, leg, family), closingName(lane, leg, family)];
      return [
        ...chain(`closing-${chainName(lane, leg, family)}`, [`update @${closing} { ${incoming(family)} }`, lift]),
        ...chain(chainName(lane, leg, family), [
          `tcp flags & (fin|rst) == 0x0 update @${own} { ${incoming(family)} } ${lift}`,
          `delete @${own} { ${incoming(family)} }`,
          `update @${closing} { ${incoming(family)} }`,
          lift,
        ]),
      ];
    }),
  );
}

/**
 * What leaves by the bridge: our SYN to a server, our SYN-ACK to a client, the SYN of a client that no worker took. And our FIN or RST: a
 * peer that is gone does not answer it.
 */
export function noteOwnChain(w: RuleContext, lanes: readonly Lane[]): string[] {
  const rules = lanes.flatMap((lane) => [
    // The answers to a client that no worker took: the kernel may have translated its address.
    ...FAMILIES.map((family) => {
      const servers = setName(lane, LEGS[1], family);
      return `${w.is(CODE.PASSING + lane.index)} ${NEW} ${noteOpening(servers, outgoing(family))}`;
    }),
    ...LEGS.flatMap((leg) =>
      FAMILIES.flatMap((family) => {
        const [own, closing] = [setName(lane, leg, family), closingName(lane, leg, family)];
        const [ours, key] = [w.is(leg.code + lane.index), outgoing(family)];
        return [
          `${ours} tcp flags & (syn|rst) == syn ${noteOpening(own, key)}`,
          // Only what is there: the kernel resets connections that were never ours, too.
          `${ours} tcp flags & (fin|rst) != 0x0 ${key} @${own} update @${closing} { ${key} } delete @${own} { ${key} }`,
        ];
      }),
    ),
  ]);
  return chain("note", [
    "type filter hook output priority filter; policy accept;",
    "tcp flags & (fin|syn|rst) == 0x0 accept",
    ...rules,
  ]);
}

function noteOpening(set: string, key: string): string {
  return `update @${set} { ${key} timeout ${OPENING} }`;
}

/** What a client sends next after its SYN. */
export function pendingRules(w: RuleContext, lane: Lane): string[] {
  const lift = `${w.set(CODE.SIDE_A + lane.index)} goto lift-${lane.index}`;
  return FAMILIES.map((family) => {
    const key = incoming(family);
    return `${key} @pending-${lane.index}-${family} ${noteOpening(setName(lane, LEGS[0], family), key)} ${lift}`;
  });
}

/** Connections that side B opens while only side A's are taken. */
export function passedSets({ index }: Lane): string[] {
  return FAMILIES.flatMap((family) => set(`passed-${index}-${family}`, family, CLOSING, []));
}

/** For the first frame of such a connection. */
export function passedChain({ index }: Lane): string[] {
  const rules = FAMILIES.flatMap((family) =>
    [incoming(family), outgoing(family)].map((key) => `update @passed-${index}-${family} { ${key} }`),
  );
  return chain(`passed-${index}`, [...rules, "accept"]);
}

export function passedRules({ index }: Lane): string[] {
  return FAMILIES.map((family) => {
    const name = `passed-${index}-${family}`;
    return `${incoming(family)} @${name} update @${name} { ${incoming(family)} } accept`;
  });
}

/** The key of a frame that comes in, and of the frames that answer one that goes out. */
function incoming(family: Family): string {
  const ip = family === 4 ? "ip" : "ip6";
  return `${ip} saddr . tcp sport . ${ip} daddr . tcp dport`;
}
function outgoing(family: Family): string {
  const ip = family === 4 ? "ip" : "ip6";
  return `${ip} daddr . tcp dport . ${ip} saddr . tcp sport`;
}

function elementsOf(live: readonly LiveConnection[], { name }: Leg, family: Family): string[] {
  const keys = live.flatMap(({ client, server }) => {
    const [from, to] = name === "clients" ? [client, server] : [server, client];
    const [[a], [b]] = [blocksOf(from.address) ?? [], blocksOf(to.address) ?? []];
    const isOfFamily = a?.family === family && b?.family === family;
    return isOfFamily ? [`${a.text} . ${from.port} . ${b.text} . ${to.port}`] : [];
  });
  return [...new Set(keys)];
}

function setName({ index }: Lane, { name }: Leg, family: Family): string {
  return `${name}-${index}-${family}`;
}
function closingName({ index }: Lane, { name }: Leg, family: Family): string {
  return `closing-${name}-${index}-${family}`;
}
function chainName({ index }: Lane, { name }: Leg, family: Family): string {
  return `of-${name}-${index}-${family}`;
}
