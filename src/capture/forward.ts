import type { Socket } from "node:net";
import type { Arrival, Endpoint } from "./arrival.ts";

/** A port forward: every connection goes to one server, known before the client says a word. */
export function arriveForward(
  client: Socket,
  from: Endpoint,
  listener: { readonly name: string; readonly server: { readonly host: string; readonly port: number } },
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
    // The client connected to what it takes for the server: a reset is what a closed or unreachable server looks like.
    refuse: () => client.resetAndDestroy(),
  };
}
