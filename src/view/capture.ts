import { type Block, newBlock } from "../feeds/block.ts";
import { openPacketFlow, shown } from "../feeds/packet-flow.ts";
import { sectionStart } from "../feeds/pcapng-format.ts";
import { type BlockPlace, PacketBlocks } from "../feeds/pcapng-packets.ts";
import type { PortMap } from "../port-map.ts";
import type { SessionLog } from "./session-log.ts";

/** The pieces of a pcapng file with what is held of one session, as the packets that would have carried its plaintext. */
export function* captureOf(log: SessionLog, name: string, ports: PortMap): Generator<Buffer> {
  const { session, start } = log;
  const pieces: Buffer[] = [sectionStart(name)];
  const place = new Pieces(pieces);
  const packets = new PacketBlocks(place, session, { segment: "mtu", mark: undefined, ports });
  let now = start;
  const flow = openPacketFlow(shown(session, ports), start, () => now * 1000, packets);
  for (const event of [...log.events]) {
    now = event.time;
    if (event.kind === "data") flow.data(event.from, event.bytes);
    else if (event.kind === "reset") flow.reset(event.from);
    else flow.end(event.from, event.kind === "cut");
    place.settle();
    yield* pieces.splice(0);
  }
  if (log.isOver) flow.close();
  place.settle();
  yield* pieces.splice(0);
}

const PIECE = 256 * 1024;

/** Collects pcapng blocks. */
class Pieces implements BlockPlace {
  readonly generation = 0;
  block: Block = newBlock(PIECE);
  readonly #pieces: Buffer[];
  #used = 0;

  constructor(pieces: Buffer[]) {
    this.#pieces = pieces;
  }

  turn(): void {}

  room(length: number): number {
    if (this.#used + length > PIECE) this.settle();
    const at = this.#used;
    this.#used += length;
    return at;
  }

  settle(): void {
    if (this.#used === 0) return;
    this.#pieces.push(Buffer.from(this.block.bytes.subarray(0, this.#used)));
    this.#used = 0;
  }
}
