import type { PortMap } from "../port-map.ts";
import { communityId } from "../wire/community-id.ts";
import type { Block } from "./block.ts";
import type { FeedSession } from "./feed.ts";
import { type SessionPackets, shown } from "./packet-flow.ts";
import { packetBlockLength, packetComments, withComment, writePacketBlock } from "./pcapng-format.ts";
import { LONGEST_PACKET } from "./segments.ts";

/** Takes whole pcapng blocks. */
export interface BlockPlace {
  readonly block: Block;
  /** Goes up when the next reader does not know the sessions that were named before. */
  readonly generation: number;
  /** The label of packets that are made up, when the session was last known in this generation; absent: they have none. */
  labelFor?(generation: number): number;
  /** Announces a block of `length` bytes: the place may begin a new file for it. */
  turn(length: number): void;
  /** Makes room in `block` and answers the offset, a multiple of four; -1: leave the packet out. */
  room(length: number): number;
  /** Hands on soon what is collected. */
  settle(): void;
}

/** Marks every packet of a decrypted session with this comment. */
export interface CommentMark {
  readonly comment: string;
}

/**
 * Packets of one segment each; or of up to 64 KiB and without a complete checksum, as they are captured on a machine whose
 * network card cuts the segments and adds the checksums.
 */
export type Segmentation = "mtu" | "offload";

/** How a feed writes its packets. */
export interface PacketForm {
  readonly segment: Segmentation;
  /** The longest packet, unless it is below the MTU. Absent: what IP allows. */
  readonly longest?: number;
  readonly mark: CommentMark | undefined;
  readonly ports: PortMap;
}

/** Marks a handshake for readers that have not seen the session's own. */
const MADE_UP = "Made up by Clearline: the session began before this capture";
/** The most bytes of its three packets, and of the ends that follow it, without their names. */
const HANDSHAKE = 5 * 256;

/** The MTU of Ethernet, which analysers expect. */
const MTU = 1500;

/** Wraps one session's packets in pcapng blocks. The first of each generation has a comment that names the session. */
export class PacketBlocks implements SessionPackets {
  readonly mtu = MTU;
  readonly longest: number;
  readonly leavesChecksums: boolean;
  time = 0;
  readonly #place: BlockPlace;
  readonly #first: Buffer;
  readonly #every: Buffer | undefined;
  madeUp = false;
  #namedIn = -1;
  /** The last generation for which a handshake was made up, and the last before it in which the session was known. */
  #begunIn = -1;
  #knownIn = -1;

  constructor(place: BlockPlace, session: FeedSession, { segment, longest = LONGEST_PACKET, mark, ports }: PacketForm) {
    const marks = mark && session.flow === "decrypted" ? [mark.comment] : [];
    this.longest = segment === "mtu" ? MTU : Math.max(MTU, Math.min(longest, LONGEST_PACKET));
    this.leavesChecksums = segment === "offload";
    this.#place = place;
    this.#first = packetComments(nameOf(session, shown(session, ports)), ...marks);
    this.#every = marks.length > 0 ? packetComments(...marks) : undefined;
  }

  get block() {
    return this.#place.block;
  }

  place(length: number): number {
    const place = this.#place;
    place.turn(packetBlockLength(length, this.#first));
    const named = this.#namedIn === place.generation ? this.#every : this.#first;
    const comments = this.madeUp ? withComment(MADE_UP, named) : named;
    const at = place.room(packetBlockLength(length, comments));
    if (at < 0) return -1;
    this.#namedIn = place.generation;
    return writePacketBlock(
      place.block,
      at,
      length,
      this.time,
      comments,
      this.madeUp ? (place.labelFor?.(this.#knownIn) ?? 0) : 0,
    );
  }

  begins(length: number): boolean {
    const place = this.#place;
    const isKnown = this.#namedIn === place.generation;
    place.turn(packetBlockLength(length, this.#first) + (isKnown ? 0 : HANDSHAKE + 2 * this.#first.length));
    const { generation } = place;
    if (this.#namedIn === generation || this.#begunIn === generation) return false;
    this.#begunIn = generation;
    this.#knownIn = this.#namedIn;
    return true;
  }

  complete(over: boolean): void {
    if (over) this.#place.settle();
  }
}

const VERDICTS = { decrypted: "decrypt", bypassed: "bypass", notTls: "not TLS" } as const;

/** `seen`: the session as the packets show it, from which an analyser computes its Community ID. */
function nameOf(session: FeedSession, seen: FeedSession): string {
  const { id, host, client, server, flow, rule, description } = session;
  const ends = `${client.address} port ${client.port} to ${server.address} port ${server.port}`;
  const decided = rule === undefined ? VERDICTS[flow] : `${VERDICTS[flow]} by ${rule}`;
  return `Clearline session ${id}: ${host ?? "no host name"}; ${ends}; ${decided}; ${description}; ${communityIds(session, seen)}`;
}

function communityIds({ client, server }: FeedSession, { server: seen }: FeedSession): string {
  const id = `Community ID ${communityId(client, server)}`;
  return seen.port === server.port ? id : `${id}, here port ${seen.port} and ${communityId(client, seen)}`;
}
