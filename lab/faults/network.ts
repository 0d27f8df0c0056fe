import assert from "node:assert/strict";
import type { Pki } from "../../test/pki.ts";
import { type Program, until } from "../../test/processes.ts";
import { openStage, type Scenario, type Stage } from "../claim.ts";
import { dial, serve } from "../ends.ts";
import { addHost, type Network, type Topology } from "../network.ts";
import { missingRequirement, PYTHON } from "../requirements.ts";
import { authoritiesIn, type Bench, harmless, since } from "./bench.ts";
import { type Fault, Skipped } from "./fault.ts";
import { openOrigin } from "./origin.ts";
import { describe, type Plan, startTraffic } from "./traffic.ts";

/** Clients, the node and the server in network namespaces, under traffic. */
export interface NetworkBench extends AsyncDisposable, Pick<Bench, "traffic" | "ways" | "origin"> {
  readonly stage: Stage;
}

/** The origin's port in the server's network. */
export const PORT = 8443;

/** Else a node that waits for a busy machine has its new sessions bypassed, and no fault has done that. */
const CALM = { overload: { eventLoopDelay: "off" } };

/** `alsoTrusted`: CAs that clients trust beside the node's, PEM: those of servers whose sessions may be bypassed. */
export async function openNetworkBench(
  topology: Topology,
  pki: Pki,
  scenario: Partial<Scenario> = {},
  plan: Plan = {},
  alsoTrusted = "",
): Promise<NetworkBench> {
  const obstacle = missingRequirement();
  if (obstacle !== undefined) throw new Skipped(`it ${obstacle}`);
  await using stack = new AsyncDisposableStack();
  const config = { ...CALM, ...scenario.config };
  const stage = stack.use(await openStage(topology, { about: "Faults", claims: [], ...scenario, config }, pki));
  const origin = stack.use(await openOrigin(pki.server.ecdsa));
  const { client, server } = stage.network;
  stack.use(await serve(server, PORT, (socket) => void origin.server.emit("connection", socket)));
  const ways = ([4, 6] as const).map((family) => ({
    trusted: () => authoritiesIn(stage.node.folder) + alsoTrusted,
    dial: () => dial(client, { address: server.address[family], port: PORT }),
  }));
  const traffic = stack.use(await startTraffic(ways, plan));
  const kept = stack.move();
  return { stage, origin, traffic, ways, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

interface Wire {
  /** Of 100 frames. */
  readonly lost?: number;
  readonly repeated?: number;
  readonly swapped?: number;
}

export const OVER = { bridge: "inline bridge, IPv4 and IPv6", routed: "inline router, IPv4 and IPv6" };

/** ms for which the interface is down: the kernel sends an unanswered segment again for minutes. */
const DOWN = 2_000;

/** Where a rough wire lies, and in front of which node: the first has the fault's own name. */
const WIRES: readonly { readonly at: "client" | "server"; readonly topology: Topology; readonly tool?: true }[] = [
  { at: "client", topology: "bridge" },
  { at: "client", topology: "routed" },
  { at: "server", topology: "bridge", tool: true },
  { at: "server", topology: "routed", tool: true },
];

/** What the packets meet between client and server. */
export const NETWORK: readonly Fault[] = [
  ...[
    roughWire("packets-lost", "3 % of all packets", "are lost", { lost: 3 }),
    roughWire("packets-duplicated", "10 % of the packets", "come twice", { repeated: 10 }),
    roughWire("packets-reordered", "10 % of the packets", "are overtaken", { swapped: 10 }),
  ].flat(),
  ...(["server", "client"] as const).flatMap((side) =>
    (["bridge", "routed"] as const).map((topology) => cutWire(side, topology)),
  ),
  {
    name: "conntrack-full",
    about: "The kernel's connection table of the node's network is full of connections that it does not drop early",
    promise:
      "Before it is full, health, log and doctor tell of it, and while it is, the node answers on its own machine; live sessions are unhurt; new ones are carried at the latest when there is room again",
    over: OVER.bridge,
    run: fillConnectionTable,
  },
];

function roughWire(name: string, what: string, happens: string, wire: Wire): readonly Fault[] {
  return WIRES.map(({ at, topology, tool }, index) => ({
    name: index === 0 ? name : `${name}-${at}-${topology === "bridge" ? "bridge" : "router"}`,
    about: `${what} between the ${at} and the node ${happens}`,
    promise: "No session is hurt: new ones are whole, the hashes of downloads are right, idle ones are alive",
    over: `${OVER[topology]}${tool ? ", inline tool" : ""}`,
    async run(pki) {
      let program: Program | undefined;
      const prepare = async (network: Network) => {
        program = await layRoughWire(network, at, wire);
      };
      const tools = tool ? [{ name: "ips" }] : [];
      await using bench = await openNetworkBench(topology, pki, { prepare, tools });
      const seen = await harmless(bench, async () => {});
      const [counts = ""] = program!.output().trim().split("\n").slice(-1);
      const [, carried = "0", lost, repeated, swapped] = /(\d+) \w+ (\d+) \w+ (\d+) \w+ (\d+)/.exec(counts) ?? [];
      assert.ok(Number(lost) + Number(repeated) + Number(swapped) > 0, `the wire did nothing: ${counts}`);
      return `of ${carried} packets ${lost} lost, ${repeated} repeated, ${swapped} overtaken; ${seen}`;
    },
  }));
}

/** Puts a program between an end and the node, which carries their frames. The end keeps its addresses. */
async function layRoughWire(network: Network, at: "client" | "server", wire: Wire): Promise<Program> {
  const { node, topology } = network;
  const end = network[at];
  const program = new URL("../programs/wire.py", import.meta.url).pathname;
  const between = await addHost("wire");
  const [left, right] = ["clt-w-left", "clt-w-right"];
  const ip = (...args: string[]) => end.must("ip", args);
  await between.must("sysctl", ["-qw", "net.ipv6.conf.default.disable_ipv6=1"]);
  await ip("link", "set", end.interface, "netns", between.namespace, "name", right);
  await ip("link", "add", end.interface, "type", "veth", "peer", "name", left, "netns", between.namespace);
  for (const side of [left, right]) await between.must("ip", ["link", "set", side, "up"]);
  await ip("link", "set", end.interface, "up");
  await ip("address", "add", `${end.address[4]}/24`, "dev", end.interface);
  await ip("address", "add", `${end.address[6]}/64`, "dev", end.interface, "nodad");
  if (topology === "routed") {
    const own = at === "client" ? node.addresses.slice(0, 2) : node.addresses.slice(2);
    const [v4 = "", v6 = ""] = own.map((address) => address.split("/")[0]!);
    await ip("route", "add", "default", "via", v4);
    await ip("-6", "route", "add", "default", "via", v6);
  }
  await end.must(PYTHON, [program, "plain", end.interface]);
  await node.must(PYTHON, [program, "plain", at === "client" ? node.networkA : node.networkB]);
  const shares = [wire.lost ?? 0, wire.repeated ?? 0, wire.swapped ?? 0].map(String);
  const carrying = between.start(PYTHON, [program, left, right, ...shares]);
  await carrying.shows(/^READY$/m);
  return carrying;
}

function cutWire(side: "client" | "server", topology: Topology): Fault {
  const where = `${side === "client" ? "clients-" : ""}${topology === "bridge" ? "bridge" : "router"}`;
  return {
    name: `interface-down-${where}`,
    about: `The node's interface toward the ${side}s goes down for ${DOWN / 1000} s and comes back`,
    promise: "Live sessions go on where they stopped; new ones are carried once it is back",
    over: OVER[topology],
    async run(pki) {
      // Else the kernel forgets a router's IPv6 addresses when their interface goes down.
      const prepare = ({ node }: Network) => node.must("sysctl", ["-qw", "net.ipv6.conf.all.keep_addr_on_down=1"]);
      await using bench = await openNetworkBench(topology, pki, { prepare }, { long: { chunks: 60, every: 100 } });
      const { stage, traffic } = bench;
      const { node } = stage.network;
      const set = (state: string) =>
        node.must("ip", ["link", "set", side === "client" ? node.networkA : node.networkB, state]);
      const running = traffic.finish();
      await set("down");
      const down = performance.now();
      await until("the time that it is down", () => performance.now() - down > DOWN);
      await set("up");
      const up = performance.now();
      const first = await traffic.whole(1, up).then(() => since(up));
      const after = await traffic.whole(60, performance.now());
      const broken = (await running).flatMap(({ error }) => error ?? []);
      assert.deepEqual(broken, [], "downloads broke");
      const alive = await Promise.all(traffic.idle.map((one) => one.answers()));
      assert.ok(alive.every(Boolean), "idle sessions died");
      return `new sessions whole ${first} after it was back, then ${describe(after)}; ${(await running).length} downloads whole, ${alive.length} idle sessions alive`;
    },
  };
}

/** Seconds for which the strangers stay in the table. */
const FULL = 40;
/** Percent of the table, which is more than what the node tells of. */
const NEARLY = 93;

async function fillConnectionTable(pki: Pki): Promise<string> {
  await using bench = await openNetworkBench("bridge", pki, {}, { rate: 10, long: { chunks: 60, every: 100 } });
  const { stage, traffic } = bench;
  const program = new URL("../programs/fill-conntrack.py", import.meta.url).pathname;
  const fill = (percent: number) => stage.network.node.must(PYTHON, [program, String(FULL), String(percent)]);
  await fill(NEARLY);
  const nearly = performance.now();
  await tellsOfConnectionTable(stage);
  const told = since(nearly);
  const running = traffic.finish();
  const filled = await fill(100);
  const full = performance.now();
  const { stdout } = await stage.node.command("stats");
  assert.match(stdout, /connection table is (?:nearly )?full/, "the node does not answer on its own machine");
  const answered = since(full);
  const downloads = await running;
  const broken = downloads.flatMap(({ error }) => error ?? []);
  assert.deepEqual(broken, [], "live downloads broke");
  const alive = await Promise.all(traffic.idle.map((one) => one.answers()));
  assert.ok(alive.every(Boolean), "idle sessions died");
  const first = await traffic.whole(1, full).then((visits) => {
    const whole = visits.find(({ error }) => error === undefined)!;
    return `${(whole.end - full).toFixed(0)} ms`;
  });
  await until("the time of the strangers", () => performance.now() - full > FULL * 1000);
  const during = traffic.visits.filter(({ start }) => start >= full && start < full + FULL * 1000);
  const after = await traffic.whole(60, performance.now());
  return `at ${NEARLY} %, health, log and doctor told of it within ${told}; ${filled.trim()} entries, with which \`clearline stats\` took ${answered}; ${downloads.length} downloads whole, ${alive.length} idle sessions alive; the first new session was whole ${first} later, in the ${FULL} s from then on ${describe(during)}, afterwards ${describe(after)}`;
}

/** Before it is full: log and doctor have their time, too. */
async function tellsOfConnectionTable({ node }: Stage): Promise<void> {
  await until("the fact in health", async () =>
    (await node.stats()).health.reasons.some(({ fact }) => fact === "conntrack"),
  );
  await node.process.shows(/"msg":"The kernel's connection table is (?:nearly )?full/);
  const { stdout } = await node.command("doctor");
  assert.match(stdout, /kernel +The kernel's connection table is (?:nearly )?full/);
}
