import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Arrival, Destination } from "../capture/arrival.ts";
import type { ReceivedHello } from "../legs/stage.ts";
import type { Facts, Verdict } from "../policy/facts.ts";
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
  readonly session: SessionHandle;
  /** The session's connections, TCP or TLS: the story closes those that are still open when it ends. */
  readonly connections: Set<Socket>;
  /** Those of them that lead to the client. */
  readonly clientConnections: Set<Socket>;
  /** The session's way through the inline tools, once it is connected. */
  chain?: Chain;
  /** The plaintext conversation that the session began with, or found in its TLS; undefined: there was none. */
  conversation?: RelayedConversation;
}

/** A conversation that begins in plaintext and may be upgraded to TLS. One relay carries it from its first byte to its last. */
export interface RelayedConversation {
  readonly streams: UpgradableConversation;
  /** How its relay ended. */
  readonly ending: Promise<RelayEnding>;
  readonly chain: Chain;
}

/** Two peers that may speak TLS: on TCP, in a proxy's tunnel, or inside the TLS that leads to the proxy. */
export interface Layer {
  readonly client: Peer;
  readonly server: Peer;
  readonly endpoint: Endpoint;
  readonly facts: Facts;
  readonly destination: Destination;
  /**
   * Opens another connection to the server and brings it to where this layer begins: it dials, and repeats what was said
   * before. Throws NetworkError.
   */
  redial(): Promise<Peer>;
  /** How many proxies' tunnels this layer is in. */
  readonly tunnels: number;
  /** This layer follows a CONNECT, not a STARTTLS: the client may ask for another tunnel in it. */
  readonly afterConnect: boolean;
}

/** A layer whose client has sent its ClientHello. */
export interface TlsLayer extends Layer {
  readonly received: ReceivedHello;
  /** The key of this server in `node.servers`. */
  readonly serverKey: string;
}

/** Dials the layer's server again. The story closes the connection at its end. */
export async function redial({ connections }: Story, layer: Layer): Promise<Peer> {
  const fresh = await layer.redial();
  connections.add(fresh.stream);
  return fresh;
}

/** TLS has come up on a peer's stream: it is the TLS that is closed from now on, not the TCP connection below it. */
export function replaceStream({ connections }: Story, { stream, socket }: Peer, plaintext: Duplex): Peer {
  const tls = plaintext as Socket;
  if (stream === socket) connections.delete(stream);
  connections.add(tls);
  return { stream: tls, socket };
}

export function peerOf(socket: Socket): Peer {
  return { stream: socket, socket };
}

/** The node's own address and port on this connection; null: it is closed. */
export function localEndpoint({ localAddress, localPort }: Socket): Endpoint | null {
  return localAddress === undefined || localPort === undefined ? null : { address: localAddress, port: localPort };
}

/** The host that the client means, by name or address; undefined: it does not say. */
export function hostOf(hello: ClientHello, { connectHost }: Destination): string | undefined {
  return hello.serverName ?? hello.serverAddress ?? connectHost ?? undefined;
}

export function noteVerdict(session: SessionHandle, { action, phase, rule, reason }: Verdict): void {
  session.note({ verdict: action, phase, rule, reason });
}
