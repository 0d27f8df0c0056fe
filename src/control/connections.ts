import type { Server } from "node:http";
import type { Socket } from "node:net";
import ipaddr from "ipaddr.js";
import { ownerOf } from "../sessions/owner.ts";

/** How many of the API's connections may be open that have not shown the token. */
export interface ConnectionLimits {
  readonly all: number;
  /** For one peer, an IPv4 address or a /64 of IPv6. Not for loopback, where all users of this machine are one peer. */
  readonly perPeer: number;
}

/** The connections of the API's server. */
export interface Connections {
  /** A request on this connection had the token: it no longer gives way to others. */
  prove(socket: Socket): void;
}

/**
 * Bounds the connections that have not shown the token. No new connection is refused: the oldest one of its peer gives way, or of the
 * peer that has the most. A client that sends its request at once shows the token long before its turn comes.
 */
export function boundConnections(server: Server, { all, perPeer }: ConnectionLimits): Connections {
  /** Unproven connections by peer, the oldest first. */
  const peers = new Map<string, Map<string, Socket>>();
  let count = 0;

  function forget(peer: string, name: string): void {
    const sockets = peers.get(peer);
    if (!sockets?.delete(name)) return;
    count -= 1;
    if (sockets.size === 0) peers.delete(peer);
  }

  function evictFrom(peer: string): void {
    const [oldest] = peers.get(peer) ?? [];
    if (!oldest) return;
    const [name, socket] = oldest;
    forget(peer, name);
    socket.destroy();
  }

  function largest(): string {
    // There are at most `all` peers.
    return [...peers].reduce((most, one) => (one[1].size > most[1].size ? one : most))[0];
  }

  server.on("connection", (socket: Socket) => {
    const { remoteAddress } = socket;
    // It has left already.
    if (remoteAddress === undefined) return void socket.destroy();
    const peer = peerOf(remoteAddress);
    if (peer !== LOOPBACK && (peers.get(peer)?.size ?? 0) >= perPeer) evictFrom(peer);
    if (count >= all) evictFrom(largest());
    const name = nameOf(socket);
    peers.set(peer, (peers.get(peer) ?? new Map()).set(name, socket));
    count += 1;
    socket.once("close", () => forget(peer, name));
  });
  return {
    prove(socket) {
      if (socket.remoteAddress !== undefined) forget(peerOf(socket.remoteAddress), nameOf(socket));
    },
  };
}

/** With TLS, a request has another socket than the connection that its bytes come by. */
function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

export const LOOPBACK = "loopback";

/** Whom a limit counts: an IPv4 address, a /64 of IPv6, or all users of this machine. */
export function peerOf(text: string): string {
  return ipaddr.process(text.replace(/%.*$/, "")).range() === "loopback" ? LOOPBACK : ownerOf(text);
}
