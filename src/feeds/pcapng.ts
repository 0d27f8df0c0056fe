import type { Logger } from "pino";
import type { Feed, FeedFilter } from "./feed.ts";
import { createFilter } from "./filter.ts";
import { createClock, openPacketFlow } from "./packet-flow.ts";
import { sectionStart } from "./pcapng-format.ts";
import { type CommentMark, PacketBlocks } from "./pcapng-packets.ts";
import { RotatingFiles } from "./rotating-files.ts";

export interface PcapngOptions extends FeedFilter {
  readonly name: string;
  /** Made, 0700, when missing. Its files are 0600. */
  readonly directory: string;
  /** A file's greatest length, in bytes. */
  readonly rotate: number;
  /** ms after which a file is followed by the next; undefined: however old it is. */
  readonly rotateAfter?: number | undefined;
  /** Files kept over all workers, the newest; at least one of each worker. */
  readonly keep: number;
  readonly mark?: CommentMark | undefined;
  /** This worker's number and how many there are. */
  readonly worker: number;
  readonly workers: number;
  readonly log: Logger;
  /** ms until a stopped feed tries again; 30,000 when absent. */
  readonly retry?: number;
}

/**
 * The plaintext of every session as TCP packets in pcapng files, `<name>-<UTC time>-w<worker>.pcapng`, that Wireshark
 * reads. Each file can be read by itself: a session that goes on in the next is named there again. Never throws: a
 * directory that cannot be written makes a feed that is stopped and says why.
 */
export async function createPcapngFeed(options: PcapngOptions): Promise<Feed> {
  const files = new RotatingFiles({
    ...options,
    extension: "pcapng",
    preamble: sectionStart(options.name),
  });
  const clock = createClock();
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
      return openPacketFlow(session, now, clock, new PacketBlocks(files, session, options.mark));
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
