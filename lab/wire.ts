import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Program, scratch, until } from "../test/processes.ts";
import { type Frame, readFrame } from "./frame.ts";
import type { Host } from "./network.ts";

/** The frames that cross an interface, captured by tcpdump. */
export interface Wire extends AsyncDisposable {
  /** The pcap file, which grows during the capture. */
  readonly file: string;
  /** Every frame so far, in order. */
  frames(): readonly Frame[];
  /** Resolves with the first answer of `choose` that is not undefined. */
  shows<T>(what: string, choose: (frames: readonly Frame[]) => T | undefined): Promise<T>;
}

let captures = 0;

/** Captures whole frames at a host's interface until disposed of. `filter` is a tcpdump expression. */
export async function watch(host: Host, device: string, filter = ""): Promise<Wire> {
  const file = join(scratch(), `${captures++}-${device}.pcap`);
  // "-Z root": tcpdump would otherwise become another user, who may not write to root's folder.
  const args = ["-i", device, "-w", file, "-U", "--immediate-mode", "-s", "0", "-B", "16384", "-Z", "root"];
  const tcpdump: Program = host.start("tcpdump", filter === "" ? args : [...args, filter]);
  await tcpdump.shows(/listening on/);
  const reader = createReader(file);
  return {
    file,
    frames: reader,
    shows: async (what, choose) => {
      const found = await until(`${what} on ${device}`, () => {
        const answer = choose(reader());
        return answer === undefined ? undefined : { answer };
      });
      return found.answer;
    },
    [Symbol.asyncDispose]: async () => void (await tcpdump.stop("SIGINT")),
  };
}

const FILE_HEADER = 24;
const RECORD_HEADER = 16;

/** Reads a growing pcap file (little-endian, µs): each call returns all complete frames so far. */
function createReader(file: string): () => readonly Frame[] {
  const frames: Frame[] = [];
  let at = FILE_HEADER;
  return () => {
    const bytes = readFileSync(file);
    while (at + RECORD_HEADER <= bytes.length) {
      const length = bytes.readUInt32LE(at + 8);
      if (at + RECORD_HEADER + length > bytes.length) break;
      const time = bytes.readUInt32LE(at) * 1000 + bytes.readUInt32LE(at + 4) / 1000;
      frames.push(readFrame(time, bytes.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length)));
      at += RECORD_HEADER + length;
    }
    return frames;
  };
}
