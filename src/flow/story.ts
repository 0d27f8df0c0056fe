import type { Socket } from "node:net";
import type { Arrival, Destination } from "../capture/arrival.ts";
import type { Policy } from "../policy/evaluate.ts";
import type { Facts } from "../policy/facts.ts";
import type { Peer, UpgradableConversation } from "../streams/conversation.ts";
import type { RelayEnding } from "../streams/relay.ts";
import type { Chain } from "../tools/chain.ts";
import type { Endpoint } from "../vocabulary.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import type { Node, SessionHandle } from "./stages.ts";

/** What every step of a session works with. */
export interface Story {
  readonly arrival: Arrival;
  readonly node: Node;
  readonly policy: Policy;
  readonly session: SessionHandle;
  /** Connections to be closed when the story is over; most have closed by themselves then. */
  readonly ends: Set<Socket>;
  /** Those of them that lead to the client. */
  readonly clients: Set<Socket>;
  /** Its way through the inline tools, once there is one. */
  chain?: Chain;
}

/** Two peers that are about to speak TLS: on TCP, in the tunnel of a proxy, or inside the TLS that leads to the proxy. */
export interface Layer {
  readonly client: Peer;
  readonly server: Peer;
  readonly endpoint: Endpoint;
  readonly facts: Facts;
  readonly destination: Destination;
  /** Another connection to the server, on which nothing but this layer's beginning was said. Throws NetworkError. */
  redial(): Promise<Peer>;
  /** The conversation that this goes on with; undefined: nothing was said before. */
  readonly begun: Begun | undefined;
  /** Tunnels of proxies that this is in. */
  readonly tunnels: number;
}

/** RFC 8446, section 6.2. */
export const CERTIFICATE_REQUIRED = 116;

export function nearEnd({ localAddress, localPort }: Socket): Endpoint | null {
  return localAddress === undefined || localPort === undefined ? null : { address: localAddress, port: localPort };
}

/** Whom the client means, as far as it says. */
export function hostOf(hello: ClientHello, { connectHost }: Destination): string | undefined {
  return hello.serverName ?? hello.serverAddress ?? connectHost ?? undefined;
}

export function peerOf(socket: Socket): Peer {
  return { stream: socket, socket };
}

/** A conversation under way, whose ends are relayed from its first byte to its last. */
export interface Begun {
  readonly conversation: UpgradableConversation;
  readonly joined: Promise<RelayEnding>;
  /** The tools that it passes. */
  readonly chain: Chain;
  /** It was with a proxy: there may be another tunnel in what it has become. */
  readonly proxied: boolean;
  /** Goes on, decrypted, to its end. */
  goOn(client: Socket, server: Socket): Promise<RelayEnding>;
  /** It is over for tools and feeds; its peers go on without them. */
  leave(): void;
}
