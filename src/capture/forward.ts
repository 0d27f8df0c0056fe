import type { Socket } from "node:net";
import { listenConfigured } from "../linux/listen.ts";
import { dial } from "../streams/dial.ts";
import type { Endpoint } from "../vocabulary.ts";
import type { Arrival } from "./arrival.ts";
import type { CaptureContext, OpenListener } from "./mode.ts";

export interface ForwardListener {
  readonly name: string;
  readonly address: { readonly host: string; readonly port: number };
  readonly server: { readonly host: string; readonly port: number };
}

export function openForward(listener: ForwardListener, context: CaptureContext): Promise<OpenListener> {
  const { path, workers, settings, arrive } = context;
  const dialOut: Arrival["dial"] = (addresses, port) => dial(addresses, port, settings().timeouts.connect);
  const where = { ...listener.address, shared: workers > 1 };
  return listenConfigured(`${path}.address`, where, (client, from) =>
    arrive(arriveForward(client, from, listener, dialOut)),
  );
}

/** A port forward: every connection goes to the same server. */
function arriveForward(
  client: Socket,
  from: Endpoint,
  listener: Pick<ForwardListener, "name" | "server">,
  dial: Arrival["dial"],
): Arrival {
  return {
    listener: listener.name,
    mode: "forward",
    client,
    from,
    locate: async () => ({ ...listener.server, connectHost: null, http: undefined }),
    dial,
    welcome: async () => client,
    // The client believes that it is connected to the server: a reset is how a server that fails looks to it.
    refuse: () => client.resetAndDestroy(),
  };
}
