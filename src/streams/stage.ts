import type { BoundLogin } from "../detect/channel-binding.ts";
import type { Opening, Sighting } from "../detect/detector.ts";
import { openDetectors } from "../detect/detectors.ts";
import type { End } from "../engine/end.ts";
import { farewell } from "../engine/farewell.ts";
import type { IdleCounts, Meter, RelayEnding, Tap } from "../engine/relay.ts";
import type { PeerError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";
import type { ExchangeRules } from "../wire/hello-exchange.ts";
import { watchHellos } from "./hello-watch.ts";
import { watchLogin } from "./login-watch.ts";
import { type FoundHeader, findProxyHeader } from "./proxy-header.ts";
import { type Reading, readUntil } from "./reading.ts";
import { type RelayHop, relayThrough } from "./relay-chain.ts";
import { resolveHost } from "./resolve.ts";

/** The bytes of a session, below and beside TLS. */
export interface StreamStage {
  /** The addresses of a host, in the order in which they are tried. Throws NetworkError. */
  resolve(host: string): Promise<readonly string[]>;
  /**
   * Looks at the first bytes of both sides until it is clear what they are; the bytes stay with their ends. `agreed`: the peers
   * have just agreed to TLS, so a ClientHello is due soon.
   */
  detect(client: End, server: End, agreed?: boolean): Promise<Reading<Sighting>>;
  /** Reads the ClientHello that the client has begun; it stays with its end, from where `begun` ends. Throws PeerError. */
  hello(client: End, begun: Buffer): Promise<Reading<Sighting>>;
  /**
   * Looks at the hellos of two peers whose TLS a relay is about to carry, and has the server's certificates judged where the rules say
   * so. Resolves with why to cut it; undefined: all is well.
   */
  watchHellos(
    client: End,
    server: End,
    rules: ExchangeRules,
    judge: (ders: readonly Buffer[]) => Promise<PeerError | undefined>,
  ): Promise<PeerError | undefined>;
  /**
   * The header of the PROXY protocol that the client begins with; the bytes stay with their ends. `begun`: the client's bytes so far.
   * Undefined: there is none. Throws NetworkError.
   */
  proxyHeader(client: End, server: End, begun: Buffer): Promise<FoundHeader | undefined>;
  /** Looks at what a client says first inside of TLS; `told` is called at most once, when it binds its log-in to the TLS channel. */
  watchLogin(client: End, told: (login: BoundLogin) => void): void;
  /** Relays between two ends, through the tools in between, until both have left. */
  relay(client: End, hops: readonly RelayHop[], server: End, meter: Meter, taps: readonly Tap[]): Promise<RelayEnding>;
  /** Closes a connection that is still open, once all that was written to it has been sent. */
  close(connection: End): void;
}

/** Times in ms. `onIdentified` is called when a client's session is no longer waiting for its first bytes. */
export function createStreamStage(
  timeouts: {
    readonly connect: number;
    readonly hello: number;
    readonly idle: number;
    readonly idleCounts: IdleCounts;
  },
  onIdentified: (client: End) => void,
): StreamStage {
  return {
    resolve: (host) => resolveHost(host, timeouts.connect),
    async detect(client, server, agreed = false) {
      const detectors = openDetectors();
      const timing = { silence: agreed ? timeouts.hello : timeouts.idle, gap: timeouts.hello };
      try {
        return await readUntil({ client, server }, judgeOf(detectors), timing);
      } finally {
        onIdentified(client);
      }
    },
    hello(client, begun) {
      const detectors = openDetectors();
      detectors.feed("client", begun);
      return readUntil({ client }, judgeOf(detectors), { silence: timeouts.hello, gap: timeouts.hello });
    },
    watchHellos,
    proxyHeader: (client, server, begun) => findProxyHeader(client, server, begun, timeouts.hello),
    watchLogin,
    relay(client, hops, server, meter, taps) {
      // Nobody asks for the first bytes of plain HTTP and of sessions that the network phase bypasses.
      onIdentified(client);
      return relayThrough(client, hops, server, { meter, taps, idle: timeouts.idle, idleCounts: timeouts.idleCounts });
    },
    close: (connection) => void farewell(connection, NOTHING),
  };
}

/** Feeds detectors until they answer. */
export function judgeOf(detectors: Opening) {
  return (side: Side, bytes: Buffer): Sighting | undefined => {
    const sighting = detectors.feed(side, bytes);
    return sighting.kind === "more" ? undefined : sighting;
  };
}

const NOTHING = new Uint8Array(0);
