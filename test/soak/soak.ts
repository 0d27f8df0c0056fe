import { checkEngine } from "../../src/engine/check.ts";
import { startNode, type TestNode } from "../node.ts";
import { DOMAIN, makeLeaf, makePki, type Pki } from "../pki.ts";
import { until } from "../processes.ts";
import { type Changes, INBOUND_FILES, makeChanges, type Pace, placeInbound } from "./changes.ts";
import { serveWeb } from "./http.ts";
import type { SoakNetwork } from "./network.ts";
import { SERVERS, serve } from "./peers.ts";
import { hostsOf, INBOUND, policiesOf } from "./policy.ts";
import { type Sample, watchNode } from "./samples.ts";
import { createTrust } from "./trust.ts";
import { carryOut, describeVisit, isKilled, pick, type Where } from "./visits.ts";

/**
 * Sends sessions of all versions through a node: transfers of any length whose hashes are compared, half-closes from either side, kills
 * of either side in the middle, STARTTLS, HTTP, hosts that are bypassed and dropped; meanwhile reloads change the policy, CAs are renewed,
 * and clients verify what they are shown. With a network they come by all modes, and pass tools. At the end nothing may be left.
 */
export interface Soaked {
  readonly sessions: number;
  readonly killed: number;
  readonly changes: ReturnType<Changes["counts"]>;
  /** Sessions that came to another end than they should have, each with why. */
  readonly faults: readonly string[];
  /** When it began, while it ran, and when all sessions had ended. */
  readonly samples: readonly Sample[];
}

interface Plan {
  readonly sessions: number;
  readonly atOnce: number;
  /** Bytes each way. */
  readonly longest: number;
  /** Sessions stop when they are over. */
  readonly seconds: number;
  readonly pace?: Pace;
  /** Absent: the node is on loopback, without tools. */
  readonly network?: SoakNetwork | undefined;
  readonly progress?: (text: string) => void;
  readonly onFault?: (fault: string) => void;
}

const PACE: Pace = { reload: 20, renewal: 120 };

export async function soak(plan: Plan): Promise<Soaked> {
  const { seconds, network, progress = () => {}, onFault = () => {} } = plan;
  checkEngine();
  const pki = await makePki();
  const { servers, ports, farPorts, web } = await startServers(pki, network);
  const policies = policiesOf(network, [ports["mail"]!, farPorts["mail"]!].filter(Boolean));
  const inbound = await makeLeaf(pki, "inbound", `DNS:*.${DOMAIN}`);
  await using node = await startNode({
    trust: [pki.root.certificate],
    forwards: { ...ports, web: web.secure },
    ...(network && { listeners: [network.listener] }),
    prepare: (folder) => placeInbound(folder, inbound),
    config: configOf(policies[0]!, network),
  });
  await network?.read();
  const faults: string[] = [];
  const note = (fault: string) => {
    faults.push(fault);
    onFault(`${new Date().toISOString()} ${fault}`);
  };
  const trust = await createTrust(node, pki, inbound);
  const watch = watchNode(node);
  await until("a report of each worker", async () => (await node.stats()).workers.every(({ engine }) => engine));
  await watch.look(0);
  const tally = { begun: 0, done: 0, killed: 0 };
  const ticker = setInterval(
    () => {
      watch.look(tally.done).then(
        ({ memory, connections }) =>
          progress(`${tally.done} sessions, ${faults.length} faults, ${memory} MiB, ${connections} SSLs`),
        (error: Error) => note(`statistics: ${error.message}`),
      );
    },
    seconds > 600 && seconds < Infinity ? 5_000 : 1_000,
  );
  const changes = makeChanges({ node, pki, trust, policies, onFault: note }, plan.pace ?? PACE);
  await visitAll(plan, { node, trust, ports: { ...ports, http: web.plain }, farPorts, network }, tally, note);
  clearInterval(ticker);
  await changes.stop();
  await atRest(node);
  await watch.look(tally.done);
  await node.stop();
  for (const { near, far } of servers) for (const end of [near, far]) end?.close();
  web.close();
  return { sessions: tally.done, killed: tally.killed, changes: changes.counts(), faults, samples: watch.samples };
}

async function startServers(pki: Pki, network: SoakNetwork | undefined) {
  const { ecdsa } = pki.server;
  // SSL 3.0 has no SNI: with a wildcard in it, a certificate is for every host that a rule names.
  const single = await makeLeaf(pki, "single", `DNS:soak.${DOMAIN},IP:127.0.0.1`);
  const named = SERVERS.map((name) => [name, serve(name, name === "SSLv3" ? single : ecdsa, network)] as const);
  const ports: Record<string, number> = {};
  const farPorts: Record<string, number> = {};
  for (const [name, { near, far }] of named) {
    ports[name] = near.local()!.port;
    farPorts[name] = far?.local()?.port ?? 0;
  }
  return { servers: named.map(([, server]) => server), ports, farPorts, web: await serveWeb(pki) };
}

function configOf(policy: object, network: SoakNetwork | undefined): Record<string, unknown> {
  return {
    policy,
    keys: [{ hosts: [INBOUND], ...INBOUND_FILES }],
    history: { sessions: 1_000 },
    // Nothing but a fault of the node may end a session on a busy machine.
    timeouts: { drain: "2s", connect: "60s", handshake: "60s" },
    tools: network?.tools ?? [],
    feeds: [
      { name: "archive", kind: "pcapng", directory: "./captures", flows: ["decrypted"], rotate: "10MB", keep: 2 },
      { name: "tls", kind: "tls-log", file: "./tls.json" },
      { name: "keys", kind: "keylog", file: "./keys.log" },
      { name: "http", kind: "http" },
      ...(network?.feeds ?? []),
    ],
    log: { level: "warn" },
  };
}

async function visitAll(
  { sessions, atOnce, longest, seconds, network }: Plan,
  where: Where,
  tally: { begun: number; done: number; killed: number },
  note: (fault: string) => void,
): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  const hosts = hostsOf(network);
  const run = async () => {
    while (tally.begun < sessions && performance.now() < deadline) {
      tally.begun += 1;
      const one = pick(longest, hosts, network !== undefined);
      if (isKilled(one)) tally.killed += 1;
      await carryOut(where, one).catch((error: Error) => note(`${describeVisit(one)}: ${error.message}`));
      tally.done += 1;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, run));
}

/** Resolves once all sessions have ended, as the workers report once a second. */
async function atRest(node: TestNode): Promise<void> {
  await until("the end of all sessions", async () => {
    const { sessions, workers } = await node.stats();
    return sessions.live === 0 && workers.every(({ engine }) => engine?.connections === 0);
  });
}
