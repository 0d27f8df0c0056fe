import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ConfigError } from "../../errors.ts";
import type { NetworkRow, PortRange } from "../../policy/network-rows.ts";
import { renderSteps } from "../shell-script.ts";
import type { InlineListener, PlanInput } from "./lane.ts";
import { CODE, MAX_LANES, markOf, readMarks } from "./marks.ts";
import { planInline } from "./plan.ts";
import { rowMatches } from "./policy-rows.ts";

const EDGE: InlineListener = {
  name: "edge",
  path: "listeners[0]",
  topology: "routed",
  networkA: "eth1",
  networkB: "eth2",
  addresses: [],
  gateways: [],
  routes: [],
  failure: "open",
  ports: "all",
  synHold: true,
  blockQuic: false,
  direction: "aToB",
  midStream: "pass",
  bgp: "pass",
};
const BRIDGE: InlineListener = {
  ...EDGE,
  name: "wire",
  path: "listeners[1]",
  topology: "bridge",
  networkA: "eth3.100",
  networkB: "eth4",
  addresses: ["10.3.0.254/24", "fd00:3::fe/64"],
};
const INPUT: PlanInput = {
  apiPort: 8484,
  listeners: [EDGE],
  workers: 2,
  basePort: 15_001,
  baseQueue: 30,
  markShift: 16,
  routingTable: 7700,
  rulePriority: 100,
  features: {
    nftQueue: true,
    nftLog: true,
    iptablesNft: true,
    ipv6: true,
    forceForwarding: true,
    notrack: true,
    tagMemory: false,
  },
  bridgeMacs: { wire: "02:00:00:00:00:01" },
  rows: [],
};

/** The rules of one chain of the script, of the table of that family. */
function chainOf(nft: string, name: string, family = "inet"): string[] {
  const lines = (nft.split(`table ${family} clearline {\n`)[1] ?? "").split("\n");
  const start = lines.indexOf(`  chain ${name} {`);
  assert.notEqual(start, -1, `the script has the chain ${name}`);
  return lines.slice(start + 1, lines.indexOf("  }", start)).map((line) => line.trim());
}

function commands(input: Partial<PlanInput>): string[] {
  return planInline({ ...INPUT, ...input }).steps.flatMap((step) =>
    step.kind === "command" ? [step.run.join(" ")] : [],
  );
}

test("Ports, queues and groups are numbered by listener and worker, and none is used twice", () => {
  const { listeners } = planInline({
    ...INPUT,
    workers: 3,
    listeners: [EDGE, BRIDGE, { ...EDGE, name: "off", networkA: "eth5", networkB: "eth6", synHold: false }],
  });
  const untagged = { vlan: null, device: undefined };
  const numbered = listeners.map(({ clientMark: _a, serverMark: _b, onward: _c, ...numbers }) => numbers);
  assert.deepEqual(numbered, [
    {
      ...untagged,
      name: "edge",
      sharedPort: 15_000,
      workerPorts: [15_001, 15_002, 15_003],
      queues: [30, 31, 32],
      answers: [30, 31, 32],
      hops: 1,
    },
    {
      ...untagged,
      name: "wire",
      sharedPort: 15_004,
      workerPorts: [15_005, 15_006, 15_007],
      queues: [33, 34, 35],
      answers: [33, 34, 35],
      hops: 0,
    },
    {
      ...untagged,
      name: "off",
      sharedPort: 15_008,
      workerPorts: [15_009, 15_010, 15_011],
      queues: [],
      answers: [36, 37, 38],
      hops: 1,
    },
  ]);
});

