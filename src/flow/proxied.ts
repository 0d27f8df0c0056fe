import type { BegunWith } from "../capture/arrival.ts";
import type { Layer, Story } from "./story.ts";

/**
 * The part of a session's story in which a connection begins with a header of the PROXY protocol that its listener does not expect. Without
 * the node the server would get it, so it gets it, and what follows is treated as if it came first. The client that the header
 * names is not believed.
 */

/** Passes the header on. Answers with the layer behind it; undefined: there is no header. `begun`: the client's bytes so far. */
export async function passProxyHeader(story: Story, layer: Layer, begun: Buffer): Promise<Layer | undefined> {
  const { arrival, node } = story;
  const { client, server } = layer;
  const header = await node.streams.proxyHeader(client, server, begun);
  if (!header) return undefined;
  noteProxyHeader(story, {
    version: header.version,
    client: header.source ?? null,
    from: arrival.from,
    believed: false,
  });
  client.skip(header.length);
  server.writeBytes(header.bytes);
  story.header = header.bytes;
  return {
    ...layer,
    async redial() {
      const fresh = await layer.redial();
      fresh.writeBytes(header.bytes);
      return fresh;
    },
  };
}

export function noteProxyHeader({ session }: Pick<Story, "session">, proxyHeader: BegunWith): void {
  session.note({ proxyHeader });
  if (!proxyHeader.believed) session.warnOfProxyHeader(proxyHeader);
}
