import type { Watch } from "../detect/starttls/dialogues.ts";
import type { End } from "../engine/end.ts";
import type { RelayEnding } from "../engine/relay.ts";
import { InvariantError, NetworkError, PeerError } from "../errors.ts";
import type { ServerLeg } from "../legs/leg.ts";
import type { ReceivedHello } from "../legs/stage.ts";
import type { TimedAgreement, TimedTls } from "../streams/conversation.ts";
import type { Chain } from "../tools/chain.ts";
import { createClientHelloReader } from "../wire/client-hello-reader.ts";
import { dropConversation, notTls } from "./broken-dialogue.ts";
import { followFound } from "./found.ts";
import { connectTools, noteNotTls, noteNotUnderstood, type RelayedFlow, relay, resetForTool } from "./relaying.ts";
import { openServerLeg } from "./server-leg.ts";
import type { Layer, RelayedConversation, Story, TlsLayer } from "./story.ts";
import { dropNotTls, unwantedNotTls } from "./untreated.ts";

/** The part of a session's story that is told in plaintext and may become TLS: STARTTLS, and CONNECT seen on the wire. */

/** A proxy is looked for in a proxy's tunnel, but not in the tunnel of that one. */
const MAX_TUNNELS = 2;

/** What came of a conversation that began in plaintext. */
export type ConversationOutcome =
  | { readonly kind: "ended"; readonly reason: string }
  /** The peers have agreed to TLS, and the client has sent its ClientHello. */
  | { readonly kind: "tls"; readonly layer: Layer; readonly received: ReceivedHello };

/** Relays a conversation that is not TLS and may be upgraded to it, until it is or ends. */
export async function converse(story: Story, layer: Layer, watch: Watch): Promise<ConversationOutcome> {
  noteNotTls(story.session);
  const { tools, action, rule } = story.node.policy.verdictSoFar({ ...layer.facts, upgraded: true });
  const likely = watch.likely && action === "decrypt";
  const flow: RelayedFlow = {
    // Tools and feeds are told the class of the flow at its beginning: the one that usually comes of it.
    ...(likely ? { flow: "decrypted", rule } : { flow: "notTls" }),
    server: layer.endpoint,
    host: layer.destination.connectHost ?? undefined,
    description: "plaintext at first",
    tools,
  };
  const chain = await connectTools(story, flow);
  if (chain.kind === "failed") return ended(resetForTool(story, layer.client, chain));
  return followFrom(story, layer, watch, { chain, flow }, true);
}

interface Relayed {
  readonly chain: Chain;
  readonly flow: RelayedFlow;
}

/** Begins the relay, and follows the conversation from its first bytes. */
function followFrom(
  story: Story,
  layer: Layer,
  watch: Watch,
  { chain, flow }: Relayed,
  inPlaintext: boolean,
): Promise<ConversationOutcome> {
  const { client, server } = layer;
  const strict = inPlaintext && story.node.policy.onNotTls(layer.facts)?.action === "drop";
  const ends = story.node.upgrades.open(client, server, watch, strict);
  const ending = relay(story, client, chain, server, flow);
  // It may fail while nobody waits for it; whoever asks for it later gets the failure.
  ending.catch(() => {});
  const conversation = { ends, ending, chain };
  story.conversation = conversation;
  return follow(story, layer, conversation, { watch, inPlaintext });
}

interface Followed {
  readonly watch: Watch;
  /** Its bytes are not those of TLS that the node has opened. */
  readonly inPlaintext: boolean;
}

/** Follows the conversation from one agreement to the next. */
export async function follow(
  story: Story,
  first: Layer,
  conversation: RelayedConversation,
  { watch: firstWatch, inPlaintext }: Followed,
): Promise<ConversationOutcome> {
  const { node, session } = story;
  const { ends, ending } = conversation;
  let [layer, watch] = [first, firstWatch];
  for (;;) {
    const next = await nextTurn(story, layer, conversation, { watch, inPlaintext });
    if (typeof next === "string") return ended(next);
    if ("hello" in next) return followFound(story, layer, conversation, next, watch);

    layer = layerAfter(story, layer, next);
    const { client, server } = layer;
    const { answer, ...read } = await node.streams.detect(client, server, true);
    if (answer?.kind === "match") {
      ends.hold();
      session.note({ startTls: { protocol: next.protocol, outcome: "upgraded", at: next.at } });
      return { kind: "tls", layer, received: { hello: answer.sight.hello, bytes: read.client } };
    }
    if (next.next === "tls") return ended(dropConversation(story, layer, notTls(read.server)));
    // A tunnel may carry anything, and is watched like a new connection.
    const mayTunnel = layer.tunnels < MAX_TUNNELS;
    const inTunnel = answer && node.upgrades.watchTunnel(next.target?.port ?? 0, read.client, mayTunnel);
    const unwanted = inPlaintext ? unwantedNotTls(story, layer.facts) : undefined;
    if (unwanted && !inTunnel) return ended(dropNotTls(story, layer, unwanted));
    ends.resume(inTunnel, unwanted !== undefined);
    if (!inTunnel) return ended((await ending).reason);
    watch = inTunnel;
  }
}