test("A VLAN is a lane of its own, with a bridge and interfaces of its own, and the sockets of its wire are bound", () => {
  const tags = { id: 10, outer: { id: 100, type: "802.1ad" } } as const;
  const inVlan: InlineListener = { ...BRIDGE, addresses: ["10.4.0.254/24"], vlan: { tags, mtu: 1500 } };
  const rows: NetworkRow[] = [
    { name: "there", action: "drop", vlans: ["100/10"] },
    { name: "here", action: "drop", vlans: ["untagged"] },
  ];
  const plan = planInline({ ...INPUT, listeners: [BRIDGE, inVlan], rows });
  assert.deepEqual(
    plan.listeners.map(({ vlan, device, sharedPort }) => [vlan, device, sharedPort]),
    [
      [null, "clbr0", 15_000],
      ["100/10", "clbr1", 15_003],
    ],
  );
  assert.ok(chainOf(plan.nft, "frames", "bridge").includes('iifname "clva1" goto side-a-1'));
  assert.ok(chainOf(plan.nft, "new-0", "bridge").includes("# here: drop"));
  assert.ok(!chainOf(plan.nft, "new-0", "bridge").includes("# there: drop"));
  assert.ok(chainOf(plan.nft, "new-1", "bridge").includes("# there: drop"));
  const programs = plan.steps.flatMap((step) =>
    step.kind === "frame-program" ? [`${step.program} ${step.name} ${step.hook} ${step.to}`] : [],
  );
  assert.deepEqual(programs, [
    "untag clva1 ingress clva1",
    "untag clvb1 ingress clvb1",
    "tag clva1 egress eth3.100",
    "tag clvb1 egress eth4",
    "steer eth3.100 ingress clva1",
    "steer eth4 ingress clvb1",
  ]);
  assert.equal(plan.steps.at(-1)?.kind, "frame-program");
  const counted = plan.counters.filter(({ counts }) => counts === "accepted").map(({ vlan }) => vlan);
  assert.deepEqual(counted, [null, "100/10"]);
});

test("After a reload a bridge goes on lifting the live connections of its own VLAN, and not those with the same ends in another", () => {
  const inVlan: InlineListener = { ...BRIDGE, vlan: { tags: { id: 10 }, mtu: 1500 } };
  const ends = { client: { address: "10.3.0.2", port: 5000 }, server: { address: "10.3.0.3", port: 443 } };
  const live = [{ ...ends, listener: "wire", vlan: "10" }];
  const { nft } = planInline({ ...INPUT, listeners: [BRIDGE, inVlan], live });
  const sets = [...nft.matchAll(/set ((?:clients|servers)-\d-4) \{[^}]*elements = /g)].map(([, name]) => name);
  assert.deepEqual(sets, ["clients-1-4", "servers-1-4"]);
});

test("All codes differ, and stay within their bits of the mark", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 24 }), fc.integer({ min: 1, max: 63 }), (shift, workers) => {
      const { mask, workers: accepted, ...others } = readMarks(shift, workers);
      const held = accepted.map((_, worker) => markOf(CODE.HELD + worker, shift));
      const lanes = [CODE.LOCAL_A, CODE.LOCAL_B, CODE.SIDE_A, CODE.SIDE_B, CODE.PASSING].flatMap((code) =>
        Array.from({ length: MAX_LANES }, (_, lane) => code + lane),
      );
      const fixed = [CODE.INTERCEPT, CODE.QUIC, CODE.UNREACHED, ...lanes].map((code) => markOf(code, shift));
      const all = [...accepted, ...held, ...fixed, ...Object.values(others)];
      assert.equal(new Set(all).size, all.length);
      for (const mark of all) assert.ok(mark > 0 && (mark & ~mask) >>> 0 === 0);
    }),
  );
});

test("The sockets of each leg of each listener have a mark of their own, in the node's bits", () => {
  const many = Array.from({ length: 16 }, (_, index) => ({
    ...EDGE,
    name: `edge${index}`,
    networkA: `a${index}`,
    networkB: `b${index}`,
  }));
  const { listeners, marks } = planInline({ ...INPUT, listeners: many });
  const all = listeners.flatMap(({ clientMark, serverMark }) => [clientMark, serverMark]);
  assert.equal(new Set(all).size, 32);
  for (const mark of all) assert.equal((mark & ~marks.mask) >>> 0, 0);
});

