import { readFileSync, writeFileSync } from "node:fs";
import type { NodeOptions, TestNode } from "../../test/node.ts";
import type { Pki } from "../../test/pki.ts";
import { must, type Program, scratch, start } from "../../test/processes.ts";
import type { Stage } from "../claim.ts";
import type { Host, Network, Topology } from "../network.ts";
import { type Bench, begin, openBench } from "./bench.ts";
import type { Fault } from "./fault.ts";
import { OVER, openNetworkBench } from "./network.ts";
import type { Plan } from "./traffic.ts";

/** The ways in which sessions come to a node: two listeners on loopback, or one in the path of a network. */
export type Mode = "loopback" | "bridge" | "router";

export const ALL: readonly Mode[] = ["loopback", "bridge", "router"];

const WHERE: Readonly<Record<Mode, string>> = {
  loopback: "forward, explicit",
  bridge: OVER.bridge,
  router: OVER.routed,
};

/** What a fault needs of a node, in any mode. */
export interface ModeNode
  extends Pick<TestNode, "api" | "process" | "file" | "folder" | "stats" | "sessions" | "command" | "rewrite"> {
  /** Starts it again, after its end, and does not wait until it is ready. */
  begin(): Program;
}

export interface ModeBench extends AsyncDisposable, Pick<Bench, "traffic" | "ways" | "origin"> {
  readonly node: ModeNode;
  /** On loopback. */
  readonly loopback: Bench | undefined;
  /** Inline. */
  readonly stage: Stage | undefined;
}

/** Where programs beside the node run: this machine, or the node's network namespace. */
export type Place = Pick<Host, "start" | "must">;

interface ModeOptions extends Pick<NodeOptions, "config" | "env" | "prepare" | "within"> {
  /** Starts what the node needs, before it. */
  readonly beside?: (place: Place) => Promise<unknown>;
}

/** Clients in a network namespace cost more than those on loopback. */
export const INLINE_PLAN: Plan = { rate: 8, downloads: 4, idle: 4 };

/** Of an inline mode. */
export function topologyOf(mode: Mode): Topology {
  return mode === "bridge" ? "bridge" : "routed";
}

/** A node under traffic. The plan's own values count in each mode. */
export async function openMode(mode: Mode, pki: Pki, options: ModeOptions = {}, plan: Plan = {}): Promise<ModeBench> {
  const { beside, ...given } = options;
  if (mode === "loopback") {
    await beside?.({ start, must });
    const bench = await openBench(pki, given, plan);
    const node = { ...bench.node, begin: () => begin(bench.node) };
    return { ...bench, node, loopback: bench, stage: undefined };
  }
  const { prepare, ...scenario } = given;
  const folder = scratch();
  prepare?.(folder);
  const inline = { ...scenario, folder, prepare: async ({ node }: Network) => await beside?.(node) };
  const bench = await openNetworkBench(topologyOf(mode), pki, inline, { ...INLINE_PLAN, ...plan });
  const { node } = bench.stage;
  const original = JSON.parse(readFileSync(node.file, "utf8"));
  const rewrite = (config: object) => writeFileSync(node.file, JSON.stringify({ ...original, ...config }));
  return { ...bench, node: { ...node, rewrite }, loopback: undefined };
}

/** One fault, with a row for each of these modes. `parts`: what else of the node carries the traffic. */
export function inModes(
  modes: readonly Mode[],
  { parts, run, quick, ...fault }: Omit<Fault, "over" | "run"> & { parts: string; run: Run },
): readonly Fault[] {
  return modes.map((mode, at) => ({
    ...fault,
    name: mode === "loopback" ? fault.name : `${fault.name}-${mode}`,
    over: [WHERE[mode], parts].filter(Boolean).join(", "),
    ...(quick && at === 0 && { quick }),
    run: (pki) => run(pki, mode),
  }));
}

type Run = (pki: Pki, mode: Mode) => Promise<string>;
