import type { Arrival } from "../capture/arrival.ts";
import type { End } from "../engine/end.ts";
import type { Meter } from "../engine/relay.ts";
import type { ServerLeg } from "../legs/leg.ts";
import type { ReceivedHello } from "../legs/stage.ts";
import type { JudgedServer } from "../pki/verify/judge.ts";
import type { Facts, Verdict } from "../policy/facts.ts";
import type { Chain } from "../tools/chain.ts";
import { ALERTS } from "../wire/alert.ts";
import { ja3sText } from "../wire/fingerprint.ts";
import { bypassUnseen, lookAside } from "./aside.ts";
import { bypassLate, bypassOnNetwork } from "./bypass.ts";
import { noticeDemands, withDemand } from "./certificate-demand.ts";
import { noticeBinding } from "./channel-binding.ts";
import { namesToShow } from "./names.ts";
import { judgeAgain, judgeLoad, spare } from "./overload.ts";
import { answerOwn } from "./page.ts";
import { noteProxyHeader, passProxyHeader } from "./proxied.ts";
import { reach, welcome } from "./reach.ts";
import { afterServerRefusal, endOnError, refuseArrival, refuseHello } from "./refusal.ts";
import { connectTools, endWithTools, type RelayedFlow, relay, resetForTool } from "./relaying.ts";
import { carryIfRequests, carryRequests, judgeRequest } from "./requests.ts";
import { openServerLeg, scopeOf } from "./server-leg.ts";
import type { Node } from "./stages.ts";
import {
  alertsOf,
  hostOf,
  type Layer,
  legRecord,
  noteFailedLeg,
  noteHello,
  noteVerdict,
  type Story,
  serverKeyOf,
  type TlsLayer,
} from "./story.ts";
import { dropNotTls, unwantedNotTls, verdictOnHello } from "./untreated.ts";
import { relayUnwatched } from "./unwatched.ts";
import { type ConversationOutcome, converse, layerInside, lookInside, resumeConversation } from "./upgrade.ts";
import { doubtAbout } from "./verification.ts";
import { bypassVerified } from "./verify-bypass.ts";

/**
 * One session, from its first byte to its last. Read this file first. Answers with the arrival of the next session on the client's
 * connection, if it goes on.
 */
export async function carry(arrival: Arrival, node: Node): Promise<Arrival | undefined> {
  const clients = arrival.client ? [arrival.client] : [];
  const story: Story = {
    arrival,
    node,
    session: node.sessions.open(arrival),
    connections: new Set(arrival.server ? [...clients, arrival.server] : clients),
    clientConnections: new Set(clients),
  };
  try {
    const course = await begin(story);
    const reason = typeof course === "string" ? course : await course();
    story.session.close(withDemand(story, reason), alertsOf(story), story.ending);
  } catch (error) {
    const reason = endOnError(story, error);
    story.session.close(reason, alertsOf(story), story.ending);
  } finally {
    story.endTurn?.();
    story.chain?.release();
    for (const connection of story.connections) node.streams.close(connection);
  }
  return story.next;
}

/** Why the session is over; or its last part, the longest, which begins when all that led to it has returned and holds no memory. */
type Course = string | (() => Promise<string>);

/** From the arrival to the first bytes. Each step answers why the session is over, or how it goes on to its end. */
async function begin(story: Story): Promise<Course> {
  const { arrival, node, session } = story;

  const destination = await arrival.locate();
  const { connectHost, http } = destination;
  session.note({ connectHost, ...(http && { protocol: "http" }) });
  const begunWith = destination.begunWith ?? arrival.begunWith;
  if (begunWith) noteProxyHeader(story, begunWith);
  if (arrival.mode === "explicit" && node.ca.isOwn(destination.host)) return answerOwn(story, destination);
  let facts: Facts = {
    listener: arrival.listener,
    vlan: arrival.vlan ?? null,
    client: arrival.from,
    connectHost,
    upgraded: connectHost !== null && !http,
  };
  const dropped = http ? judgeRequest(story, facts, destination.host) : undefined;
  if (dropped) return refuseArrival(story, dropped, destination);

  const reached = await reach(story, destination, facts);
  if (typeof reached === "string") return reached;
  const { server, endpoint } = reached;
  facts = { ...facts, server: endpoint };
  const onNetwork = node.policy.onNetwork(facts);
  // What was connected to is judged, not only the name or address that was asked for.
  const unwanted = onNetwork?.action === "drop" ? onNetwork : http && unwantedNotTls(story, facts);
  if (unwanted) return refuseArrival(story, unwanted, destination);
  if (onNetwork) noteVerdict(session, onNetwork);
  const client = await welcome(story);
  const bypassed = onNetwork?.action === "bypass";
  // A proxy's requests are rewritten, and told apart by their hosts, all the same.
  if (bypassed && !http) return bypassOnNetwork(story, client, server, onNetwork, { endpoint, host: connectHost });
  const redial = () => arrival.dial([endpoint.address], endpoint.port);
  const layer = { client, server, endpoint, facts, destination, redial, tunnels: 0, afterConnect: false };
  if (http) {
    const { host, port } = destination;
    const requests = { aim: { host, port }, rewrites: true, bypassed };
    return goOn(story, await carryRequests(story, layer, requests));
  }
  return identify(story, layer, onNetwork);
}

