import type { Socket } from "node:net";
import type { Arrival, Destination } from "../capture/arrival.ts";
import { NetworkError, PeerError } from "../errors.ts";
import type { LegFailure, Negotiated, ServerLeg } from "../legs/leg.ts";
import type { Facts, Verdict } from "../policy/facts.ts";
import type { LegRecord } from "../sessions/record.ts";
import type { Peer } from "../streams/conversation.ts";
import type { Endpoint } from "../vocabulary.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { approach } from "./approach.ts";
import { bypassed, cut, enterTools, join, pass, passPlaintext } from "./passage.ts";
import type { Ends, Judgement, Node, Opening, SessionHandle } from "./stages.ts";
import { CERTIFICATE_REQUIRED, hostOf, type Layer, nearEnd, peerOf, type Story } from "./story.ts";
import { converse, lookInside } from "./upgrade.ts";

/** RFC 8446, section 6.2: the alerts that the story itself chooses. */
const ACCESS_DENIED = 49;
const PROTOCOL_VERSION = 70;

/** One session, from its first byte to its last. Read this file first. */
export async function carry(arrival: Arrival, node: Node): Promise<void> {
  const story: Story = {
    arrival,
    node,
    policy: node.policy,
    session: node.open(arrival),
    ends: new Set(arrival.client ? [arrival.client] : []),
    clients: new Set(),
  };
  try {
    story.session.close(await tell(story));
  } catch (error) {
    story.session.close(blame(story, error));
  } finally {
    story.chain?.release();
    for (const end of story.ends) node.part(end);
  }
}

/** The steps up to the plaintext. Answers why the session is over. */
async function tell(story: Story): Promise<string> {
  const { arrival, node, policy, session } = story;

  const destination = await arrival.locate();
  const { connectHost, http } = destination;
  session.note({ connectHost, ...(http && { protocol: "http" }) });
  let facts: Facts = {
    listener: arrival.listener,
    client: arrival.from,
    connectHost,
    upgraded: connectHost !== null && !http,
  };
  if (http) {
    // Plain HTTP is never decrypted, but a rule may still forbid its host.
    const verdict = policy.onHello({ ...facts, sni: null });
    if (verdict?.action === "drop") return forbid(story, verdict);
  }

  const reached = await reach(story, destination, facts);
  if (typeof reached === "string") return reached;
  const { server, endpoint } = reached;
  facts = { ...facts, server: endpoint };
  const onNetwork = policy.onNetwork(facts);
  if (onNetwork) noteVerdict(session, onNetwork);
  const client = await arrival.welcome();
  story.ends.add(client);
  story.clients.add(client);
  session.note({ state: "EST:EST:INIT:INIT" });
  const peers = { client: peerOf(client), server: peerOf(server) };
  if (onNetwork?.action === "bypass")
    return pass(story, peers, { ...bypassed(onNetwork), server: endpoint, host: connectHost ?? undefined });
  if (http) {
    const about = { server: endpoint, host: destination.host, alpn: "http/1.1", description: "HTTP" };
    return passPlaintext(story, { ...peers, head: http }, { ...about, tools: onNetwork?.tools });
  }

  const { answer: sighting, client: bytes, server: greeting } = await node.detect(client, server);
  const redial = async () => peerOf(await arrival.dial([endpoint.address], endpoint.port));
  const layer = { ...peers, endpoint, facts, destination, redial, begun: undefined, tunnels: 0 };
  if (sighting?.kind === "match") return decide(story, layer, { hello: sighting.sight.hello, bytes });
  session.note({ protocol: "other" });
  // A side that has ended its stream already agrees to nothing any more.
  const watch = sighting && node.watch(endpoint.port, bytes);
  if (watch) return converse(story, layer, watch, { head: bytes, greeting });
  const about = { server: endpoint, host: connectHost ?? undefined, description: "not TLS", tools: onNetwork?.tools };
  return passPlaintext(story, { ...peers, head: bytes, greeting }, about);
}

interface Interception extends Layer {
  readonly opening: Opening;
  /** What a demand for a client certificate is remembered by. */
  readonly known: string;
}

/** The hello is here: the sni phase. */
export async function decide(story: Story, layer: Layer, opening: Opening): Promise<string> {
  const { node, policy, session } = story;
  const { client, server, destination, endpoint, begun } = layer;
  const { hello, bytes } = opening;
  session.note({ protocol: "tls", sni: hello.serverName ?? null, ech: hello.ech ?? null, ...node.fingerprints(hello) });
  const known = serverKey(hello, destination, endpoint);
  const facts: Facts = {
    ...layer.facts,
    sni: hello.serverName ?? null,
    versions: hello.versions,
    keyHeld: node.holdsKey(hostOf(hello, destination), endpoint.address),
    clientCertificateDemanded: node.demanding.has(known),
  };
  const onHello = policy.onHello(facts);
  if (onHello) noteVerdict(session, onHello);
  if (onHello?.action === "bypass") {
    begun?.leave();
    const host = hello.serverName ?? destination.connectHost ?? undefined;
    return pass(story, { client, server, head: bytes }, { ...bypassed(onHello), server: endpoint, host });
  }
  if (onHello?.action === "drop") return refuse(story, client, onHello, opening.hello);
  return intercept(story, { ...layer, opening, facts, known });
}

