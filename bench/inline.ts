import { spawnSync } from "node:child_process";
import { startClearline } from "./clearline.ts";
import { addTool, buildCrossings, type Crossing, forwardPlainly, layCable, type Topology } from "./hosts.ts";
import type { Subject } from "./loads.ts";
import { type Origin, startOrigin } from "./origin.ts";
import { listening, type Program } from "./processes.ts";

/**
 * The same client and server with different nodes between them: inline or as an explicit proxy, with and without `synHold`,
 * with tools that only forward, with an interface feed, with a network bypass, and with no node at all.
 */
const INLINE_SUBJECTS = [
  "no node",
  "kernel bypass",
  "explicit",
  "inline",
  "no SYN hold",
  "interface feed",
  "one tool",
  "two tools",
] as const;
export type InlineSubject = (typeof INLINE_SUBJECTS)[number];

export function isInline(name: string): name is InlineSubject {
  return INLINE_SUBJECTS.some((one) => one === name);
}

const PROXY_PORT = 8080;

/** Why the inline rows cannot be measured here; undefined if they can. */
export function inlineObstacle(): string | undefined {
  if (process.getuid?.() !== 0) return "they need root";
  const absent = Object.entries({ ip: "iproute2", nft: "nftables", sysctl: "procps" }).filter(
    ([program]) => spawnSync(program, ["-V"], { stdio: "ignore" }).error,
  );
  return absent.length > 0 ? `they need Debian's ${absent.map(([, name]) => name).join(", ")}` : undefined;
}

export interface Networks {
  readonly origin: Origin;
  readonly start: (name: InlineSubject) => Promise<Subject>;
}

/** Builds a client, a server and a way between them for each subject, and starts the origin for all ways. */
export async function buildNetworks(topology: Topology, names: readonly InlineSubject[]): Promise<Networks> {
  const crossings = buildCrossings(topology, names.length);
  const servers = crossings.map(({ server }) => server.address);
  const origin = await startOrigin(crossings[0]!.server, servers);
  return {
    origin,
    async start(name) {
      const crossing = crossings[names.indexOf(name)]!;
      const program = await STARTS[name](origin, crossing, topology);
      const { client, node, server } = crossing;
      const target = { name: server.address, address: server.address, port: origin.port };
      const way =
        name === "explicit"
          ? { from: client, target, proxy: { address: node.address, port: PROXY_PORT } }
          : { from: client, target };
      return { name, way, program };
    },
  };
}

type Start = (origin: Origin, crossing: Crossing, topology: Topology) => Promise<Program | undefined>;

const STARTS: Record<InlineSubject, Start> = {
  async "no node"(_origin, crossing) {
    forwardPlainly(crossing);
    return undefined;
  },
  async explicit(origin, crossing) {
    forwardPlainly(crossing); // the kernel forwards the node's own connections to the server
    const address = `${crossing.node.address}:${PROXY_PORT}`;
    const program = await startClearline(origin, { mode: "explicit", address }, {}, crossing.node);
    await listening(program, PROXY_PORT);
    return program;
  },
  inline: (origin, crossing, topology) => startInline(origin, crossing, topology),
  "no SYN hold": (origin, crossing, topology) => startInline(origin, crossing, topology, { synHold: false }),
  "interface feed"(origin, crossing, topology) {
    layCable(crossing.node, "clt-mon", "clt-ids");
    return startInline(
      origin,
      crossing,
      topology,
      {},
      { feeds: [{ name: "ids", kind: "interface", interface: "clt-mon" }] },
    );
  },
  "one tool": (origin, crossing, topology) => startWithTools(origin, crossing, topology, 1),
  "two tools": (origin, crossing, topology) => startWithTools(origin, crossing, topology, 2),
  "kernel bypass"(origin, crossing, topology) {
    const all = { name: "all", match: { server: [crossing.server.address] }, action: "bypass" };
    return startInline(origin, crossing, topology, {}, { policy: { rules: [all] } });
  },
};

function startWithTools(origin: Origin, crossing: Crossing, topology: Topology, count: number) {
  const tools = Array.from({ length: count }, (_, index) => {
    const { ends, ...interfaces } = addTool(crossing, index);
    return { name: `tool${index}`, kind: "inline", namespace: ends, ...interfaces };
  });
  return startInline(origin, crossing, topology, {}, { tools });
}

function startInline(origin: Origin, crossing: Crossing, topology: Topology, listener = {}, more = {}) {
  const { node, networkA, networkB, addresses } = crossing;
  const path = {
    mode: "inline",
    topology,
    networkA,
    networkB,
    ...(topology === "bridge" ? { address: addresses } : {}),
  };
  return startClearline(origin, { ...path, ...listener }, more, node);
}