/** The first bytes of both sides decide: TLS, plaintext that may become TLS, or plaintext for good. */
async function identify(story: Story, layer: Layer, onNetwork: Verdict | undefined): Promise<Course> {
  const { node, session } = story;
  const { client, server, endpoint } = layer;
  const { answer, client: head } = await node.streams.detect(client, server);
  if (answer?.kind === "match") return decide(story, layer, { hello: answer.sight.hello, bytes: head });
  session.note({ protocol: "other" });
  // If a side has ended its stream already, there is no answer, and the two can no longer agree to TLS.
  const behind = answer && !story.header ? await passProxyHeader(story, layer, head) : undefined;
  if (behind) return identify(story, behind, onNetwork);
  const asked = answer && (await carryIfRequests(story, layer));
  if (asked) return goOn(story, asked);
  const watch = answer && node.upgrades.watch(endpoint.port, head);
  if (watch) return goOn(story, await converse(story, layer, watch));
  const unwanted = unwantedNotTls(story, layer.facts);
  if (unwanted) return dropNotTls(story, layer, unwanted);
  return relayUnwatched(story, layer, onNetwork?.tools);
}

/** A plaintext conversation is over, or has become TLS. */
function goOn(story: Story, outcome: ConversationOutcome): Promise<Course> | string {
  return outcome.kind === "ended" ? outcome.reason : decide(story, outcome.layer, outcome.received);
}

/** The ClientHello is here: the sni phase. */
async function decide(story: Story, layer: Layer, received: ReceivedHello): Promise<Course> {
  const { node, session } = story;
  const { destination, endpoint } = layer;
  const { hello } = received;
  const serverKey = serverKeyOf(hello.serverName ?? destination.connectHost ?? endpoint.address, endpoint);
  const facts: Facts = {
    ...layer.facts,
    sni: hello.serverName ?? null,
    alpn: hello.alpnProtocols,
    versions: hello.versions,
    keyHeld: node.pki.holdsKey(hostOf(hello, destination), endpoint.address),
    clientCertificateDemanded: node.servers.demandingCertificate.has(serverKey),
    channelBound: node.servers.bindingLogin.has(serverKey),
    certificateRefused: node.servers.refusesCertificate(
      session.client.address,
      hello.serverName ?? destination.connectHost ?? endpoint.address,
      endpoint.port,
    ),
  };
  noteHello(session, hello, layer.found ? "tls after an unknown dialogue" : "tls", facts);
  const tls: TlsLayer = { ...layer, received, facts, serverKey };
  const verdict = judgeLoad(story, tls, verdictOnHello(story, tls));
  if (verdict) noteVerdict(session, verdict);
  if (verdict?.action === "bypass") return bypassVerified(story, tls, verdict);
  if (verdict?.action === "drop") return refuseHello(story, tls, verdict);
  if (!node.policy.source.monitor) return intercept(story, tls);
  const aside = await lookAside(story, tls);
  return aside ? intercept(story, aside) : bypassUnseen(story, tls);
}

/** The server goes first: its certificate decides, and shapes the one that the client is shown. */
async function intercept(story: Story, layer: TlsLayer): Promise<Course> {
  const { node, session } = story;
  story.endTurn = await node.turns.take(session.client.address);
  const spared = judgeAgain(story, layer);
  if (spared) return spare(story, layer, spared);
  const { leg, server } = await openServerLeg(story, layer, layer.received.hello);
  if (leg.kind === "failed") return afterServerRefusal(story, layer, leg);

  session.note({ serverLeg: legRecord(leg.negotiated) });
  const { hello } = leg;
  if (hello) session.noteDetails(() => ({ ja3sText: ja3sText(hello) }));
  const decided = await judge(story, layer, leg);
  const { judged } = decided;
  const verdict = (await doubtAbout(story, layer, decided.verdict, leg)) ?? decided.verdict;
  noteVerdict(session, verdict);
  if (verdict.action === "bypass") return bypassLate(story, layer, verdict);
  if (verdict.action === "drop") return refuseHello(story, layer, verdict, judged.facts.faults);
  return decrypt(story, { ...layer, server }, { leg, judged, verdict });
}

/**
 * The server's certificate is here: the certificate phase. Only for a session that would be decrypted are others asked
 * whether the certificate is revoked: a client whose session is bypassed asks by itself.
 */
