import type { End } from "./end.ts";
import { NOTHING_NOW } from "./layer.ts";
import { SCRATCH } from "./loop.ts";
import { until } from "./wait.ts";

/** ms in which the last bytes must have been taken. */
const PATIENCE = 2_000;
/** What is thrown away at a time, in reads. A peer that never stops sending would keep the process busy. */
const TURNS = 8;

/**
 * Sends the last bytes of a connection, at most SCRATCH of them, and closes it. What the peer still sends is read and thrown
 * away: a close with unread bytes makes the kernel answer with a RST, which would overtake the message. A peer that keeps its own
 * direction open is reset after that time. Never rejects.
 */
export async function farewell(end: End, bytes: Uint8Array): Promise<void> {
  if (!end.isOpen || end.isLeaving) return;
  end.isLeaving = true;
  const { scratch, scratchAt } = end.loop;
  let isSaid = bytes.length === 0;
  let isFinished = false;
  try {
    await until(
      [end],
      () => {
        if (!end.flush()) return undefined;
        if (!isSaid) {
          isSaid = true;
          scratch.set(bytes.subarray(0, SCRATCH));
          if (!end.write(scratchAt, Math.min(bytes.length, SCRATCH))) return undefined;
        }
        if (!isFinished) {
          if (!end.finish()) return undefined;
          isFinished = true;
          end.fin();
        }
        for (let turn = 0; turn < TURNS; turn += 1) {
          const read = end.read(scratchAt, SCRATCH);
          if (read === NOTHING_NOW) return undefined;
          if (read < 0) return true;
        }
        // Others have their turn, and so has the clock.
        if (end.task) end.loop.enqueue(end.task);
        return undefined;
      },
      { timeout: PATIENCE, late: "The peer did not take the last bytes" },
    );
  } catch {
    end.reset();
  }
  end.close();
}