test("The client leg is steered before connection tracking, the server leg found after address translation", () => {
  const { nft } = planInline({ ...INPUT, listeners: [EDGE, { ...BRIDGE, failure: "open" }] });
  assert.match(chainOf(nft, "steer")[0]!, /priority -290/);
  assert.match(chainOf(nft, "returning")[0]!, /priority -90/);
  for (const name of ["worker-0-1", "shared-1", "existing-a-0"]) {
    assert.ok(chainOf(nft, name).some((rule) => rule.endsWith("notrack accept")));
  }
  // What no worker takes is tracked: the operator's address translation is for it too.
  assert.doesNotMatch(chainOf(nft, "shared-0").at(-1)!, /notrack/);
  assert.doesNotMatch(chainOf(nft, "existing-b-0").join(), /notrack/);
  // The node's own API, from this machine, whatever the table of connections is.
  const own = chainOf(nft, "untracked").filter((rule) => rule.startsWith("oifname"));
  assert.deepEqual(own, ['oifname "lo" tcp dport 8484 notrack', 'oifname "lo" tcp sport 8484 notrack']);
  const without = planInline({ ...INPUT, features: { ...INPUT.features, notrack: false } });
  assert.doesNotMatch(without.nft, /notrack/);
});

test("Rules are in the policy's order, and connections that no row decides are intercepted", () => {
  const rows: NetworkRow[] = [
    { name: "blocked", action: "drop", ports: [[23, 23]] },
    { name: "bank", action: "bypass", server: ["192.0.2.0/24", "2001:db8::/32"], ports: [[443, 443]] },
    { name: "lab", action: "decrypt", client: ["10.9.0.0/16"] },
  ];
  const { nft, counters } = planInline({ ...INPUT, rows, listeners: [{ ...EDGE, bgp: "intercept" }] });
  assert.deepEqual(chainOf(nft, "new-0").slice(3), [
    "# blocked: drop",
    'tcp dport { 23 } counter name "row-0-0" meta mark set meta mark & 0xff00ffff | 0x810000 accept',
    "ip6 saddr fe80::/10 accept",
    "ip6 daddr fe80::/10 accept",
    "# bank: bypass",
    'ip daddr @row-1-server-4 tcp dport { 443 } counter name "row-0-1" accept',
    'ip6 daddr @row-1-server-6 tcp dport { 443 } counter name "row-0-1" accept',
    "# lab: decrypt",
    'ip saddr @row-2-client-4 counter name "row-0-2" goto intercept-0',
    "goto intercept-0",
  ]);
  assert.deepEqual(
    counters.filter(({ counts }) => counts === "row").map(({ row }) => row),
    [0, 1, 2],
  );
});

test("Signed TCP passes unless a rule drops it, and BGP unless any rule decides it", () => {
  const rows: NetworkRow[] = [
    { name: "blocked", action: "drop", client: ["10.8.0.0/16"] },
    { name: "lab", action: "decrypt", client: ["10.9.0.0/16"] },
  ];
  const { nft } = planInline({ ...INPUT, rows });
  const order = ["# blocked: drop", "tcp option 19 exists", "tcp option 29 exists", "# lab: decrypt", "tcp dport 179 "];
  const rules = chainOf(nft, "new-0");
  const places = order.map((start) => rules.findIndex((rule) => rule.startsWith(start)));
  assert.ok(!places.includes(-1), `${places}`);
  assert.deepEqual(
    places,
    places.toSorted((a, b) => a - b),
  );
});

test("On a bridge, a connection that the network phase bypasses is not one that began before the node", () => {
  const rows: NetworkRow[] = [
    { name: "inside", action: "decrypt", client: ["10.9.0.0/16"] },
    {
      name: "bank",
      action: "bypass",
      client: ["10.0.0.0/8"],
      server: ["192.0.2.1"],
      ports: [[443, 444]],
      sourcePorts: [[1, 9]],
    },
  ];
  const { nft } = planInline({ ...INPUT, listeners: [BRIDGE], rows });
  const ends = (side: string) => chainOf(nft, `tcp-${side}-0`, "bridge").filter((rule) => rule.includes("@row"));
  assert.deepEqual(ends("a"), [
    "ip saddr @row-1-client-4 ip daddr @row-1-server-4 tcp dport { 443-444 } tcp sport { 1-9 } accept",
  ]);
  assert.deepEqual(ends("b"), [
    "ip daddr @row-1-client-4 ip saddr @row-1-server-4 tcp sport { 443-444 } tcp dport { 1-9 } accept",
  ]);
  // The frames were judged already, but not a connection whose first packet came in fragments.
  const own = chainOf(nft, "from-a-0").filter((rule) => rule.includes("goto new-0"));
  assert.deepEqual(own, ["meta mark & 0xff0000 == 0xc00000 tcp flags & (fin|syn|rst|ack) == syn goto new-0"]);
  assert.match(chainOf(nft, "new-0").join("\n"), /@row-1-client-4 .* meta mark set .* 0xe00000 accept/);
});

