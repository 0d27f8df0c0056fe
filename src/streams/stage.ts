import type { Socket } from "node:net";
import type { Sighting } from "../detect/detector.ts";
import { openDetectors } from "../detect/detectors.ts";
import type { Side } from "../vocabulary.ts";
import { resolveHost } from "./dial.ts";
import { farewell } from "./farewell.ts";
import { type Reading, readUntil } from "./reading.ts";
import type { Meter, RelayEnd, RelayEnding, Tap } from "./relay.ts";
import { type RelayHop, relayThrough } from "./relay-chain.ts";

/** The bytes of a session, below and beside TLS. */
export interface StreamStage {
  /** The addresses of a host, in the order in which they are tried. Throws NetworkError. */
  resolve(host: string): Promise<readonly string[]>;
  /**
   * Reads the first bytes of both sides until it is clear what they are. `agreed`: the peers have just agreed to TLS, so a
   * ClientHello is due soon.
   */
  detect(client: Socket, server: Socket, agreed?: boolean): Promise<Reading<Sighting>>;
  /** Relays between two ends, through the tools in between, until both have left. */
  relay(
    client: RelayEnd,
    hops: readonly RelayHop[],
    server: RelayEnd,
    meter: Meter,
    taps: readonly Tap[],
  ): Promise<RelayEnding>;
  /** Closes a connection that is still open, once all that was written to it has been sent. */
  close(connection: Socket): void;
}

/** Times in ms. `onIdentified` is called when a client's session is no longer waiting for its first bytes. */
export function createStreamStage(
  timeouts: { readonly connect: number; readonly hello: number; readonly idle: number },
  onIdentified: (client: Socket) => void,
): StreamStage {
  return {
    resolve: (host) => resolveHost(host, timeouts.connect),
    async detect(client, server, agreed = false) {
      const detectors = openDetectors();
      const timing = { silence: agreed ? timeouts.hello : timeouts.idle, gap: timeouts.hello };
      const judge = (side: Side, bytes: Buffer) => {
        const sighting = detectors.feed(side, bytes);
        return sighting.kind === "more" ? undefined : sighting;
      };
      try {
        return await readUntil({ client, server }, judge, timing);
      } finally {
        onIdentified(client);
      }
    },
    relay(client, hops, server, meter, taps) {
      // Nobody asks for the first bytes of plain HTTP and of sessions that the network phase bypasses.
      onIdentified(client.socket);
      return relayThrough(client, hops, server, { meter, taps, idle: timeouts.idle });
    },
    close: (connection) => farewell(connection, ""),
  };
}
