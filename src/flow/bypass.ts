import type { End } from "../engine/end.ts";
import type { Verdict } from "../policy/facts.ts";
import type { Endpoint } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import { relayUnchanged } from "./relaying.ts";
import { redial, type Story, type TlsLayer } from "./story.ts";
import { leaveConversation } from "./upgrade.ts";

/** The part of a session's story in which the policy says bypass: the peers' own TLS passes as it is. */

/** In the network phase: nothing was read yet. */
export function bypassOnNetwork(
  story: Story,
  client: End,
  server: End,
  { tools }: Verdict,
  { endpoint, host }: { readonly endpoint: Endpoint; readonly host: string | null },
): Promise<string> {
  return relayBypassed(story, client, server, { tools, server: endpoint, host: host ?? undefined });
}

/** In the sni phase: the client's ClientHello goes on to the server. */
export function bypassOnHello(story: Story, layer: TlsLayer, { tools }: Verdict): Promise<string> {
  const { client, server } = leaveConversation(story) ?? layer;
  return relayBypassed(story, client, server, { tools, server: layer.endpoint, host: namedHost(layer) });
}

/**
 * After the node has spoken TLS with the server: a new connection, on which the server sees the client's own ClientHello,
 * byte for byte: it has stayed in the client's connection.
 */
export async function bypassLate(story: Story, layer: TlsLayer, verdict: Verdict): Promise<string> {
  const { node, session, connections, clientConnections } = story;
  if (layer.found) return refuseLate(story, layer, verdict);
  const { tools } = verdict;
  const { client } = leaveConversation(story) ?? layer;
  for (const connection of connections) if (!clientConnections.has(connection)) node.streams.close(connection);
  session.note({ state: "EST:SYN_SENT:INIT:INIT" });
  const server = await redial(story, layer);
  session.note({ state: "EST:EST:INIT:INIT", seenAs: server.local() ?? null });
  return relayBypassed(story, client, server, { tools, server: layer.endpoint, host: namedHost(layer) });
}

/** The server has the node's own ClientHello, and what the client said before it cannot be said to another connection. */
function refuseLate(
  { node, session }: Story,
  { client, received }: TlsLayer,
  { phase, rule, reason }: Verdict,
): string {
  const why = `${reason}; it came too late for a bypass, because the dialogue before TLS was not understood`;
  session.note({ verdict: "drop", phase, rule, reason: why });
  node.legs.refuse(client, ALERTS.access_denied, received.hello);
  return `Dropped: ${why}`;
}

interface BypassedFlow {
  readonly tools: readonly string[] | undefined;
  readonly server: Endpoint;
  readonly host: string | undefined;
}

function relayBypassed(story: Story, client: End, server: End, flow: BypassedFlow): Promise<string> {
  return relayUnchanged(story, client, server, { ...flow, flow: "bypassed", description: "bypassed" });
}

function namedHost({ received: { hello }, destination: { connectHost } }: TlsLayer): string | undefined {
  return hello.serverName ?? connectHost ?? undefined;
}
