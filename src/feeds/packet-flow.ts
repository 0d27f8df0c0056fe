import { randomInt } from "node:crypto";
import ipaddr from "ipaddr.js";
import { mappedPort, type PortMap } from "../port-map.ts";
import type { FeedFlow, FeedSession } from "./feed.ts";
import { type PacketSink, Segments } from "./segments.ts";

/** Takes one session's packets, with the time of each. */
export interface SessionPackets extends PacketSink {
  /** The time of the next packets, in microseconds since the epoch. */
  time: number;
  /** All packets of one event are placed. `over`: the session has ended. */
  complete(over: boolean): void;
}

/** The session as the packets show it. */
export function shown(session: FeedSession, ports: PortMap): FeedSession {
  return { ...session, server: { ...session.server, port: mappedPort(ports, session) } };
}

/** Writes one session as the packets that would have carried its plaintext. `now` in ms, `clock` in microseconds since the epoch. */
export function openPacketFlow(
  { client, server }: FeedSession,
  now: number,
  clock: () => number,
  packets: SessionPackets,
): FeedFlow {
  if (!ipaddr.isValid(client.address) || !ipaddr.isValid(server.address)) {
    // A socket that is already closed has no address: such a session leaves no packets.
    return { data() {}, end() {}, reset() {}, close() {} };
  }
  const sequence = { client: randomInt(2 ** 32), server: randomInt(2 ** 32) };
  const segments = new Segments({ client, server, sequence }, packets);
  packets.time = now * 1000;
  segments.open();
  packets.complete(false);
  let closed = false;
  const step = (over: boolean, write: () => void): void => {
    if (closed) return;
    closed = over;
    packets.time = Math.max(clock(), packets.time);
    write();
    packets.complete(over);
  };
  return {
    data: (from, bytes) => step(false, () => segments.data(from, bytes)),
    end: (from, isCut) => step(false, () => segments.end(from, isCut)),
    reset: (from) => step(false, () => segments.reset(from)),
    close: () => step(true, () => segments.close()),
  };
}

/** Makes a clock like Date.now(), but in microseconds. It follows when the system's clock is set. */
export function createClock(): () => number {
  let origin = performance.timeOrigin;
  return () => {
    const coarse = Date.now();
    const fine = origin + performance.now();
    if (Math.abs(fine - coarse) <= 2) return Math.floor(fine * 1000);
    origin = coarse - performance.now();
    return coarse * 1000;
  };
}
