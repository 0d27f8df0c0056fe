import type { Socket } from "node:net";
import type { Watch } from "../detect/starttls/dialogues.ts";
import { NetworkError, PeerError } from "../errors.ts";
import type { ServerLeg } from "../legs/leg.ts";
import type { Peer, TimedAgreement } from "../streams/conversation.ts";
import type { RelayEnding } from "../streams/relay.ts";
import type { Chain } from "../tools/chain.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { approach } from "./approach.ts";
import { decide } from "./flow.ts";
import { cut, enterTools, join, noteUndecided } from "./passage.ts";
import type { Carried } from "./stages.ts";
import { type Begun, hostOf, type Layer, type Story } from "./story.ts";

/** The part of a session's story that is told in plaintext and becomes TLS: STARTTLS, and CONNECT seen on the wire. */

/** RFC 8446, section 6.2. */
const UNEXPECTED_MESSAGE = 10;
/** A proxy in the tunnel of a proxy is looked into; another one in that is not. */
const MAX_TUNNELS = 2;

/** Carries a conversation that is not TLS, and may become TLS. `head` and `greeting`: what was read of it already. */
export async function converse(
  story: Story,
  layer: Layer,
  watch: Watch,
  read: { readonly head: Buffer; readonly greeting: Buffer },
): Promise<string> {
  const { policy, session } = story;
  noteUndecided(session);
  const { tools, action, rule } = policy.lean({ ...layer.facts, upgraded: true });
  const likely = watch.likely && action === "decrypt";
  const about: Carried = {
    // Tools and feeds must know it before it is so: it is what usually follows.
    ...(likely ? { flow: "decrypted", rule } : { flow: "notTls" }),
    server: layer.endpoint,
    host: layer.destination.connectHost ?? undefined,
    description: "plaintext at first",
    tools,
  };
  const chain = await enterTools(story, about);
  if (chain.kind === "failed") return cut(layer.client.socket, chain.reason);
  return begin(story, layer, watch, { ...read, chain, about });
}

interface Beginning {
  readonly head: Buffer;
  readonly greeting: Buffer;
  readonly chain: Chain;
  readonly about: Carried;
}

async function begin(story: Story, layer: Layer, watch: Watch, beginning: Beginning): Promise<string> {
  const { node, session } = story;
  const { head, greeting, chain, about } = beginning;
  if (head.length > 0) layer.client.stream.unshift(head);
  if (greeting.length > 0) layer.server.stream.unshift(greeting);
  const conversation = node.converse(layer.client, layer.server, watch);
  const joined = join(story, conversation.client, chain, conversation.server, about);
  const begun: Begun = {
    conversation,
    joined,
    chain,
    proxied: false,
    goOn(client, server) {
      conversation.resume(client, server, undefined);
      return joined;
    },
    leave() {
      conversation.leave();
      chain.release();
      if (chain.hops.length > 0) session.note({ state: "EST:EST:INIT:INIT" });
    },
  };
  try {
    return await follow(story, { ...layer, begun }, begun, watch);
  } finally {
    conversation.leave();
  }
}

/** From one agreement to the next. */
async function follow(story: Story, first: Layer, begun: Begun, firstWatch: Watch): Promise<string> {
  const { node, session } = story;
  let [layer, watch] = [first, firstWatch];
  for (;;) {
    let turn: TimedAgreement | RelayEnding | undefined;
    try {
      turn = await Promise.race([begun.conversation.next(), begun.joined]);
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      return drop(story, layer, error);
    }
    noteSpoken(story, layer, watch);
    if (turn === undefined) return (await begun.joined).reason;
    if ("reason" in turn) return turn.reason;

    layer = upgraded(story, layer, begun, turn);
    const { client, server } = layer;
    const { answer: sighting, client: bytes, server: said } = await node.detect(client.stream, server.stream, true);
    if (sighting?.kind === "match") {
      begun.conversation.hold();
      session.note({ startTls: { protocol: turn.protocol, outcome: "upgraded", at: turn.at } });
      return decide(story, layer, { hello: sighting.sight.hello, bytes });
    }
    if (turn.next === "tls") return drop(story, layer, notTls(said));
    // A tunnel may carry anything, and begin like any connection.
    const next = sighting && layer.tunnels < MAX_TUNNELS ? node.watch(turn.target?.port ?? 0, bytes) : undefined;
    if (bytes.length > 0) client.stream.unshift(bytes);
    if (said.length > 0) server.stream.unshift(said);
    begun.conversation.resume(client.stream, server.stream, next);
    if (!next) return (await begun.joined).reason;
    watch = next;
  }
}

