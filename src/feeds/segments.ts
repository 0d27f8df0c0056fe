import type { Side } from "../vocabulary.ts";
import type { Block } from "./block.ts";
import { type Header, headersOf, TCP_HEADER, writeIpHeader, writeTcpChecksum } from "./packet-headers.ts";

/** The longest IPv4 packet. An IPv6 packet without options could have 40 bytes more. */
export const LONGEST_PACKET = 65_535;

/** Takes finished packets. */
export interface PacketSink {
  /** The MTU that both ends know, in bytes: 576 to 65,535. It and `longest` are read again for each burst. */
  readonly mtu: number;
  /**
   * The greatest length of a packet, in bytes: the MTU; or more, up to 65,535, when one packet may have the payload of
   * several segments, as in captures on a machine whose network card cuts segments.
   */
  readonly longest: number;
  /** Packets with a payload get the sum of their pseudo-header only. The network card completes such a checksum. */
  readonly leavesChecksums: boolean;
  /** The block that the last `place` pointed into. */
  readonly block: Block;
  /**
   * Makes room in `block` for one packet and answers its offset there, a multiple of four. The bytes between the packet's
   * end and the next multiple of four must be zero. -1: leave the packet out. `from` is the sender, and `version` that of
   * the IP header.
   */
  place(length: number, payload: number, from: Side, version: 4 | 6): number;
  /**
   * Announces a packet of `length` bytes. true: its readers have not seen the session's handshake, so one is made up for them. For
   * each new reader or file it is true once.
   */
  begins(length: number): boolean;
  /** The next packets are made up, for readers that come late. */
  madeUp: boolean;
}

export interface SegmentOptions {
  /** IPv4 or IPv6 literals. When only one is IPv6, the other is written as an IPv4-mapped address. */
  readonly client: { readonly address: string; readonly port: number };
  readonly server: { readonly address: string; readonly port: number };
  /** Initial sequence numbers, new for each session: a reused port must not look like a retransmission. */
  readonly sequence: Readonly<Record<Side, number>>;
}

const FIN = 0x01;
const SYN = 0x02;
const RST = 0x04;
const PSH = 0x08;
const ACK = 0x10;

/** The options of a SYN: the maximum segment size (RFC 9293, section 3.2) and the window scale (RFC 7323, section 2.2). */
const MSS_OPTION = 0x02040000;
const WINDOW_SCALE_OPTION = 0x01030300;
const SYN_OPTIONS = 8;
/** It makes a window of 8 MiB: packets of 64 KiB must fit into it, or readers call them out of the window. */
const WINDOW_SCALE = 7;

/**
 * Makes the TCP packets (RFC 9293, over IPv4 or IPv6) that would have carried one session's plaintext. Every burst is
 * acknowledged before the next one. A packet that the sink leaves out still uses its sequence numbers, so a reader sees
 * that bytes are missing.
 */
export class Segments {
  readonly #sink: PacketSink;
  readonly #ends: Readonly<Record<Side, End>>;
  #over = false;
  /** The server has spoken. */
  #isAnswered = false;

  /** Throws ipaddr.js's Error when an address is not an IP literal. */
  constructor({ client, server, sequence }: SegmentOptions, sink: PacketSink) {
    const headers = headersOf({ client, server });
    const endOf = (side: Side): End => ({
      ...headers[side],
      side,
      sequence: sequence[side] >>> 0,
      ended: false,
      isCut: false,
    });
    this.#sink = sink;
    this.#ends = { client: endOf("client"), server: endOf("server") };
  }

