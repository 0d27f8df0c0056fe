import type { End } from "../engine/end.ts";
import type { RelayEnding } from "../engine/relay.ts";
import { NetworkError } from "../errors.ts";
import type { Ending } from "../sessions/outcome.ts";
import type { Chain, ChainFailure } from "../tools/chain.ts";
import type { Endpoint, FlowClass } from "../vocabulary.ts";
import { ALERTS, nameAlert } from "../wire/alert.ts";
import type { SessionHandle } from "./stages.ts";
import type { Story } from "./story.ts";

/** The part of a session's story in which bytes pass: through the inline tools, with copies for the feeds. */

/** What tools and feeds are told about a session. */
export interface RelayedFlow {
  readonly flow: FlowClass;
  readonly server: Endpoint;
  /** The SNI, or the CONNECT host. */
  readonly host: string | undefined;
  /** The protocol of the plaintext, as ALPN names it. */
  readonly alpn?: string | undefined;
  readonly description: string;
  /** The tools that the deciding rule names; undefined: all tools that take this class of flow. */
  readonly tools: readonly string[] | undefined;
  /** The rule that will probably decide, for a flow that begins before one has. */
  readonly rule?: string | undefined;
}

/** Relays bytes as they are. Answers why the session is over. */
export async function relayUnchanged(story: Story, client: End, server: End, flow: RelayedFlow): Promise<string> {
  const chain = await connectTools(story, flow);
  if (chain.kind === "failed") return resetForTool(story, client, chain);
  return (await relay(story, client, chain, server, flow)).reason;
}

/** Connects Ta and Tb: the session's way through the inline tools. */
export async function connectTools(story: Story, flow: RelayedFlow): Promise<Chain | ChainFailure> {
  const { node, session } = story;
  const { tools, server, host, alpn } = flow;
  const subject = { id: session.id, client: session.client, server, flow: flow.flow, host, alpn };
  const chain = await node.tools.connect(subject, tools, (ends) => session.note({ state: `EST:EST:${ends}` }));
  if (chain.kind === "ready") {
    story.chain = chain;
    session.note({ tools: chain.passed });
  }
  return chain;
}

/**
 * Until the relay begins, nobody waits for the tools: without this, a client that says nothing would not learn that one of them has failed.
 * Whoever waits for the client fails with the tool's reason.
 */
export function endWithTools(client: End, { hops }: Pick<Chain, "hops">): void {
  const fail = (error: unknown) => {
    if (error instanceof NetworkError && error.code === "ETOOL") client.reset(error);
  };
  for (const { ta } of hops) ta.task = { queued: false, run: () => false, fail };
}

/** Relays between two ends until both have left. */
export async function relay(
  story: Story,
  client: End,
  { hops }: Chain,
  server: End,
  flow: RelayedFlow,
): Promise<RelayEnding> {
  const { node, session } = story;
  const { places, taps, close } = node.feeds.tap({
    id: session.id,
    client: session.client,
    server: flow.server,
    host: flow.host,
    flow: flow.flow,
    rule: session.rule ?? flow.rule,
    description: flow.description,
  });
  // A late bypass has no place of its own: the record still says where the plaintext before it is.
  if (Object.keys(places).length > 0) session.note({ feeds: places });
  // From now on the relay hears of their failures.
  for (const { ta } of hops) ta.task = undefined;
  let ending: RelayEnding;
  try {
    ending = await node.streams.relay(client, hops, server, session.meter, taps);
  } finally {
    close();
  }
  session.note({ clientLeft: ending.clientLeft, serverLeft: ending.serverLeft });
  // What the story has noted before, an attack for example, is why it was ended.
  if (!story.ending || story.ending.carried) story.ending = endingOf(ending);
  return ending;
}

/**
 * Who ended the relay: whose connection broke, what cut it, or who left first. OpenSSL calls it a decode_error when a peer leaves without
 * close_notify, and others reset the connection then: that is what the leaving led to.
 */
function endingOf({ failure, cut, first }: RelayEnding): Ending {
  const isAnswer = failure && first !== undefined && failure.side !== first;
  if (failure && !(isAnswer && (failure.alert ?? ALERTS.decode_error) === ALERTS.decode_error)) {
    const { side, code, alert } = failure;
    return { by: side, code: alert === undefined ? code : nameAlert(alert), carried: true };
  }
  return { by: cut === undefined ? first : undefined, code: cut ?? "EOF", carried: true };
}

/** A tool that must not be left out has failed: nothing may pass, and the client is reset. */
export function resetForTool(story: Story, client: End, { reason, code }: ChainFailure): string {
  story.ending = { by: "tool", code };
  client.reset();
  return reason;
}

/** Replaces a provisional verdict: a rule may have said decrypt before it was known that there is nothing to decrypt. */
export function noteNotTls(session: SessionHandle): void {
  session.note({ verdict: null, phase: null, rule: null, reason: "Not TLS: carried unchanged" });
}

/** The same on a watched port, where no dialogue says what the session is; it is still watched. */
export function noteNotUnderstood(session: SessionHandle): void {
  session.note({ reason: "Not TLS: carried unchanged, dialogue not understood" });
}