/** The server goes first: what it shows decides, and is what the client is shown. */
async function intercept(story: Story, interception: Interception): Promise<string> {
  const { node, session, ends, clients } = story;
  const { client, endpoint, opening, known, destination, begun } = interception;

  const host = hostOf(opening.hello, destination);
  const { arrival } = story;
  const between: Ends = { listener: arrival.listener, client: arrival.from, server: endpoint, host };
  const { serverLeg, server } = await approach(story, interception, opening.hello, between);
  if (serverLeg.kind === "failed") return afterRefusal(story, interception, serverLeg);
  if (server.stream === server.socket) ends.delete(server.stream);
  ends.add(serverLeg.stream as Socket);

  session.note({ serverLeg: legRecord(serverLeg.negotiated) });
  const { judgement, verdict } = await judge(story, interception, serverLeg, host);
  noteVerdict(session, verdict);
  if (verdict.action === "bypass") return replay(story, interception, verdict);
  if (verdict.action === "drop") return refuse(story, client, verdict, opening.hello);

  const { alpn } = serverLeg.negotiated;
  const about = {
    flow: "decrypted",
    server: endpoint,
    host,
    alpn,
    description: alpn ?? "",
    tools: verdict.tools,
  } as const;
  const chain = begun?.chain ?? (await enterTools(story, about));
  if (chain.kind === "failed") return cut(client.socket, chain.reason);
  const presentation = await node.present(serverLeg, opening.hello, judgement);
  const { records } = presentation;
  session.note({ presented: records[0], deployment: judgement.held.length > 0 ? "inbound" : "outbound" });
  const clientLeg = await node.clientLeg(client.stream, opening, presentation, serverLeg.negotiated, between);
  if (clientLeg.kind === "failed") return clientLeg.reason;
  if (client.stream === client.socket) ends.delete(client.stream);
  ends.add(clientLeg.stream as Socket);
  clients.add(clientLeg.stream as Socket);
  const presented = records[clientLeg.shown ?? 0] ?? records[0];
  session.note({ clientLeg: legRecord(clientLeg.negotiated), presented });

  const inside = {
    ...interception,
    client: { stream: clientLeg.stream as Socket, socket: client.socket },
    server: { stream: serverLeg.stream as Socket, socket: server.socket },
  };
  const description = `${clientLeg.negotiated.version} ${alpn ?? ""}`.trimEnd();
  const found = await lookInside(story, inside, serverLeg, { hello: opening.hello, chain, about });
  if (found.kind === "told") return found.reason;
  const [from, to] = [
    { ...inside.client, ...found.client },
    { ...inside.server, ...found.server },
  ];
  const parting = begun
    ? await begun.goOn(from.stream, to.stream)
    : await join(story, from, chain, to, { ...about, description });
  const { failure } = parting;
  if (failure?.side === "server" && node.alertOf(failure.error) === CERTIFICATE_REQUIRED) node.demanding.learn(known);
  return parting.reason;
}

/**
 * The server's certificate is here: the certificate phase. Whether it was revoked is asked of others, and only where the
 * session would be decrypted: of what is bypassed the client asks itself.
 */
async function judge(
  { node, policy, session }: Story,
  { facts, endpoint }: Interception,
  serverLeg: ServerLeg,
  host: string | undefined,
): Promise<{ readonly judgement: Judgement; readonly verdict: Verdict }> {
  const decided = (judgement: Judgement) => {
    session.note({ certificate: judgement.record });
    return { judgement, verdict: policy.onCertificate({ ...facts, certificate: judgement.facts }) };
  };
  const first = decided(node.judge(serverLeg, host, endpoint.address));
  const { askRevocation } = first.judgement;
  return askRevocation && first.verdict.action === "decrypt" ? decided(await askRevocation()) : first;
}

/**
 * Connects to the server: Nb. An address that the network phase drops is not connected to; when none is left, or none
 * answers, the client is told in its listener's way and the answer is why.
 */
async function reach(
  { arrival, node, policy, session, ends }: Story,
  { host, port }: Destination,
  facts: Facts,
): Promise<{ readonly server: Socket; readonly endpoint: Endpoint } | string> {
  try {
    const judged = (await node.resolve(host)).map((address) => {
      const verdict = policy.onNetwork({ ...facts, server: { address, port } });
      return { address, verdict };
    });
    const addresses = judged.filter(({ verdict }) => verdict?.action !== "drop").map(({ address }) => address);
    const [first] = judged;
    if (first?.verdict && addresses.length === 0) {
      noteVerdict(session, first.verdict);
      arrival.refuse({ kind: "policy", message: first.verdict.reason });
      return `Dropped: ${first.verdict.reason}`;
    }
    const na = arrival.client ? "EST" : "SYN_RCV";
    session.note({ state: `${na}:SYN_SENT:INIT:INIT`, server: { address: addresses[0] ?? host, port } });
    const server = await arrival.dial(addresses, port);
    ends.add(server);
    const endpoint = { address: server.remoteAddress ?? host, port };
    session.note({ state: `${na}:EST:INIT:INIT`, server: endpoint, seenAs: nearEnd(server) });
    return { server, endpoint };
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    const { code, message } = error;
    arrival.refuse(code === "ETIMEDOUT" ? { kind: "timeout", message } : { kind: "unreachable", code, message });
    return error.message;
  }
}