test("A copy of a server's answer goes to the worker of its connection; without nft's log, nothing is copied", () => {
  const { nft } = planInline({ ...INPUT, listeners: [EDGE, BRIDGE] });
  assert.deepEqual(chainOf(nft, "answers-1"), [
    "meta nfproto ipv4 jhash ip daddr . tcp dport . ip saddr . tcp sport mod 2 seed 0x1 vmap { 0 : jump answer-1-0, 1 : jump answer-1-1 }",
    "meta nfproto ipv6 jhash ip6 daddr . tcp dport . ip6 saddr . tcp sport mod 2 seed 0x1 vmap { 0 : jump answer-1-0, 1 : jump answer-1-1 }",
  ]);
  assert.deepEqual(chainOf(nft, "answer-1-1"), ["log group 33 snaplen 256"]);
  const none = planInline({ ...INPUT, features: { ...INPUT.features, nftLog: false } });
  assert.doesNotMatch(none.nft, /log group|chain answer/);
  assert.deepEqual(none.listeners[0]?.answers, []);
});

test("A router leaves a SYN to the kernel whose way ends here, and a bridge does not", () => {
  const { nft } = planInline({ ...INPUT, listeners: [EDGE, BRIDGE] });
  const rules = ["ip ttl < 2 accept", "ip6 hoplimit < 2 accept"];
  assert.deepEqual(chainOf(nft, "new-0").slice(1, 3), rules);
  for (const family of ["inet", "bridge"]) assert.ok(!chainOf(nft, "new-1", family).join().includes("< 2"));
});

test("Packets with flags that no TCP sends together are dropped and counted, as frames too", () => {
  const { nft, counters } = planInline({ ...INPUT, listeners: [EDGE, BRIDGE] });
  for (const [name, family] of [
    ["from-a-0", "inet"],
    ["from-a-1", "inet"],
    ["tcp-a-1", "bridge"],
    ["tcp-b-1", "bridge"],
  ] as const) {
    const dropped = chainOf(nft, name, family).filter((rule) => /counter name "impossible-\d" drop/.test(rule));
    assert.equal(dropped.length, 1, name);
  }
  const counted = counters.filter(({ counts }) => counts === "impossible");
  assert.deepEqual(
    counted.map(({ family, listener }) => `${listener} ${family}`),
    ["edge inet", "wire inet", "wire bridge"],
  );
});

