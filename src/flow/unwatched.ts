import type { TimedTls } from "../streams/conversation.ts";
import { leaveUndecrypted } from "./found.ts";
import { connectTools, noteNotTls, type RelayedFlow, relay, resetForTool } from "./relaying.ts";
import { hostOf, type Layer, noteHello, type RelayedConversation, type Story } from "./story.ts";

/**
 * The part of a session's story that is plaintext where nobody waits for TLS. Its first bytes are looked at all the same, so that TLS
 * behind them is not called plaintext: it cannot be decrypted here, but a drop rule for its host holds.
 */
export async function relayUnwatched(
  story: Story,
  layer: Layer,
  tools: readonly string[] | undefined,
): Promise<string> {
  const { node, session } = story;
  const { client, server, endpoint, destination } = layer;
  noteNotTls(session);
  const host = destination.connectHost ?? undefined;
  const flow: RelayedFlow = { flow: "notTls", server: endpoint, host, description: "not TLS", tools };
  const chain = await connectTools(story, flow);
  if (chain.kind === "failed") return resetForTool(story, client, chain);

  // Where it may not pass, it is looked for to the end.
  const toTheEnd = node.policy.onUndecryptable(layer.facts, "").action === "drop";
  const ends = node.upgrades.look(client, server, toTheEnd);
  const ending = relay(story, client, chain, server, flow);
  // It may fail while nobody waits for it.
  ending.catch(() => {});
  return followUnwatched(story, layer, { ends, ending });
}

/** Waits for TLS to be seen. Answers why the session is over. */
export async function followUnwatched(
  story: Story,
  layer: Layer,
  { ends, ending }: Pick<RelayedConversation, "ends" | "ending">,
): Promise<string> {
  const seen = await Promise.race([ends.next(), ending]);
  if (seen === undefined || !("hello" in seen)) return (await ending).reason;
  return leaveUndecrypted(story, await readSeen(story, layer, seen), { ends, ending }, whyUnwatched(layer));
}

/** Reads the ClientHello, so that its host can be judged. */
async function readSeen({ node, session }: Story, layer: Layer, seen: TimedTls): Promise<Layer> {
  session.note({ protocol: "tls on an unwatched port" });
  if (seen.side === "server" || seen.hello === "server") return layer;
  const { answer } = await node.streams.hello(layer.client, seen.begun);
  if (answer?.kind !== "match") return layer;
  const { hello } = answer.sight;
  noteHello(session, hello, "tls on an unwatched port");
  const facts = {
    ...layer.facts,
    ...{ upgraded: true, sni: hello.serverName ?? null, versions: hello.versions },
    keyHeld: node.pki.holdsKey(hostOf(hello, layer.destination), layer.endpoint.address),
  };
  return { ...layer, facts };
}

function whyUnwatched({ endpoint: { port } }: Layer): string {
  return `TLS began behind plaintext, and policy.startTls does not watch port ${port}`;
}
