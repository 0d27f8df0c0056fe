import type { ServerAttempt } from "../legs/server-attempts.ts";
import type { ResumptionScope } from "../legs/stage.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { hostOf, type Layer, redial, type Story } from "./story.ts";

/**
 * Opens TLS with the layer's server, offering what the client offers. HTTP/2 is left out if the rule that will probably
 * decide, or one of its tools, needs HTTP/1.1: the certificate may still change the verdict, but ALPN is agreed before it.
 */
export async function openServerLeg(story: Story, layer: Layer, hello: ClientHello): Promise<ServerAttempt> {
  const { node, session } = story;
  const { alpn, tools } = node.policy.verdictSoFar(layer.facts);
  const attempt = await node.legs.server({ server: layer.server, redial: () => redial(story, layer) }, hello, {
    onlyAlpn: alpn ?? node.tools.onlyAlpn(tools),
    scope: scopeOf(story, layer, hello),
  });
  if (attempt.server !== layer.server) session.note({ seenAs: attempt.server.local() ?? null });
  return attempt;
}

/** Within what an earlier TLS session may be resumed. */
export function scopeOf({ arrival }: Story, { endpoint, destination }: Layer, hello: ClientHello): ResumptionScope {
  return {
    listener: arrival.listener,
    client: arrival.from,
    server: endpoint,
    host: hostOf(hello, destination),
  };
}
