import assert from "node:assert/strict";
import { join } from "node:path";
import type { Pki } from "../../test/pki.ts";
import { pause } from "../../test/processes.ts";
import { recovery } from "./bench.ts";
import type { Fault } from "./fault.ts";
import { assertRecorded, fingerprint, Running } from "./kills.ts";
import { inModes, type Mode, openMode } from "./modes.ts";

/** ms after SIGTERM, and after the start. */
const STOPPING = [0, 400, 1200];
const STARTING = [60, 500, 1200];

/** The guide's upgrade, "stop, `git pull`, start", that is cut short. */
export const UPGRADES: readonly Fault[] = [
  ...inModes(["loopback", "router"], {
    name: "killed-in-upgrade",
    about: `SIGKILL of the supervisor during an upgrade: ${STOPPING.length} times while it stops, ${STARTING.length} times while it starts`,
    promise:
      "The next start carries sessions with the same CA; the history is sound, with every session that ended more than 2 s before",
    parts: "history",
    run: killInUpgrade,
  }),
];

async function killInUpgrade(pki: Pki, mode: Mode): Promise<string> {
  // Downloads keep a stop waiting.
  await using bench = await openMode(mode, pki, { config: { timeouts: { drain: "2s" } } }, { downloads: 2, idle: 0 });
  await using running = new Running(bench);
  const { node, traffic } = bench;
  const authority = fingerprint(bench);
  const rounds = [...STOPPING.map((ms) => ({ ms, starts: false })), ...STARTING.map((ms) => ({ ms, starts: true }))];
  const times: number[] = [];
  let [begun, checked] = [0, 0];
  for (const { ms, starts } of rounds) {
    await traffic.whole(mode === "loopback" ? 60 : 30, begun);
    const stopped = performance.now();
    if (starts) {
      await running.program.stop();
      running.begin();
    } else process.kill(running.program.pid, "SIGTERM");
    await pause(ms);
    await running.kill();
    const due = traffic.visits.filter(({ start, end, error }) => start > begun && end < stopped - 2000 && !error);
    checked += assertRecorded(join(node.folder, "data/history.db"), due);
    times.push(await running.restart());
    assert.equal(fingerprint(bench), authority, "another CA was made");
    begun = performance.now();
    await recovery(traffic, begun);
  }
  const slowest = Math.max(...times).toFixed(0);
  return `${times.length} of ${rounds.length} starts carried sessions, the slowest after ${slowest} ms; the CA is the same, the history was sound each time, with all ${checked} sessions that were due`;
}
