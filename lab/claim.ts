import type { Pki } from "../test/pki.ts";
import { buildNetwork, type Network, type Topology } from "./network.ts";
import { type LabNode, startNode } from "./node.ts";
import { type Servers, startServers } from "./servers.ts";
import { addForeignRules, describeSetup } from "./setup.ts";
import { addTool, configure, type ToolHost, type ToolSpec } from "./tool-host.ts";

/** What claims are about: a network with real servers and a node in its middle. */
export interface Stage extends AsyncDisposable {
  readonly network: Network;
  readonly servers: Servers;
  readonly node: LabNode;
  /** In the order in which sessions pass them. */
  readonly tools: readonly ToolHost[];
  readonly pki: Pki;
  /** The node's host before there was a node. */
  readonly before: Readonly<Record<string, string>>;
}

/** A sentence about the node that is true or is not. */
export interface Claim {
  readonly says: string;
  /** Where it can be shown; undefined: anywhere. */
  readonly only?: Topology;
  /** Shows it on the wire. Resolves with the figure that was seen; rejects when the claim is false. */
  check(stage: Stage): Promise<string>;
}

/** Claims that one node, configured in one way, must hold. */
export interface Scenario {
  readonly about: string;
  /** Laid over the lab's listener and over its configuration. */
  readonly listener?: Readonly<Record<string, unknown>>;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly confined?: boolean;
  /** The tools between Ta and Tb, in order. None: sessions go past no tool. */
  readonly tools?: readonly ToolSpec[];
  /** What else is to be there before the node. */
  readonly prepare?: (network: Network) => Promise<unknown>;
  readonly claims: readonly Claim[];
}

export function claimsFor(scenario: Scenario, topology: Topology): readonly Claim[] {
  return scenario.claims.filter(({ only }) => only === undefined || only === topology);
}

/** Builds the network, starts the servers and the node. Whatever fails, what was there before is taken down. */
export async function openStage(topology: Topology, scenario: Scenario, pki: Pki): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const network = stack.use(await buildNetwork(topology));
  const servers = stack.use(await startServers(network.server, pki.server.ecdsa));
  await addForeignRules(network.node);
  const { listener = {}, confined = false } = scenario;
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
  const node = stack.use(await startNode({ network, trust: [pki.root.certificate], listener, config, confined }));
  const kept = stack.move();
  return { network, servers, node, tools, pki, before, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
