import assert from "node:assert/strict";
import type { Session, ToolInfo } from "../src/control/api.ts";
import { DOMAIN } from "../test/pki.ts";
import { type Outcome, until } from "../test/processes.ts";
import type { Stage } from "./claim.ts";
import type { Family } from "./network.ts";
import { PORTS } from "./servers.ts";

/** Sessions with a host of their own, by which the session table finds each. */

/** Fetches a page with curl over HTTP/1.1 and TLS. curl trusts only the node's CA unless `trust` says otherwise. The host is made from the path. */
export async function fetchPage(
  stage: Stage,
  family: Family,
  path: string,
  { mustWork = true, trust = stage.node.authorities }: { mustWork?: boolean; trust?: string } = {},
): Promise<Outcome> {
  const { client, server } = stage.network;
  const host = hostOf(path, family);
  const target = family === 6 ? `[${server.address[6]}]` : server.address[4];
  const to = ["--resolve", `${host}:${PORTS.https}:${target}`, `https://${host}:${PORTS.https}${path}`];
  const options = ["-sS", "--fail", "--http1.1", "-m", "15", "--cacert", trust];
  const outcome = await client.run("curl", [...options, ...to]);
  if (mustWork) assert.equal(outcome.code, 0, outcome.stderr);
  return outcome;
}

export function hostOf(path: string, family: Family): string {
  return `${path.slice(1)}-v${family}.${DOMAIN}`;
}

/** The session of a page, once it has ended. */
export function sessionOf({ node }: Stage, path: string, family: Family): Promise<Session> {
  const host = hostOf(path, family);
  return until(`the session of ${host}`, async () =>
    (await node.sessions({ host })).find(({ sni, end }) => sni === host && end !== null),
  );
}

export async function infoOf({ node }: Stage, name: string): Promise<ToolInfo> {
  const { tools } = await node.stats();
  return tools.find((tool) => tool.name === name)!;
}