test("A new ruleset of a bridge knows the connections that live, whatever the new rows say", () => {
  const rows: NetworkRow[] = [{ name: "now", action: "bypass" }];
  const live = [
    { client: { address: "10.3.0.2", port: 40_000 }, server: { address: "10.3.0.3", port: 443 } },
    { client: { address: "fd00:3::2", port: 40_001 }, server: { address: "fd00:3::3", port: 443 } },
  ];
  const { nft } = planInline({ ...INPUT, listeners: [BRIDGE], rows, live });
  const elements = (set: string) => nft.split(`set ${set} {`)[1]!.split("}")[0];
  assert.match(elements("clients-0-4")!, /elements = \{ 10\.3\.0\.2 \. 40000 \. 10\.3\.0\.3 \. 443 $/);
  assert.match(elements("servers-0-6")!, /elements = \{ fd00:3::3 \. 443 \. fd00:3::2 \. 40001 $/);
  for (const side of ["a", "b"]) {
    const rules = chainOf(nft, `tcp-${side}-0`, "bridge");
    const known = rules.findIndex((rule) => rule.includes("@clients-0-4 goto of-clients-0-4"));
    assert.ok(known >= 0 && known < rules.indexOf("# now: bypass"));
  }
  assert.doesNotMatch(planInline({ ...INPUT, listeners: [BRIDGE], rows }).nft, /elements/);
});

for (const [direction, opening] of [
  ["both", "goto new-0"],
  ["aToB", "goto passed-0"],
] as const) {
  test(`With direction ${direction}, the first frame of a connection from side B goes to ${opening.slice(5)}`, () => {
    const { nft } = planInline({ ...INPUT, listeners: [{ ...BRIDGE, direction }] });
    const first = (side: string) =>
      chainOf(nft, `tcp-${side}-0`, "bridge").find((rule) => rule.startsWith("tcp flags & (fin|syn|rst|ack) == syn"));
    assert.match(first("a")!, /goto new-0$/);
    assert.ok(first("b")?.endsWith(opening), String(first("b")));
  });
}

test("A router takes the connections of both sides where it should", () => {
  const one = planInline(INPUT).nft;
  const both = planInline({ ...INPUT, listeners: [{ ...EDGE, direction: "both" }] }).nft;
  for (const [nft, links] of [
    [one, ["eth1"]],
    [both, ["eth1", "eth2"]],
  ] as const) {
    const from = links.map((link) => `iifname "${link}"`);
    assert.deepEqual(
      chainOf(nft, "arriving").slice(2),
      from.map((each) => `${each} goto from-a-0`),
    );
    assert.deepEqual(
      chainOf(nft, "steer").slice(1),
      from.map((each) => `${each} goto steer-0`),
    );
    assert.equal(chainOf(nft, "hold").length, 1 + 2 * links.length);
  }
  assert.match(chainOf(both, "existing-a-0").join("\n"), /socket mark 0xd00000 return/);
});

test("Connections that began before the node pass and are counted, or are reset", () => {
  const [bridge, router] = [BRIDGE, EDGE].map(
    (listener) => (midStream: "pass" | "reset") =>
      planInline({ ...INPUT, listeners: [{ ...listener, midStream }] }).nft,
  ) as [(midStream: "pass" | "reset") => string, (midStream: "pass" | "reset") => string];
  const last = (nft: string, name: string, family?: string) => chainOf(nft, name, family).at(-1)!;
  assert.equal(last(bridge("pass"), "tcp-a-0", "bridge"), 'counter name "midStream-0" accept');
  assert.match(last(bridge("reset"), "tcp-a-0", "bridge"), /counter name "midStream-0" .* 0x810000 goto lift-0$/);
  assert.match(last(router("pass"), "from-b-0"), /ct state new .* counter name "midStream-0"$/);
  assert.match(last(router("reset"), "unseen-0"), /counter name "midStream-0" reject with tcp reset$/);
});

test("A row applies to the listeners that it names, and never matches without addresses of one family", () => {
  const rows: NetworkRow[] = [
    { name: "other", action: "drop", listeners: ["wire"] },
    { name: "mixed", action: "drop", client: ["10.0.0.1"], server: ["::1"] },
    { name: "nobody", action: "drop", client: [] },
    { name: "no port", action: "drop", ports: [] },
  ];
  const own = { ...EDGE, bgp: "intercept" } as const;
  const { nft } = planInline({ ...INPUT, listeners: [own], rows });
  assert.deepEqual(chainOf(nft, "new-0").slice(5), ["goto intercept-0"]);
  assert.match(
    planInline({ ...INPUT, listeners: [EDGE, BRIDGE], rows }).nft,
    /# other: drop\n {4}counter name "row-1-0"/,
  );
});

test("SYNs are spread over several workers by their connection; a single worker gets them all", () => {
  const [, , v4, v6] = chainOf(planInline(INPUT).nft, "intercept-0");
  assert.match(v4!, /^meta nfproto ipv4 jhash ip saddr \. tcp sport \. ip daddr \. tcp dport mod 2 seed 0x1 vmap /);
  assert.match(v6!, /^meta nfproto ipv6 jhash ip6 saddr /);
  assert.deepEqual(chainOf(planInline({ ...INPUT, workers: 1 }).nft, "intercept-0").slice(2), ["goto held-0-0"]);
});

test("Without synHold there is no queue, and every SYN is for all workers", () => {
  const { nft, steps } = planInline({
    ...INPUT,
    listeners: [{ ...EDGE, synHold: false }],
    features: { ...INPUT.features, nftQueue: false },
  });
  assert.doesNotMatch(nft, /queue|held|worker-/);
  assert.equal(chainOf(nft, "intercept-0").at(-1), "meta mark set meta mark & 0xff00ffff | 0x800000 accept");
  assert.ok(steps.every((step) => step.kind !== "hold-table"));
});

test("SYNs are queued by nft where the kernel can, else by iptables-nft in a chain of its own", () => {
  assert.deepEqual(chainOf(planInline(INPUT).nft, "hold").slice(1), [
    'iifname "eth1" meta mark & 0xff0000 == 0x400000 queue num 30 bypass',
    'iifname "eth1" meta mark & 0xff0000 == 0x410000 queue num 31 bypass',
  ]);
  assert.ok(commands({}).every((command) => !command.startsWith("ip6tables") && !command.startsWith("iptables")));
  const other = { features: { ...INPUT.features, nftQueue: false } };
  assert.doesNotMatch(planInline({ ...INPUT, ...other }).nft, /queue/);
  const rule = "CLEARLINE-SYN -i eth1 -p tcp -m mark --mark 0x410000/0xff0000 -j NFQUEUE --queue-num 31 --queue-bypass";
  for (const program of ["iptables-nft", "ip6tables-nft"])
    assert.ok(commands(other).includes(`${program} -t raw -A ${rule}`));
  const v4 = commands({ features: { ...other.features, ipv6: false } });
  assert.ok(v4.every((command) => !command.startsWith("ip6tables") && !command.startsWith("ip -6")));
});

test("Without a worker, closed drops new connections and open forwards them", () => {
  const last = (failure: "open" | "closed") =>
    chainOf(planInline({ ...INPUT, listeners: [{ ...EDGE, failure }] }).nft, "shared-0").at(-1);
  assert.equal(last("closed"), 'counter name "unserved-0" drop');
  assert.equal(last("open"), 'counter name "unserved-0" meta mark set meta mark & 0xff00ffff | 0x0 accept');
});

test("Where IPv6 forwarding is one switch for all, every interface's value is remembered", () => {
  const { steps } = planInline({ ...INPUT, features: { ...INPUT.features, forceForwarding: false } });
  const settings = steps.filter((step) => step.kind === "sysctl");
  assert.deepEqual(
    settings.map(({ key, alongside }) => [key, alongside]),
    [
      ["net/ipv4/fwmark_reflect", undefined],
      ["net/ipv6/fwmark_reflect", undefined],
      ["net/ipv4/conf/eth1/forwarding", undefined],
      ["net/ipv4/conf/eth2/forwarding", undefined],
      ["net/ipv6/conf/all/forwarding", "net/ipv6/conf/*/forwarding"],
    ],
  );
});

test("The undo of each step removes exactly what the step adds", () => {
  const { steps } = planInline({
    ...INPUT,
    listeners: [EDGE, BRIDGE],
    features: { ...INPUT.features, nftQueue: false },
  });
  const inverse: Record<string, string> = {
    add: "del",
    "-A": "-D",
    "-I": "-D",
    "-N": "-X",
    "-f": "-f",
  };
  for (const step of steps) {
    if (step.kind !== "command" || step.undo === undefined) continue;
    const expected = step.run.map((word) => inverse[word] ?? word);
    const [made] = [step.undo];
    // A bridge goes by its name.
    assert.deepEqual(made, expected.slice(0, made.length), step.why);
    if (step.run[0]?.includes("tables")) assert.equal(made.length, expected.length);
  }
  const bridge = steps.findIndex((step) => step.kind === "command" && step.run.includes("bridge"));
  const rules = steps.findIndex((step) => step.kind === "command" && step.run[0] === "nft");
  const cable = steps.findIndex((step) => step.kind === "bridge-port");
  assert.ok(bridge < rules && rules < cable, "no frame crosses a bridge before its rules are there");
});

test("A bridge uses only its own routes, not this machine's", () => {
  const listener: InlineListener = {
    ...BRIDGE,
    gateways: ["10.3.0.1", "fd00:3::1"],
    routes: [
      { to: "10.9.7.0/16", via: "10.3.0.7" },
      { to: "fd00:9::/64", via: "fd00:3::7" },
    ],
  };
  const own = commands({ listeners: [EDGE, listener] }).filter((command) => command.includes("7702"));
  const last = "route add unreachable default metric 4294967295 table 7702";
  assert.deepEqual(own, [
    "ip -4 route add 10.3.0.0/24 dev clbr1 table 7702",
    "ip -4 route add 10.9.0.0/16 via 10.3.0.7 dev clbr1 onlink table 7702",
    "ip -4 route add default via 10.3.0.1 dev clbr1 onlink table 7702",
    `ip -4 ${last}`,
    "ip -4 rule add priority 101 fwmark 0x810000/0x8f0000 lookup 7702",
    "ip -6 route add fd00:3::/64 dev clbr1 table 7702",
    "ip -6 route add fd00:9::/64 via fd00:3::7 dev clbr1 onlink table 7702",
    "ip -6 route add default via fd00:3::1 dev clbr1 onlink table 7702",
    `ip -6 ${last}`,
    "ip -6 rule add priority 101 fwmark 0x810000/0x8f0000 lookup 7702",
  ]);
});

test("The plan is printed as a script with the reason for each step", () => {
  const text = renderSteps(planInline({ ...INPUT, listeners: [BRIDGE] }).steps);
  for (const line of text.split("\n\n").slice(1)) assert.match(line, /^# \S/);
  assert.match(text, /^nft -f - <<'END'\ntable inet clearline\n[\s\S]*\n}\nEND$/m);
  assert.match(text, /^ip -4 rule add priority 100 fwmark 0xa00000\/0xe00000 iif clbr0 lookup 7700$/m);
  assert.match(text, /^sysctl -w net\/bridge\/bridge-nf-call-iptables=0 {3}# where the kernel has it$/m);
});

const WRONG: readonly (readonly [string, Partial<PlanInput>, path: string, said: RegExp])[] = [
  ["no worker", { workers: 0 }, "workers", /0 workers/],
  ["64 workers", { workers: 64 }, "workers", /1 to 63/],
  ["a mark that does not fit", { markShift: 25 }, "inline", /from 25/],
  ["ports beyond the last", { basePort: 65_535 }, "inline", /65534 to 65536/],
  ["queues beyond the last", { baseQueue: 65_535 }, "inline", /queues/],
  [
    "17 listeners, which a mark cannot tell apart",
    {
      listeners: Array.from({ length: 17 }, (_, i) => ({
        ...EDGE,
        name: `e${i}`,
        networkA: `a${i}`,
        networkB: `b${i}`,
      })),
    },
    "listeners",
    /at most 16/,
  ],
  [
    "an interface that is a rule",
    { listeners: [{ ...EDGE, networkA: 'x" accept' }] },
    "listeners[0].networkA",
    /not the name/,
  ],
  [
    "an interface of two listeners",
    { listeners: [EDGE, { ...BRIDGE, networkB: "eth2" }] },
    "listeners[1].networkB",
    /Cannot use eth2 for wire: edge has it already/,
  ],
  [
    "one interface twice",
    { listeners: [{ ...EDGE, networkB: "eth1" }] },
    "listeners[0].networkB",
    /edge has it already/,
  ],
  [
    "a bridge without an address of hardware",
    { listeners: [BRIDGE], bridgeMacs: {} },
    "listeners[1]",
    /hardware address/,
  ],
  [
    "an address without its length",
    { listeners: [{ ...BRIDGE, addresses: ["10.0.0.1"] }] },
    "listeners[1].address",
    /prefix length/,
  ],
  ["a name as a server", { rows: [{ name: "x", action: "drop", server: ["example.com"] }] }, "policy", /"example.com"/],
  [
    "a subnet that is too long",
    { rows: [{ name: "x", action: "drop", server: ["10.0.0.0/33"] }] },
    "policy",
    /10.0.0.0\/33/,
  ],
  ["a range across families", { rows: [{ name: "x", action: "drop", server: ["10.0.0.0-::1"] }] }, "policy", /range/],
  ["a port that is none", { rows: [{ name: "x", action: "drop", ports: [[1, 65_536]] }] }, "policy", /1-65536/],
  ["ports from high to low", { rows: [{ name: "x", action: "drop", ports: [[2, 1]] }] }, "policy", /2-1/],
  [
    "no way to hold a SYN",
    { features: { ...INPUT.features, nftQueue: false, iptablesNft: false } },
    "listeners[0].synHold",
    /Debian's package iptables/,
  ],
];
for (const [what, change, path, said] of WRONG) {
  test(`The plan refuses ${what}, with the path in the configuration`, () => {
    assert.throws(
      () => planInline({ ...INPUT, ...change }),
      (error: Error) => error instanceof ConfigError && error.path === path && said.test(error.message),
    );
  });
}

test("No text in a row or a name can become a rule", () => {
  const entry = fc.oneof(
    fc.string(),
    fc.ipV4(),
    fc.ipV6(),
    fc.constantFrom("1.2.3.4 }\n", "::1; accept", "10.0.0.0/8\n", "1-2"),
  );
  fc.assert(
    fc.property(fc.string(), fc.array(entry, { maxLength: 3 }), fc.string(), (name, server, networkA) => {
      const rows: NetworkRow[] = [{ name: `${name}\n}`, action: "bypass", server }];
      try {
        const { nft } = planInline({ ...INPUT, listeners: [{ ...EDGE, networkA }], rows });
        const bare = nft.replaceAll(/# .*$/gm, "");
        const elements = [...bare.matchAll(/elements = \{ (.*) \}$/gm)].flatMap(([, list]) => list!.split(", "));
        for (const element of elements) assert.match(element, /^[\da-f.:]+(?:[/-][\da-f.:]+)?$/);
        assert.equal(bare.split("{").length, bare.split("}").length);
        assert.match(networkA, /^[\w.@+-]{1,15}$/);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
      }
    }),
    { numRuns: 500 },
  );
});

test("Ranges of ports match exactly their ports, however they overlap", () => {
  const range = fc.tuple(fc.nat(40), fc.nat(10)).map(([first, more]): PortRange => [first, first + more]);
  fc.assert(
    fc.property(fc.array(range, { minLength: 1, maxLength: 6 }), (ports) => {
      const [match] = rowMatches({ name: "x", action: "drop", ports }, 0, "a");
      const [, list] = /^tcp dport \{ (.*) \}$/.exec(match ?? "") ?? [];
      const parts = list!.split(", ").map((part) => part.split("-").map(Number));
      for (let port = 0; port <= 52; port++) {
        const wanted = ports.some(([first, last]) => first <= port && port <= last);
        const matched = parts.filter(([first = 0, last = first]) => first <= port && port <= last).length;
        assert.equal(matched, wanted ? 1 : 0, `port ${port} of ${list}`);
      }
    }),
  );
});

test("A bridge keeps priority tags where the kernel can, and says where it cannot", () => {
  const plans = [true, false].map((tagMemory) =>
    planInline({ ...INPUT, listeners: [BRIDGE], features: { ...INPUT.features, tagMemory } }),
  );
  const kept = plans.map(({ steps }) => steps.flatMap((step) => (step.kind === "tag-memory" ? [step.names] : [])));
  assert.deepEqual(kept, [[["eth3.100", "eth4"]], []]);
  assert.deepEqual(
    plans.map(({ lacks }) => lacks.length),
    [0, 1],
  );
  assert.match(plans[1]?.lacks[0] ?? "", /VLAN 0.*Linux 6\.6.*CAP_BPF/);
});
