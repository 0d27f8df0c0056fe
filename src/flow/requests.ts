import type { Arrival, Destination } from "../capture/arrival.ts";
import type { RequestAim } from "../detect/exchange.ts";
import type { Watch } from "../detect/starttls/dialogues.ts";
import type { End } from "../engine/end.ts";
import type { Facts, Verdict } from "../policy/facts.ts";
import type { UpgradableConversation } from "../streams/conversation.ts";
import type { PageRequest } from "../streams/page-stage.ts";
import type { GoingOn } from "../streams/request-conversation.ts";
import { connectTools, noteNotTls, type RelayedFlow, relay, resetForTool } from "./relaying.ts";
import { type Layer, noteVerdict, type RelayedConversation, type Story } from "./story.ts";
import { unwantedNotTls } from "./untreated.ts";
import { followUnwatched } from "./unwatched.ts";
import { type ConversationOutcome, ended, follow } from "./upgrade.ts";

/**
 * The part of a session's story that is plain HTTP/1.x. A session carries the requests of one client connection for one host, so that
 * each is judged by its own. When the client goes on with a request for another, it goes on in another session.
 */

/** Looks for HTTP where there is no TLS. Answers why the session is over; undefined: the client speaks another protocol. */
export async function carryIfRequests(story: Story, layer: Layer): Promise<ConversationOutcome | undefined> {
  const { node, session } = story;
  const { client, server } = layer;
  const first = await node.requests.first(client, server);
  if (first.kind === "undecided") node.requests.guard(client);
  if (first.kind !== "head" && first.kind !== "bad") return undefined;
  session.note({ protocol: "http" });
  if (first.kind === "bad") {
    story.ending = { by: "client", code: "malformedRequest" };
    node.requests.refuse(client, first.status, first.message);
    return ended(`The client's request is malformed: ${first.message}`);
  }
  const { host } = first;
  if (host !== undefined) session.note({ connectHost: host });
  const dropped = judgeRequest(story, layer.facts, host);
  if (dropped) {
    noteVerdict(session, dropped);
    refuseRequest(story, client, first, dropped);
    return ended(`Dropped: ${dropped.reason}`);
  }
  return carryRequests(story, layer, { aim: { host }, rewrites: false, destination: layer.destination });
}

/** Answers a request with the reason. The client of a port forward or an inline listener asked its server, not the node. */
function refuseRequest({ node, session }: Story, client: End, request: PageRequest & Named, verdict: Verdict): void {
  const { reason, rule } = verdict;
  const { pages, requests } = node;
  if (!pages) {
    requests.refuse(client, 403, reason);
    return;
  }
  const host = request.host ?? "no host";
  const page = pages.write({ kind: "policy", reason, rule, session: session.id, host });
  session.note({ page: pages.answer(client, page, request) });
}

interface Named {
  readonly host: string | undefined;
}

/** Plain HTTP is never decrypted, but a rule may forbid its host. */
export function judgeRequest(story: Story, facts: Facts, host: string | undefined): Verdict | undefined {
  const { node, session } = story;
  const named = factsOf(facts, host);
  const verdict = node.policy.onHello(named);
  if (verdict?.action === "drop") return verdict;
  if (verdict?.instead) noteVerdict(session, verdict);
  return unwantedNotTls(story, named);
}

/** There is no key to miss, and the host was named before there could be TLS. */
function factsOf(facts: Facts, host: string | undefined): Facts {
  return { ...facts, requestHost: host ?? null, sni: null, upgraded: false, keyHeld: true };
}

export interface Requests {
  readonly aim: RequestAim;
  /** The client asks a proxy. */
  readonly rewrites: boolean;
  /** Where the requests go, however they name their hosts. Of a proxy the next request says it. */
  readonly destination?: Destination;
  /** The network phase has decided on bypass. */
  readonly bypassed?: boolean;
}

/** Carries requests that policy lets pass, until the client leaves or goes on with one that is another session's. */
export async function carryRequests(
  story: Story,
  layer: Layer,
  { aim, rewrites, destination, bypassed = false }: Requests,
): Promise<ConversationOutcome> {
  const { node, session } = story;
  const { client, server, endpoint, facts } = layer;
  const { tools } = node.policy.verdictSoFar(factsOf(facts, aim.host));
  if (!bypassed) noteNotTls(session);
  const flow: RelayedFlow = {
    flow: bypassed ? "bypassed" : "notTls",
    server: endpoint,
    host: aim.host,
    alpn: "http/1.1",
    description: "HTTP",
    tools,
  };
  const chain = await connectTools(story, flow);
  if (chain.kind === "failed") return ended(resetForTool(story, client, chain));
  // What the client is told says which of its requests have been answered.
  const answering = chain.hops[0]?.ta ?? server;
  const conversation = node.requests.open(client, answering, aim, rewrites);
  const ending = relay(story, client, chain, server, flow);
  // It may fail while nobody waits for it.
  ending.catch(() => {});
  const through = Promise.withResolvers<Through>();
  conversation.onThrough = () => through.resolve(openThrough(story, layer));
  const next = await Promise.race([ending, conversation.left(), through.promise]);
  if (next !== "elsewhere" && "ends" in next) return followThrough(story, layer, next, { ending, chain });
  if (next !== "elsewhere") return ended(next.reason);
  const isDirect = chain.hops.length === 0;
  // A tool may have answered a request of which the server got only a part.
  const fresh = conversation.leave({ isDirect, keepsServer: isDirect && !rewrites });
  const goesOn = fresh && nextOf(story, fresh, destination);
  if (goesOn) story.next = goesOn;
  await ending;
  story.ending = { by: undefined, code: "EOF", carried: true };
  session.note({ clientLeft: null, serverLeft: null });
  return ended("The client went on with a request for another host");
}

/** What carries the bytes behind a 101 (Switching Protocols). `watch`: undefined: nobody waits for TLS there. */
interface Through {
  readonly ends: UpgradableConversation;
  readonly watch: Watch | undefined;
}

/** Both sides have left HTTP, for TLS perhaps: RFC 2817. */
function openThrough({ node: { upgrades, policy } }: Story, { client, server, endpoint, facts }: Layer): Through {
  const watch = upgrades.watch(endpoint.port, Buffer.alloc(0));
  const isDropped = policy.onUndecryptable(facts, "").action === "drop";
  return {
    ends: watch ? upgrades.open(client, server, watch, false) : upgrades.look(client, server, isDropped),
    watch,
  };
}

async function followThrough(
  story: Story,
  layer: Layer,
  { ends, watch }: Through,
  { ending, chain }: Omit<RelayedConversation, "ends">,
): Promise<ConversationOutcome> {
  const conversation = { ends, ending, chain };
  if (!watch) return ended(await followUnwatched(story, layer, conversation));
  story.conversation = conversation;
  return follow(story, layer, conversation, { watch, inPlaintext: true });
}

/** The session that follows on the client's connection. */
function nextOf(
  { arrival, header }: Story,
  { client, server }: GoingOn,
  destination: Destination | undefined,
): Arrival | undefined {
  if (!destination) return arrival.again?.(client);
  const { listener, mode, from, begunWith } = arrival;
  return {
    ...{ listener, mode, from, begunWith, client, server },
    locate: async () => destination,
    async dial(addresses, port) {
      const fresh = await arrival.dial(addresses, port);
      if (header) fresh.writeBytes(header);
      return fresh;
    },
    welcome: async () => client,
    refuse: () => void client.reset(),
  };
}
