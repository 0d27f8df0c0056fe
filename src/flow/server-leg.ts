import type { End } from "../engine/end.ts";
import type { ServerAttempt } from "../legs/server-attempts.ts";
import type { ResumptionScope } from "../legs/stage.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { hostOf, type Layer, mustHaveClient, redial, type Story } from "./story.ts";

/**
 * Opens TLS with the layer's server, offering what the client offers. HTTP/2 is left out if the rule that will probably
 * decide, or one of its tools or feeds, needs HTTP/1.1: the certificate may still change the verdict, but ALPN is agreed before it.
 */
export async function openServerLeg(story: Story, layer: Layer, hello: ClientHello): Promise<ServerAttempt> {
  const { node, session } = story;
  const { alpn, tools, rule } = node.policy.verdictSoFar(layer.facts);
  const limits = {
    onlyAlpn: alpn ?? node.tools.onlyAlpn(tools) ?? node.feeds.onlyAlpn(rule),
    scope: scopeOf(story, layer, hello),
  };
  const connection = { server: layer.server, redial: () => redial(story, layer) };
  const attempt = await whileClientStays(story, layer.client, () => node.legs.server(connection, hello, limits));
  if (attempt.server !== layer.server) session.note({ seenAs: attempt.server.local() ?? null });
  return attempt;
}

/**
 * Does this work with the server. When the client leaves meanwhile, by a FIN too, for it can no longer finish a handshake, the
 * connections to the server are closed, which ends the work. Throws NetworkError then.
 */
async function whileClientStays<T>(story: Story, client: End, work: () => Promise<T>): Promise<T> {
  const { session, connections, clientConnections } = story;
  const leave = () => {
    story.clientLeft = client.isReset ? "reset" : "closed";
    session.note({ clientLeft: story.clientLeft });
    for (const connection of connections) if (!clientConnections.has(connection)) connection.close();
  };
  client.onLeave = leave;
  if (client.hasLeft) leave();
  try {
    const done = await work();
    mustHaveClient(story);
    return done;
  } finally {
    client.onLeave = undefined;
  }
}

/** FTP that begins with TLS. */
const FTPS = 990;

/** Within what an earlier TLS session may be resumed. */
export function scopeOf(
  { arrival }: Story,
  { endpoint, destination, protocol }: Layer,
  hello: ClientHello,
): ResumptionScope {
  return {
    // In another VLAN the same addresses are other hosts.
    listener: arrival.vlan ? `${arrival.listener} ${arrival.vlan}` : arrival.listener,
    client: arrival.from,
    server: endpoint,
    ftpControl: protocol === "FTP" || endpoint.port === FTPS,
    host: hostOf(hello, destination),
  };
}