/**
 * The server leg did not come up. What the policy leans to, were nothing more known, still holds: a bypass is a bypass.
 * Else the server may demand a certificate that only the client has, or speak too old a version; else its alert crosses.
 */
async function afterRefusal(story: Story, interception: Interception, failure: LegFailure): Promise<string> {
  const { node, policy, session } = story;
  const { client, facts, opening, known, redial } = interception;

  let verdict: Verdict | undefined = policy.lean(facts);
  if (verdict.action === "decrypt" && (await demandsCertificate())) {
    node.demanding.learn(known);
    verdict = policy.lean({ ...facts, clientCertificateDemanded: true });
  } else if (verdict.action === "decrypt") {
    verdict = failure.alert === PROTOCOL_VERSION ? policy.serverBelowMin(facts) : undefined;
  }
  if (verdict) noteVerdict(session, verdict);
  if (verdict?.action === "bypass") return replay(story, interception, verdict);
  if (verdict?.action === "drop") return refuse(story, client, verdict, opening.hello);

  if (failure.code === "ECONNRESET") client.socket.resetAndDestroy();
  else node.part(client.stream, failure.alert, opening.hello);
  return failure.reason;

  async function demandsCertificate(): Promise<boolean> {
    if (failure.cause === "alert" && failure.alert === CERTIFICATE_REQUIRED) return true;
    const mayBe = failure.cause === "network" || (failure.cause === "alert" && failure.alert !== PROTOCOL_VERSION);
    const dial = async () => (await redial()).stream;
    return mayBe && (await node.probe(dial, opening.hello));
  }
}

/** A late bypass: the server sees the client's own ClientHello, byte for byte, on a connection on which it saw nothing else. */
async function replay(story: Story, interception: Interception, verdict: Verdict): Promise<string> {
  const { client, endpoint, opening, destination, begun, redial } = interception;
  const { session, node, ends, clients } = story;
  begun?.leave();
  for (const end of ends) if (!clients.has(end)) node.part(end);
  session.note({ state: "EST:SYN_SENT:INIT:INIT" });
  const fresh = await redial();
  ends.add(fresh.stream);
  session.note({ state: "EST:EST:INIT:INIT", seenAs: nearEnd(fresh.socket) });
  const host = opening.hello.serverName ?? destination.connectHost ?? undefined;
  return pass(story, { client, server: fresh, head: opening.bytes }, { ...bypassed(verdict), server: endpoint, host });
}

/** The policy said drop before the server was reached. */
function forbid({ arrival, session }: Story, verdict: Verdict): string {
  noteVerdict(session, verdict);
  arrival.refuse({ kind: "policy", message: verdict.reason });
  return `Dropped: ${verdict.reason}`;
}

/** The policy said drop and the client has sent its hello: it is told with an alert. */
function refuse({ node }: Story, { stream }: Peer, verdict: Verdict, hello: ClientHello): string {
  node.part(stream, verdict.rule === "versions" ? PROTOCOL_VERSION : ACCESS_DENIED, hello);
  return `Dropped: ${verdict.reason}`;
}

/** Somebody is to blame: the peer that broke its protocol gets an alert, a connection that broke is reset, a bug is reported. */
function blame({ arrival, node, session }: Story, error: unknown): string {
  const { client } = arrival;
  if (error instanceof PeerError && client) {
    node.part(client, error.alert);
    return error.message;
  }
  // A last answer may be on its way, a proxy's 408 say: a reset would overtake it.
  if (client && !client.writableEnded) client.resetAndDestroy();
  else if (!client) arrival.refuse({ kind: "timeout", message: "The session ended before the client was let in" });
  if (error instanceof NetworkError) return error.message;
  node.report(session, error);
  return "An internal error ended the session";
}

function noteVerdict(session: SessionHandle, { action, phase, rule, reason }: Verdict): void {
  session.note({ verdict: action, phase, rule, reason });
}

function legRecord({ version, suite, group, alpn, resumed }: Negotiated): LegRecord {
  return { version, suite, ...(group !== undefined && { group }), alpn: alpn ?? null, resumed, received: 0, sent: 0 };
}

/**
 * Names go with the address and port: another service of the host may have other demands, and a client that gives its own
 * server somebody else's name must not have that host bypassed for everybody.
 */
function serverKey(hello: ClientHello, { connectHost }: Destination, { address, port }: Endpoint): string {
  return `${hello.serverName ?? connectHost ?? address} at ${address} port ${port}`;
}
