import type { End } from "../engine/end.ts";
import { PeerError } from "../errors.ts";
import type { Verdict } from "../policy/facts.ts";
import type { Endpoint } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import { relayUnchanged } from "./relaying.ts";
import { redial, refuseClient, type Story, type TlsLayer } from "./story.ts";
import { leaveConversation } from "./upgrade.ts";
import { doubtAbout, passingCertificate, unverified } from "./verification.ts";

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
export function bypassOnHello(story: Story, layer: TlsLayer, verdict: Verdict): Promise<string> {
  const { client, server } = leaveConversation(story) ?? layer;
  return relayTls(story, layer, verdict, { client, server });
}

/**
 * After the node has spoken TLS with the server: a new connection, on which the server sees the client's own ClientHello,
 * byte for byte: it has stayed in the client's connection. In monitor mode it is the connection that was kept.
 */
export async function bypassLate(story: Story, layer: TlsLayer, verdict: Verdict): Promise<string> {
  const { session } = story;
  if (layer.found) return refuseLate(story, layer, verdict);
  story.endTurn?.();
  const { kept } = layer;
  if (kept) {
    closeServers(story, kept);
    session.note({ seenAs: kept.local() ?? null });
    return bypassOnHello(story, { ...layer, server: kept }, verdict);
  }
  const { client } = leaveConversation(story) ?? layer;
  closeServers(story);
  session.note({ state: "EST:SYN_SENT:INIT:INIT" });
  const server = await redial(story, layer);
  session.note({ state: "EST:EST:INIT:INIT", seenAs: server.local() ?? null });
  return relayTls(story, layer, verdict, { client, server });
}

function closeServers({ node, connections, clientConnections }: Story, kept?: End): void {
  for (const connection of connections)
    if (connection !== kept && !clientConnections.has(connection)) node.streams.close(connection);
}

interface Ends {
  readonly client: End;
  readonly server: End;
}

/** The hellos are looked at while they pass: what the verdict was based on must stay true until the version is chosen. */
function relayTls(story: Story, layer: TlsLayer, verdict: Verdict, { client, server }: Ends): Promise<string> {
  const { policy, streams } = story.node;
  const flow = { tools: verdict.tools, server: layer.endpoint, host: namedHost(layer) };
  const condition = policy.whilePassing(verdict);
  if (!condition) return relayBypassed(story, client, server, flow);
  const { format, serverName, serverAddress, ...others } = layer.received.hello;
  const { alpnProtocols, versions, cipherSuites, supportedGroups } = others;
  // Not the whole hello, which would stay in memory until the version is chosen.
  const hello = { format, serverName, serverAddress, alpnProtocols, versions, cipherSuites, supportedGroups };
  const certificate = policy.verifies(verdict) ? passingCertificate(layer) : undefined;
  const fault = streams.watchHellos(client, server, { hello, ...condition, certificate }, async (ders) => {
    const shown = story.node.legs.shown(ders);
    const doubt = shown ? await doubtAbout(story, layer, verdict, shown) : unverified("its certificate cannot be read");
    return doubt && new PeerError(doubt.reason, ALERTS.bad_certificate, { side: "server" });
  });
  const byServer = condition.isForbidden ? "versions" : condition.beyondNode ? "undecryptable" : "verifyBypass";
  return cutOn(fault, story, { client, server, byServer }, relayBypassed(story, client, server, flow));
}

/** Cuts the relay when the peers do what policy does not bypass. Answers why the session is over. */
async function cutOn(
  fault: Promise<PeerError | undefined>,
  { session }: Story,
  { client, server, byServer }: Ends & { readonly byServer: string },
  relayed: Promise<string>,
): Promise<string> {
  let found: PeerError | undefined;
  void fault.then((error) => {
    found = error;
    if (!error) return;
    const rule = error.side === "server" ? byServer : "second hello";
    session.note({ verdict: "drop", phase: "sni", rule, reason: error.message });
    client.reset();
    server.reset();
  });
  const reason = await relayed;
  return found ? `Dropped: ${found.message}` : reason;
}

/** The server has the node's own ClientHello, and what the client said before it cannot be said to another connection. */
function refuseLate(story: Story, { client, received }: TlsLayer, { phase, rule, reason }: Verdict): string {
  const why = `${reason}; it came too late for a bypass, because the dialogue before TLS was not understood`;
  story.session.note({ verdict: "drop", phase, rule, reason: why });
  refuseClient(story, client, ALERTS.access_denied, received.hello);
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