  /** The three-way handshake. */
  open(): void {
    const { client, server } = this.#ends;
    handshake(this.#sink, client, server);
  }

  /** One burst: full packets, PSH on the last; the peer acknowledges every second one (RFC 9293, section 3.8.6.3) and the last. */
  data(side: Side, bytes: Uint8Array): void {
    const [from, to] = this.#directed(side);
    if (this.#over || from.ended || from.isCut) return;
    if (side === "server") this.#isAnswered = true;
    const payload = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const length = payload.length;
    const most = mostPayload(this.#sink, from);
    let unacknowledged = 0;
    for (let start = 0; start < length; start += most) {
      const end = Math.min(start + most, length);
      emit(this.#sink, from, to, end === length ? PSH | ACK : ACK, payload, start, end);
      unacknowledged += 1;
      if (unacknowledged === 2 || end === length) {
        emit(this.#sink, to, from, ACK);
        unacknowledged = 0;
      }
    }
  }

  /**
   * This side sends no more. `isCut`: what it sent may not be whole. Then a reset ends it, once the other side has nothing to say either. But a
   * FIN does for a client that has been answered, and for a side that answers the other's end: many clients and servers leave without close_notify
   * then.
   */
  end(side: Side, isCut = false): void {
    const [from, to] = this.#directed(side);
    if (this.#over || from.ended || from.isCut) return;
    if (isCut && !to.ended && !(side === "client" && this.#isAnswered)) {
      from.isCut = true;
      return;
    }
    emit(this.#sink, from, to, FIN | ACK);
    from.ended = true;
    emit(this.#sink, to, from, ACK);
    this.#over = to.ended;
  }

  /** This side gives up both directions. */
  reset(side: Side): void {
    const [from, to] = this.#directed(side);
    if (this.#over) return;
    emit(this.#sink, from, to, RST | ACK);
    this.#over = true;
  }

  /** Ends both directions, so that every session has an end. */
  close(): void {
    const { client, server } = this.#ends;
    if (!client.isCut) this.end("client");
    if (!server.isCut) this.end("server");
    if (server.isCut) this.reset("server");
    if (client.isCut) this.reset("client");
  }

  #directed(side: Side): [End, End] {
    const { client, server } = this.#ends;
    return side === "client" ? [client, server] : [server, client];
  }
}

interface End extends Header {
  readonly side: Side;
  sequence: number;
  ended: boolean;
  isCut: boolean;
}

function mssOf({ mtu }: PacketSink, { ipLength }: Header): number {
  return mtu - ipLength - TCP_HEADER;
}

/** The greatest payload of one packet: a whole number of segments. */
function mostPayload(sink: PacketSink, header: Header): number {
  const mss = mssOf(sink, header);
  const most = sink.longest - header.ipLength - TCP_HEADER;
  return most - (most % mss);
}

/** Writes one packet and moves the sender's sequence number on. */
function emit(sink: PacketSink, from: End, to: End, flags: number, payload?: Buffer, start = 0, end = 0): void {
  const options = (flags & SYN) !== 0 ? SYN_OPTIONS : 0;
  const length = from.ipLength + TCP_HEADER + options + end - start;
  if (options === 0 && sink.begins(length)) {
    if (from.side === "client") makeUp(sink, from, to);
    else makeUp(sink, to, from);
  }
  const at = sink.place(length, end - start, from.side, from.ipLength === 20 ? 4 : 6);
  if (at >= 0) {
    const { block } = sink;
    writeIpHeader(block, at, length, from);
    const tcp = at + from.ipLength;
    block.view.setUint32(tcp + 4, from.sequence);
    block.view.setUint32(tcp + 8, (flags & ACK) !== 0 ? to.sequence : 0);
    block.view.setUint16(tcp + 12, (((TCP_HEADER + options) / 4) << 12) | flags);
    if (options > 0) {
      block.view.setUint32(tcp + TCP_HEADER, MSS_OPTION | mssOf(sink, from));
      block.view.setUint32(tcp + TCP_HEADER + 4, WINDOW_SCALE_OPTION | WINDOW_SCALE);
    }
    payload?.copy(block.bytes, tcp + TCP_HEADER, start, end);
    const isComplete = end === start || !sink.leavesChecksums;
    writeTcpChecksum(block, from, tcp, at + length, isComplete);
  }
  from.sequence = (from.sequence + end - start + ((flags & (SYN | FIN)) !== 0 ? 1 : 0)) >>> 0;
}

/** The handshake again, with the numbers that lead to those of the next packets, and a FIN of a side that has ended already. */
function makeUp(sink: PacketSink, client: End, server: End): void {
  sink.madeUp = true;
  for (const end of [client, server]) end.sequence = (end.sequence - (end.ended ? 2 : 1)) >>> 0;
  handshake(sink, client, server);
  if (client.ended) emit(sink, client, server, FIN | ACK);
  if (server.ended) emit(sink, server, client, FIN | ACK);
  sink.madeUp = false;
}

function handshake(sink: PacketSink, client: End, server: End): void {
  emit(sink, client, server, SYN);
  emit(sink, server, client, SYN | ACK);
  emit(sink, client, server, ACK);
}
