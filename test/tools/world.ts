/** A node with tools of kind proxy in front of an nginx, for the tests of such tools. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { curl } from "../clients.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { makePki, type Pki } from "../pki.ts";
import { freePort, type Outcome, type Program } from "../processes.ts";
import type { ToolPorts } from "./proxies.ts";

export interface Backend extends AsyncDisposable {
  readonly pki: Pki;
  readonly origin: Nginx;
}

/**
 * The clients' address, which is not the node's: with one address for both, a client's port could also be the port of the node's
 * connection to a tool, and a tool that reports only an address and port would name the wrong session.
 */
export const CLIENT = "127.0.0.5";

/** Starts the server behind the node: nginx, which answers with parts of the request. "/words" is long. */
export async function startBackend(): Promise<Backend> {
  const pki = await makePki();
  const origin = await nginx(
    pki.server.ecdsa,
    'location = /seen { return 200 "$http_x_tool|$host|$server_protocol\\n"; }',
  );
  writeFileSync(join(origin.files, "words"), WORDS);
  return { pki, origin, [Symbol.asyncDispose]: async () => void (await origin.process.stop()) };
}

export const WORDS = "the quick brown fox\n".repeat(100_000);

export interface World extends AsyncDisposable {
  readonly node: TestNode;
  readonly tools: readonly Program[];
  /** Where each tool listens, and where the node accepts its connections (Tb). */
  readonly ports: readonly ToolPorts[];
  /** curl through the node's forward to the nginx. */
  get(host: string, path: string, more?: readonly string[]): Promise<Outcome>;
}

export interface WorldTool {
  /** "tool" and its place in the chain, unless it is named here. */
  readonly name?: string;
  readonly start: (ports: ToolPorts) => Promise<Program>;
  /** More keys of the tool's configuration. */
  readonly more?: Readonly<Record<string, unknown>>;
}

export async function startWorld(
  { pki, origin }: Backend,
  programs: readonly WorldTool[],
  config: Readonly<Record<string, unknown>> = {},
): Promise<World> {
  const ports: ToolPorts[] = [];
  const tools: Program[] = [];
  for (const { start } of programs) {
    const place = { port: await freePort(), back: await freePort() };
    ports.push(place);
    tools.push(await start(place));
  }
  const node = await startNode({
    trust: [pki.root.certificate],
    forwards: { web: origin.port },
    config: {
      tools: programs.map(({ name, more }, index) => ({
        name: name ?? `tool${index}`,
        kind: "proxy",
        address: `127.0.0.1:${ports[index]!.port}`,
        returnAddress: `127.0.0.1:${ports[index]!.back}`,
        ...more,
      })),
      ...config,
    },
  });
  return {
    node,
    tools,
    ports,
    get: (host, path, more = []) =>
      curl(
        { port: node.forward("web") },
        node.primary,
        ["--interface", CLIENT, ...more, `https://${host}${path}`],
        30_000,
      ),
    async [Symbol.asyncDispose]() {
      await node[Symbol.asyncDispose]();
      await Promise.all(tools.map((tool) => tool.stop()));
    },
  };
}
