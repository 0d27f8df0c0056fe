import type { Pki } from "../test/pki.ts";
import { buildNetwork, type Network, type Topology } from "./network.ts";
import { type LabNode, startNode } from "./node.ts";
import { type Servers, startServers } from "./servers.ts";
import { addForeignRules, describeSetup } from "./setup.ts";
import { addTool, configure, type ToolHost, type ToolSpec } from "./tool-host.ts";

/** The subject of claims: a network with real servers, and a node between client and server. */
export interface Stage extends AsyncDisposable {
  readonly network: Network;
  readonly servers: Servers;
  readonly node: LabNode;
  /** In the order in which sessions pass them. */
  readonly tools: readonly ToolHost[];
  readonly pki: Pki;
  /** The network setup of the node's host before the node started. */
  readonly before: Readonly<Record<string, string>>;
}

/** A sentence about the node that can be shown to be true or false. */
export interface Claim {
  readonly says: string;
  /** The only topology where it holds; undefined: both. */
  readonly only?: Topology;
  /** Tries the claim. Resolves with what was measured or seen; rejects when the claim is false. */
  check(stage: Stage): Promise<string>;
}

/** The claims about a node with one configuration. */
export interface Scenario {
  readonly about: string;
  /** Override keys of the lab's listener and of its configuration. */
  readonly listener?: Readonly<Record<string, unknown>>;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly confined?: boolean;
  /** A command that starts the node, and its environment. */
  readonly within?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Where the node has its files. */
  readonly folder?: string;
  /** The tools between Ta and Tb, in order. None: sessions go past no tool. */
  readonly tools?: readonly ToolSpec[];
  /** Prepares the network before the node starts. */
  readonly prepare?: (network: Network) => Promise<unknown>;
  readonly claims: readonly Claim[];
}

export function claimsFor(scenario: Scenario, topology: Topology): readonly Claim[] {
  return scenario.claims.filter(({ only }) => only === undefined || only === topology);
}

/** Builds the network, and starts the servers and the node. When one of these fails, the others are removed again. */
export async function openStage(topology: Topology, scenario: Scenario, pki: Pki): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const network = stack.use(await buildNetwork(topology));
  const servers = stack.use(await startServers(network.server, pki.server.ecdsa));
  await addForeignRules(network.node);
  const { listener = {}, confined = false, folder, within = [], env = {} } = scenario;
  const tools: ToolHost[] = [];
  const configured: Readonly<Record<string, unknown>>[] = [];
  for (const spec of scenario.tools ?? []) {
    const tool = await addTool(network, spec);
    tools.push(tool);
    configured.push(configure(tool, spec));
  }
  const config = { ...scenario.config, ...(configured.length > 0 && { tools: configured }) };
  await scenario.prepare?.(network);
  const before = await describeSetup(network.node);
  const place = folder === undefined ? {} : { folder };
  const trust = [pki.root.certificate];
  const node = stack.use(await startNode({ network, trust, listener, config, confined, within, env, ...place }));
  const kept = stack.move();
  return { network, servers, node, tools, pki, before, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
