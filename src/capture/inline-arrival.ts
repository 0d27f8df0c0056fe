import type { End } from "../engine/end.ts";
import type { Endpoint } from "../vocabulary.ts";
import type { Arrival, ConnectFrom } from "./arrival.ts";
import { beginningWith } from "./headers.ts";

/**
 * A connection whose client was accepted before the server is reached: the client believes that it is connected to `to`, the server.
 * The accepted socket has `to` as its local address.
 */
export function arriveInline(
  client: End,
  from: Endpoint,
  to: Endpoint,
  listener: { readonly name: string },
  connect: ConnectFrom,
): Arrival {
  return {
    listener: listener.name,
    mode: "inline",
    from,
    client,
    locate: async () => ({ host: to.address, port: to.port, connectHost: null, http: false }),
    dial: ([address = to.address], port) => connect(from, { address, port }),
    welcome: async () => client,
    refuse: () => client.reset(),
    again: (fresh, header) => arriveInline(fresh, from, to, listener, beginningWith(connect, header)),
  };
}
