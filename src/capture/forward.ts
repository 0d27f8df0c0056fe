import type { End } from "../engine/end.ts";
import { listenConfigured } from "../engine/listen.ts";
import type { Endpoint } from "../vocabulary.ts";
import type { Arrival, BegunWith } from "./arrival.ts";
import { dialingFor } from "./dialing.ts";
import { beginningWhereUnderstood } from "./header-sense.ts";
import { arriveRefused, beginningWith } from "./headers.ts";
import type { CaptureContext, OpenListener } from "./mode.ts";
import { behindProxies, type ProxyFront } from "./proxy-front.ts";

export interface ForwardListener {
  readonly name: string;
  readonly address: { readonly host: string; readonly port: number };
  readonly server: { readonly host: string; readonly port: number };
  /** `toServer`: whether the server gets the header too; undefined: if it understands it. */
  readonly proxyProtocol?: (ProxyFront & { readonly toServer?: boolean | undefined }) | undefined;
}

export function openForward(listener: ForwardListener, context: CaptureContext): Promise<OpenListener> {
  const { path, workers, loop, settings, arrive } = context;
  const dialFor = dialingFor(loop, settings);
  const where = { ...listener.address, shared: workers > 1, savesSyns: true };
  const front = listener.proxyProtocol;
  const whereUnderstood = beginningWhereUnderstood(() => performance.now());
  const dialBehind = (client: End, header: Buffer) => {
    const dialOut = dialFor(client);
    if (front?.toServer === undefined) return whereUnderstood(dialOut, header);
    return front.toServer ? beginningWith(dialOut, header) : dialOut;
  };
  const accept = behindProxies(front, context, {
    plain: (client, from) => arrive(arriveForward(client, from, listener, dialFor(client))),
    fronted({ client, from, begunWith, header }) {
      arrive(arriveForward(client, from, listener, dialBehind(client, header), begunWith));
    },
    refused: (client, from, reason) =>
      arrive(arriveRefused(client, from, { listener: listener.name, mode: "forward" }, reason)),
  });
  return listenConfigured(loop, `${path}.address`, where, accept);
}

/** A port forward: every connection goes to the same server. */
function arriveForward(
  client: End,
  from: Endpoint,
  listener: Pick<ForwardListener, "name" | "server">,
  dial: Arrival["dial"],
  begunWith?: BegunWith,
): Arrival {
  return {
    listener: listener.name,
    mode: "forward",
    client,
    from,
    begunWith,
    locate: async () => ({ ...listener.server, connectHost: null, http: false }),
    dial,
    welcome: async () => client,
    admit: () => client,
    // The client believes that it is connected to the server: a reset is how a server that fails looks to it.
    refuse: () => void client.reset(),
  };
}
