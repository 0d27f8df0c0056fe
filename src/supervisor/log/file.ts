import { LOG_FILES, type LogTarget } from "../../config/log-section.ts";
import { RotatingFiles } from "../../feeds/rotating-files.ts";
import { log } from "../../log.ts";
import type { Target } from "./line.ts";

/** Files of JSON lines, of which the newest are kept. */
export async function createFileTarget(target: Extract<LogTarget, { kind: "file" }>): Promise<Target> {
  const { directory, rotate, rotateAfter, keep } = target;
  const files = new RotatingFiles({
    ...{ name: LOG_FILES.stem, directory, rotate, rotateAfter, keep, worker: 0, workers: 1 },
    ...{ extension: LOG_FILES.extension, preamble: Buffer.alloc(0), log: log.child({ target: directory }) },
  });
  await files.start();
  return {
    name: directory,
    get dropped() {
      return files.dropped;
    },
    get stopped() {
      return files.stopped;
    },
    take({ json }) {
      const bytes = Buffer.from(json);
      // The writer takes multiples of four: JSON may end with spaces.
      const length = Math.ceil((bytes.length + 1) / 4) * 4;
      files.turn(length);
      const at = files.room(length);
      if (at < 0) return;
      const place = files.block.bytes.subarray(at, at + length);
      place.fill(SPACE);
      bytes.copy(place);
      place[length - 1] = LINE_END;
    },
    close: () => files.close(),
  };
}

const SPACE = 0x20;
const LINE_END = 0x0a;