/** The next agreement of the peers, or TLS without one. A text: why the conversation is over. */
async function nextTurn(
  story: Story,
  layer: Layer,
  { ends, ending }: RelayedConversation,
  { watch, inPlaintext }: Followed,
): Promise<TimedAgreement | TimedTls | string> {
  try {
    const first = await Promise.race([ends.next(), ends.plain(), ending]);
    noteTlsOffer(story, layer, watch);
    const unwanted = first === "plain" && inPlaintext ? unwantedNotTls(story, layer.facts) : undefined;
    if (unwanted) return dropNotTls(story, layer, unwanted);
    // What is not understood is no reason to look away.
    if (first === "plain" && inPlaintext && !watch.spoken) noteNotUnderstood(story.session);
    const next = first === "plain" ? await Promise.race([ends.next(), ending]) : first;
    // Nothing is watched: the rest is relayed as it is.
    if (next === undefined) return (await ending).reason;
    return "reason" in next ? next.reason : next;
  } catch (error) {
    if (!(error instanceof PeerError)) throw error;
    return dropConversation(story, layer, error);
  }
}

/** The layer that begins with an agreement. The verdict on it is committed in the certificate phase. */
function layerAfter({ session, node }: Story, layer: Layer, agreement: TimedAgreement): Layer {
  const { target } = agreement;
  const connectHost = target?.host ?? layer.facts.connectHost ?? null;
  if (target) session.note({ connectHost });
  return {
    ...layer,
    protocol: agreement.protocol,
    tunnels: layer.tunnels + (target ? 1 : 0),
    afterConnect: target !== undefined,
    facts: { ...layer.facts, connectHost, upgraded: true },
    destination: { ...layer.destination, connectHost },
    async redial() {
      const fresh = await layer.redial();
      await node.upgrades.replay(fresh, agreement);
      return fresh;
    },
  };
}

/** What was found inside the TLS that the node has opened. */
type Inside =
  /** The client asked a proxy for a tunnel. */
  | ConversationOutcome
  /** Anything else. */
  | { readonly kind: "data" };

/**
 * The layer inside the TLS that the node has opened. Of its beginning it keeps the bytes of the hello, in case that another
 * session with the same server is needed: everything else would stay for as long as the session lives.
 */
export function layerInside(story: Story, layer: TlsLayer, { certificate }: ServerLeg): Layer {
  const { received, serverKey: _, ...outer } = layer;
  const proxy = { hello: Buffer.from(received.bytes), fingerprint: certificate.fingerprint256 };
  return { ...outer, redial: () => redialInside(story, outer, proxy) };
}

/** Looks for a client that spoke TLS to a proxy and asks it for a tunnel. */
export async function lookInside(story: Story, layer: Layer, relayed: Relayed): Promise<Inside> {
  const { node, conversation } = story;
  const http = (relayed.flow.alpn ?? "http/1.1") === "http/1.1";
  const watch = http && layer.tunnels < MAX_TUNNELS ? node.upgrades.watchInside() : undefined;
  if (!watch || (conversation && !layer.afterConnect)) return { kind: "data" };

  if (conversation) {
    conversation.ends.resume(watch);
    return follow(story, layer, conversation, { watch, inPlaintext: false });
  }
  const asksProxy = await node.upgrades.peek(layer.client, layer.server);
  return asksProxy ? followFrom(story, layer, watch, relayed, false) : { kind: "data" };
}

/** Opens another TLS session with the same proxy, on another connection. */
async function redialInside(
  story: Story,
  layer: Layer,
  proxy: { readonly hello: Buffer; readonly fingerprint: string },
): Promise<End> {
  const sighting = createClientHelloReader().push(proxy.hello);
  if (sighting.kind !== "hello") throw new InvariantError("A ClientHello was not one when it was read again");
  const fresh = await layer.redial();
  const { leg, server } = await openServerLeg(story, { ...layer, server: fresh }, sighting.hello);
  if (leg.kind === "failed") throw new NetworkError(leg.reason, leg.code, { side: "server" });
  if (leg.certificate.fingerprint256 !== proxy.fingerprint) {
    server.close();
    throw new NetworkError("The proxy showed another certificate on a second connection", "ECONNREFUSED", {
      side: "server",
    });
  }
  return server;
}

/** The upgraded conversation goes on, decrypted, to its end. */
export function resumeConversation({ ends, ending }: RelayedConversation): Promise<RelayEnding> {
  ends.resume(undefined);
  return ending;
}

/**
 * The conversation is over for its tools and feeds. Answers with the ends on which its peers go on without them; undefined: there
 * was no conversation.
 */
export function leaveConversation(story: Story): { readonly client: End; readonly server: End } | undefined {
  const { conversation, session, connections, clientConnections } = story;
  if (!conversation) return undefined;
  const { ends, chain } = conversation;
  const { client, server } = ends.leave();
  for (const end of [client, server]) connections.add(end);
  clientConnections.add(client);
  chain.release();
  if (chain.hops.length > 0) session.note({ state: "EST:EST:INIT:INIT" });
  return { client, server };
}

/** A server that offered TLS before and no longer does may be somebody in between who removes the offer. */
function noteTlsOffer({ node, session }: Story, { endpoint }: Layer, { spoken }: Watch): void {
  if (!spoken) return;
  const { protocol, offered, refused } = spoken;
  const { offeringTls } = node.servers;
  const server = `${protocol} at ${endpoint.address} port ${endpoint.port}`;
  if (offered) offeringTls.learn(server);
  if (offered !== false && !refused) return;
  const withdrawn = offeringTls.has(server);
  if (withdrawn) session.warnOfWithdrawnTls(protocol, endpoint);
  session.note({ startTls: { protocol, outcome: withdrawn ? "withdrawn" : "refused", at: null } });
}

export function ended(reason: string): ConversationOutcome {
  return { kind: "ended", reason };
}