/** The peers as they are after an agreement: the verdict on what follows is committed in the certificate phase. */
function upgraded({ session, node }: Story, layer: Layer, begun: Begun, turn: TimedAgreement): Layer {
  const { target } = turn;
  const inner = (peer: Peer) => (peer.stream === peer.socket ? peer : node.tunnel(peer));
  const connectHost = target?.host ?? layer.facts.connectHost ?? null;
  if (target) session.note({ connectHost });
  return {
    ...layer,
    client: inner(layer.client),
    server: inner(layer.server),
    begun: { ...begun, proxied: target !== undefined },
    tunnels: layer.tunnels + (target ? 1 : 0),
    facts: { ...layer.facts, connectHost, upgraded: true },
    destination: { ...layer.destination, connectHost },
    async redial() {
      const fresh = await layer.redial();
      await node.sayAgain(fresh.stream, turn);
      return inner(fresh);
    },
  };
}

/** What was found in the TLS that the node has opened. */
type Inside =
  /** A client that asks a proxy for a tunnel: its story has been told, and ended so. */
  | { readonly kind: "told"; readonly reason: string }
  /** Anything else: what was read of it, or what broke it, belongs to its relay. */
  | { readonly kind: "other"; readonly client: Glimpsed; readonly server: Glimpsed };

interface Glimpsed {
  readonly head?: Buffer;
  readonly failure?: NodeJS.ErrnoException;
}

/** Looks for a client that spoke TLS to a proxy, to ask it for a tunnel in there. */
export async function lookInside(
  story: Story,
  layer: Layer,
  serverLeg: ServerLeg,
  { hello, ...whole }: { readonly hello: ClientHello; readonly chain: Chain; readonly about: Carried },
): Promise<Inside> {
  const { node } = story;
  const { begun, tunnels, client, server } = layer;
  const http = (serverLeg.negotiated.alpn ?? "http/1.1") === "http/1.1";
  const watch = http && tunnels < MAX_TUNNELS ? node.watchInside() : undefined;
  if (!watch || (begun && !begun.proxied)) return { kind: "other", client: {}, server: {} };

  const inside: Layer = { ...layer, redial: () => redialInside(story, layer, serverLeg, hello) };
  if (begun) {
    begun.conversation.resume(client.stream, server.stream, watch);
    return { kind: "told", reason: await follow(story, inside, begun, watch) };
  }
  const { asks, failure, client: head, server: greeting } = await node.glimpse(client.stream, server.stream);
  if (asks) return { kind: "told", reason: await begin(story, inside, watch, { head, greeting, ...whole }) };
  const broken = failure && { failure };
  return { kind: "other", client: { head, ...broken }, server: { head: greeting, ...broken } };
}

/** Another TLS session with the same server, inside another connection to it. */
async function redialInside(story: Story, layer: Layer, { certificate }: ServerLeg, hello: ClientHello): Promise<Peer> {
  const { arrival } = story;
  const fresh = await layer.redial();
  const host = hostOf(hello, layer.destination);
  const between = { listener: arrival.listener, client: arrival.from, server: layer.endpoint, host };
  const { serverLeg: leg, server } = await approach(story, { ...layer, server: fresh }, hello, between);
  if (leg.kind === "failed") throw new NetworkError(leg.reason, leg.code);
  if (leg.certificate.fingerprint256 !== certificate.fingerprint256) {
    leg.stream.destroy();
    throw new NetworkError("The proxy showed another certificate when it was connected to again", "ECONNREFUSED");
  }
  return { stream: leg.stream as Socket, socket: server.socket };
}

/** What the server said of TLS: one that offered it before, and does so no longer, may not be who speaks. */
function noteSpoken({ node, session }: Story, { endpoint }: Layer, { spoken }: Watch): void {
  if (!spoken) return;
  const { protocol, offered, refused } = spoken;
  const key = `${protocol} at ${endpoint.address} port ${endpoint.port}`;
  if (offered) node.offering.learn(key);
  if (offered !== false && !refused) return;
  const withdrawn = node.offering.has(key);
  if (withdrawn) node.withdrawn(session, protocol, endpoint);
  session.note({ startTls: { protocol, outcome: withdrawn ? "withdrawn" : "refused", at: null } });
}

/** What hides behind a broken dialogue must reach nobody: both peers are reset. */
function drop({ session }: Story, { client, server }: Layer, { message }: PeerError): string {
  session.note({ verdict: "drop", phase: "sni", rule: "startTls", reason: message });
  client.socket.resetAndDestroy();
  server.socket.resetAndDestroy();
  return `Dropped: ${message}`;
}

function notTls(said: Buffer): PeerError {
  return said.length > 0
    ? new PeerError("The server sent more after its agreement to TLS", UNEXPECTED_MESSAGE, { side: "server" })
    : new PeerError("The client did not begin TLS once the server had agreed", UNEXPECTED_MESSAGE, { side: "client" });
}
