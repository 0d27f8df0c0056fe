import type { Destination } from "../capture/arrival.ts";
import { NetworkError, PeerError } from "../errors.ts";
import type { RefusedSession } from "../page/refusal-page.ts";
import type { Presentation } from "../pki/stage.ts";
import type { Endpoint } from "../vocabulary.ts";
import { hostOf, legRecord, noteHello, type Story, type TlsLayer } from "./story.ts";
import { leaveConversation } from "./upgrade.ts";

/** The part of a session's story in which a client that asks for a page gets one, instead of an alert or a reset. */

/** Why: the session's ID and host are added. */
export type WhyRefused = Omit<RefusedSession, "session" | "host">;

/** ALPN's names of the HTTP that the node speaks, the simpler first. A client that offers neither is not asked for a request. */
const PROTOCOLS = ["http/1.1", "h2"] as const;

/**
 * Opens TLS with the client on the node's own behalf, and answers its request with why it was refused. false: that cannot be, and
 * nothing was said to the client.
 */
export async function showPage(story: Story, layer: PageLayer, why: WhyRefused): Promise<boolean> {
  const { node, session } = story;
  const { received, endpoint, destination } = layer;
  const { pages, legs } = node;
  const protocol = PROTOCOLS.find((name) => received.hello.alpnProtocols.includes(name));
  if (!pages || !protocol || !legs.canAnswer(received.hello) || !(await hasTurn(story))) return false;
  if (!layer.client.isOpen || layer.client.isLeaving || layer.client.hasLeft) return false;
  const host = hostOf(received.hello, destination) ?? endpoint.address;
  const presentation = await certificateFor(story, layer, host, pages.signedBy);
  if (!presentation) return false;
  const { client } = leaveConversation(story) ?? layer;
  const leg = await legs.own(client, received, presentation, protocol);
  story.endTurn?.();
  if (leg.kind === "failed") {
    session.note({ page: "refused" });
    return true;
  }
  session.note({ presented: presentation.records[0], clientLeg: legRecord(leg.negotiated) });
  session.note({ page: await pages.show(client, pages.write({ ...why, session: session.id, host }), protocol) });
  return true;
}

/**
 * The server was not reached, and the listener has no way to show why, except inside of the client's TLS. "other": the client was let
 * in, and speaks no TLS, or none for HTTP.
 */
export async function showUnreached(
  story: Story,
  destination: Destination,
  why: WhyRefused,
): Promise<"shown" | "other" | "not let in"> {
  const { arrival, node, session } = story;
  const client = node.pages && arrival.admit?.();
  if (!client || !node.pages) return "not let in";
  const { answer, client: bytes } = (await node.pages.hello(client)) ?? {};
  if (answer?.kind !== "match" || !bytes) return "other";
  const { hello } = answer.sight;
  noteHello(session, hello, "tls");
  const endpoint = { address: destination.host };
  const shown = await showPage(story, { client, destination, endpoint, received: { hello, bytes } }, why);
  return shown ? "shown" : "other";
}

/** The client asks the proxy for the node's own page, which has the CA's certificates. */
export function answerOwn(story: Story, { http, request }: Destination): string {
  const { arrival, node } = story;
  story.ending = { by: undefined, code: "EOF", carried: true };
  if (http && request && arrival.client) node.ca.answer(arrival.client, request);
  else arrival.refuse({ kind: "policy", message: node.ca.hint });
  return "The node itself answered: its own page";
}

/** What a page needs of a layer: there may be no server. */
type PageLayer = Pick<TlsLayer, "client" | "received" | "destination"> & {
  readonly endpoint: Pick<Endpoint, "address">;
};

/** A page costs its certificate and a handshake, like a session that is decrypted. */
async function hasTurn(story: Story): Promise<boolean> {
  const { node, session } = story;
  try {
    story.endTurn ??= await node.turns.take(session.client.address);
    return true;
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    return false;
  }
}

/** A certificate for this host alone, whatever its server is. Undefined: there is none. */
async function certificateFor(
  { node }: Story,
  { received }: PageLayer,
  host: string,
  signedBy: "primary" | "secondary",
): Promise<Presentation | undefined> {
  try {
    return await node.pki.presentOwn(host, received.hello, signedBy);
  } catch (error) {
    if (error instanceof PeerError) return undefined;
    throw error;
  }
}
