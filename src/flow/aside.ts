import { NetworkError } from "../errors.ts";
import { bypassOnHello } from "./bypass.ts";
import { noteVerdict, redial, type Story, type TlsLayer } from "./story.ts";

/**
 * The part of a session's story that monitor mode adds: the node looks at the server on a connection of its own. The session keeps
 * both of its connections, because what led to TLS cannot always be repeated, such as a log-in to a proxy.
 */

/** The layer with another connection to the server. Undefined: there is none. */
export async function lookAside(story: Story, layer: TlsLayer): Promise<TlsLayer | undefined> {
  try {
    return { ...layer, server: await redial(story, layer), kept: layer.server };
  } catch (error) {
    if (!(error instanceof NetworkError) || story.clientLeft) throw error;
    return undefined;
  }
}

/** The session passes, and its server's certificate stays unknown. */
export function bypassUnseen(story: Story, layer: TlsLayer): Promise<string> {
  const verdict = story.node.policy.verdictSoFar(layer.facts);
  noteVerdict(story.session, verdict);
  return bypassOnHello(story, layer, verdict);
}
