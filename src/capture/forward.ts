import { dial } from "../engine/dial.ts";
import type { End } from "../engine/end.ts";
import { listenConfigured } from "../engine/listen.ts";
import type { Endpoint } from "../vocabulary.ts";
import type { Arrival } from "./arrival.ts";
import type { CaptureContext, OpenListener } from "./mode.ts";

export interface ForwardListener {
  readonly name: string;
  readonly address: { readonly host: string; readonly port: number };
  readonly server: { readonly host: string; readonly port: number };
}

export function openForward(listener: ForwardListener, context: CaptureContext): Promise<OpenListener> {
  const { path, workers, loop, settings, arrive } = context;
  const dialOut: Arrival["dial"] = (addresses, port) => dial(loop, addresses, port, settings().timeouts.connect);
  const where = { ...listener.address, shared: workers > 1 };
  return listenConfigured(loop, `${path}.address`, where, (client, from) =>
    arrive(arriveForward(client, from, listener, dialOut)),
  );
}

/** A port forward: every connection goes to the same server. */
function arriveForward(
  client: End,
  from: Endpoint,
  listener: Pick<ForwardListener, "name" | "server">,
  dial: Arrival["dial"],
): Arrival {
  return {
    listener: listener.name,
    mode: "forward",
    client,
    from,
    locate: async () => ({ ...listener.server, connectHost: null, http: false }),
    dial,
    welcome: async () => client,
    // The client believes that it is connected to the server: a reset is how a server that fails looks to it.
    refuse: () => client.reset(),
    again: (fresh) => arriveForward(fresh, from, listener, dial),
  };
}