async function judge(
  { node, session }: Story,
  { facts, endpoint, received, destination }: TlsLayer,
  leg: ServerLeg,
): Promise<{ readonly judged: JudgedServer; readonly verdict: Verdict }> {
  const decideOn = (judged: JudgedServer) => {
    session.note({ certificate: judged.record });
    // A key is held for nothing if this server's clients may not be shown its certificate.
    const keyHeld = facts.keyHeld === true && judged.held.length > 0;
    return { judged, verdict: node.policy.onCertificate({ ...facts, keyHeld, certificate: judged.facts }) };
  };
  const first = decideOn(await node.pki.judge(leg, hostOf(received.hello, destination), endpoint.address));
  const { askRevocation } = first.judged;
  const { action } = first.verdict.instead ?? first.verdict;
  return askRevocation && action === "decrypt" ? decideOn(await askRevocation()) : first;
}

interface Decided {
  readonly leg: ServerLeg;
  readonly judged: JudgedServer;
  readonly verdict: Verdict;
}

/** The tools, then the client: it is shown a certificate, and the plaintext of the two legs is relayed. */
async function decrypt(story: Story, layer: TlsLayer, { leg, judged, verdict }: Decided): Promise<Course> {
  const { node, session, conversation } = story;
  const { client, received, endpoint, destination } = layer;
  const { alpn } = leg.negotiated;
  const host = hostOf(received.hello, destination);
  const flow: RelayedFlow = {
    flow: "decrypted",
    server: endpoint,
    host,
    alpn,
    description: alpn ?? "",
    tools: verdict.tools,
  };
  const chain = conversation?.chain ?? (await connectTools(story, flow));
  if (chain.kind === "failed") return resetForTool(story, client, chain);
  if (!conversation) endWithTools(client, chain);

  const presentation = await node.pki.present(leg, received.hello, judged, namesToShow(story, layer, judged));
  const { records } = presentation;
  session.note({ presented: records[0], deployment: judged.held.length > 0 ? "inbound" : "outbound" });
  const scope = scopeOf(story, layer, received.hello);
  const wasThere = !client.hasLeft;
  const clientLeg = await node.legs.client(client, received, presentation, { alpn, scope });
  if (clientLeg.kind === "failed") {
    // A client that had left before it was shown anything has refused nothing.
    noteFailedLeg(story, "client", wasThere ? clientLeg : { ...clientLeg, cause: "network", code: "ELEFT" });
    if (clientLeg.told) session.note({ clientLeg: { ...legRecord(clientLeg.told), unfinished: true } });
    return clientLeg.reason;
  }
  session.note({ clientLeg: legRecord(clientLeg.negotiated), presented: records[clientLeg.shown ?? 0] ?? records[0] });

  story.endTurn?.();
  story.endTurn = undefined;
  noticeDemands(story, leg, layer.serverKey);
  const { version } = clientLeg.negotiated;
  const { serverKey } = layer;
  const decrypted = { chain, flow, version, serverKey, ownCertificate: judged.held.length > 0 };
  return relayDecrypted(story, layerInside(story, layer, leg), decrypted);
}

interface DecryptedFlow {
  readonly chain: Chain;
  readonly flow: RelayedFlow;
  /** The version that the client and the node agreed on. */
  readonly version: string;
  readonly serverKey: string;
  /** The client was shown the server's own certificate: inbound. */
  readonly ownCertificate: boolean;
}

/** Both legs are up: their plaintext is relayed, unless a client in there asks a proxy for a tunnel. */
async function relayDecrypted(story: Story, layer: Layer, decrypted: DecryptedFlow): Promise<Course> {
  const found = await lookInside(story, layer, decrypted);
  const { client, server } = layer;
  return found.kind === "data" ? () => carryPlaintext(story, client, server, decrypted) : goOn(story, found);
}

/** The longest part of a session: what waits here holds nothing of the session's beginning. */
async function carryPlaintext(
  story: Story,
  client: End,
  server: End,
  { chain, flow, version, serverKey, ownCertificate }: DecryptedFlow,
): Promise<string> {
  const { node, session, conversation } = story;
  const description = `${version} ${flow.alpn ?? ""}`.trimEnd();
  const before = passed(session.meter);
  const over = conversation
    ? resumeConversation(conversation)
    : relay(story, client, chain, server, { ...flow, description });
  noticeBinding(story, client, serverKey, ownCertificate);
  const ending = await over;
  const { reason, failure } = ending;
  // In TLS 1.3 a server may ask for a certificate, and refuse the client without one, after the handshake.
  if (failure?.side === "server" && failure.alert === ALERTS.certificate_required)
    node.servers.demandingCertificate.learn(serverKey);
  const isClients = (failure?.side ?? ending.first) === "client";
  return isClients && passed(session.meter) === before ? `${reason} right after the handshake` : reason;
}

/** The bytes that have passed in both directions. */
function passed({ fromClient, fromServer }: Meter): number {
  return fromClient + fromServer;
}
