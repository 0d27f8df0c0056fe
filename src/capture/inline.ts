import type { Socket } from "node:net";
import type { Arrival, Endpoint } from "./arrival.ts";

/** Connects from one address to another; the server sees the client's own. Throws NetworkError. */
export type ConnectFrom = (from: Endpoint, to: Endpoint) => Promise<Socket>;

/**
 * A connection that the kernel took out of the path for us: it was meant for `to`, which is what the accepted socket
 * calls its own address. The client believes it talks to the server already.
 */
export function arriveInline(
  client: Socket,
  from: Endpoint,
  to: Endpoint,
  listener: { readonly name: string },
  connectFrom: ConnectFrom,
): Arrival {
  return {
    listener: listener.name,
    mode: "inline",
    from,
    client,
    locate: async () => ({ host: to.address, port: to.port, connectHost: null, http: undefined }),
    dial: ([address = to.address], port) => connectFrom(from, { address, port }),
    welcome: async () => client,
    refuse: () => client.resetAndDestroy(),
  };
}
