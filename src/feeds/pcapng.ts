import type { Logger } from "pino";
import type { PortMap } from "../port-map.ts";
import type { Feed, FeedFilter } from "./feed.ts";
import { createFilter } from "./filter.ts";
import { createClock, openPacketFlow, shown } from "./packet-flow.ts";
import { fillerBlock, sectionStart } from "./pcapng-format.ts";
import { type CommentMark, PacketBlocks, type Segmentation } from "./pcapng-packets.ts";
import { RotatingFiles } from "./rotating-files.ts";

export interface PcapngOptions extends FeedFilter {
  readonly name: string;
  /** Created with mode 0700 when missing. Its files have mode 0600. */
  readonly directory: string;
  /** The largest size of a file, in bytes. */
  readonly rotate: number;
  /** The greatest age of a file, in ms; undefined: any. */
  readonly rotateAfter?: number | undefined;
  /** How many files are kept over all workers, but at least one of each worker. */
  readonly keep: number;
  readonly segment: Segmentation;
  readonly mark?: CommentMark | undefined;
  /** This worker's number and how many there are. */
  readonly worker: number;
  readonly workers: number;
  /** The servers' ports in the packets. */
  readonly ports: PortMap;
  readonly log: Logger;
  /** ms until a stopped feed tries again; as `RotatingFiles` does when absent. */
  readonly retry?: number;
  /** ms that a write may take; as `RotatingFiles` does when absent. */
  readonly stall?: number;
}

/**
 * Writes the plaintext of sessions as TCP packets to pcapng files, `<name>-<UTC time>-w<worker>.pcapng`, for Wireshark.
 * Each file can be read alone: a session that continues in the next file is named there again. Never rejects: if the
 * directory cannot be written, the feed is stopped and gives the reason.
 */
export async function createPcapngFeed(options: PcapngOptions): Promise<Feed> {
  const files = new RotatingFiles({
    ...options,
    extension: "pcapng",
    preamble: sectionStart(options.name),
    filler: fillerBlock,
  });
  const clock = createClock();
  // Files for only a few packets would exceed their size, or stay far below it.
  const form = { segment: options.segment, longest: options.rotate / 4, mark: options.mark, ports: options.ports };
  await files.start();
  let sessions = 0;
  return {
    name: options.name,
    get place() {
      return files.place();
    },
    wants: createFilter(options),
    open(session, now) {
      sessions += 1;
      return openPacketFlow(shown(session, options.ports), now, clock, new PacketBlocks(files, session, form));
    },
    pressure: () => files.pressure(),
    counters: () => ({
      name: options.name,
      kind: "pcapng",
      state: files.stopped === undefined ? "running" : "stopped",
      reason: files.stopped,
      sessions,
      packets: files.records,
      bytes: files.bytes,
      dropped: files.dropped,
    }),
    close: () => files.close(),
  };
}
