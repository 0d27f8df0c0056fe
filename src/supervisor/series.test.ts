import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { testSession } from "../control/test-operations.ts";
import { Ring, readSeries, STEP, STEPS, WIDTH } from "../sessions/series.ts";
import { type Sample, Series } from "./series.ts";
import { openSeriesFile } from "./series-file.ts";

const root = mkdtempSync(join(tmpdir(), "clearline-series-"));
after(() => rmSync(root, { recursive: true }));

const NOTHING: Sample = {
  ...{ live: 0, opened: 0, toolsUp: 0, toolsDown: 0, feedsRunning: 0, feedsStopped: 0, feedBytes: 0, feedDropped: 0 },
  bytes: { clientReceived: 0, clientSent: 0, serverReceived: 0, serverSent: 0 },
};
const BEGIN = 1_800_000_000_000;
const QUIET = { warn() {} };

test("Each step has what ended in it and what passed, also after a restart, and gaps are null", async (t) => {
  t.mock.timers.enable({ apis: ["Date", "setInterval"], now: BEGIN });
  let sample = NOTHING;
  const file = join(root, "a.bin");
  const open = () => new Series({ file, log: QUIET, sample: () => sample });
  const first = open();
  const leg = { version: "TLSv1.3", received: 0, sent: 0 };
  const timeline = { hello: 5, serverLeg: 25, decided: 26, clientLeg: 36 };
  const ended = testSession("a", BEGIN, { verdict: "decrypt", outcome: "decrypted", timeline });
  const closed = [{ ...ended, end: BEGIN + 50, clientLeg: { ...leg, resumed: true }, serverLeg: leg }];
  first.note({ opened: [], changed: [], closed });
  sample = { ...sample, opened: 1, live: 3, bytes: { ...sample.bytes, clientSent: 700 } };
  t.mock.timers.tick(STEP);
  sample = { ...sample, opened: 5, bytes: { ...sample.bytes, clientSent: 1_000 } };
  t.mock.timers.tick(STEP);
  await first.close();
  t.mock.timers.tick(3 * STEP);
  // The counters of a new node begin at 0.
  sample = NOTHING;
  const second = open();
  t.mock.timers.tick(STEP);
  const names = ["live", "opened", "decrypted", "clientSent", "clientHandshakeMs", "clientResumed"] as const;
  const query = { since: BEGIN, until: BEGIN + 6 * STEP, step: STEP, names };
  const { series } = readSeries(second.ring, query);
  assert.deepEqual(series, {
    live: [3, 3, 3, null, null, 0],
    opened: [1, 4, 0, null, null, 0],
    decrypted: [1, 0, 0, null, null, 0],
    clientSent: [700, 300, 0, null, null, 0],
    clientHandshakeMs: [10, 0, 0, null, null, 0],
    clientResumed: [1, 0, 0, null, null, 0],
  });
  const wide = readSeries(second.ring, { ...query, step: 6 * STEP, names: ["live", "opened"] });
  assert.deepEqual(wide.series, { live: [3], opened: [5] });
  await second.close();
});

test("The file has a bound; what is old, torn, or from a clock that was ahead is left out", async () => {
  const path = join(root, "b.bin");
  const now = 200_000;
  const file = openSeriesFile(path, new Ring(), now);
  const values = new Float64Array(WIDTH).fill(7);
  for (const step of [now, now - 1, now - 2, now - STEPS - 5, now + 3]) await file.write(step, values);
  file.close();
  const { size, mode } = statSync(path);
  assert.ok(size < 4 * 2 ** 20);
  assert.equal(mode & 0o077, 0);
  const bytes = readFileSync(path);
  const place = (bytes.length - 32) / STEPS;
  bytes.writeDoubleLE(8, 32 + ((now - 1) % STEPS) * place + 16);
  writeFileSync(path, bytes);
  const ring = new Ring();
  openSeriesFile(path, ring, now).close();
  const known = [now, now - 1, now - 2, now - STEPS - 5, now + 3].map((step) => ring.find(step) !== undefined);
  assert.deepEqual(known, [true, false, true, false, false]);
});

test("A file of something else is begun anew, and one that cannot be opened leaves the series in memory", async () => {
  const path = join(root, "c.bin");
  writeFileSync(path, "something else");
  openSeriesFile(path, new Ring(), 5).close();
  const said: string[] = [];
  const log = { warn: (text: string) => void said.push(text) };
  const series = new Series({ file: join(root, "none", "d.bin"), log, sample: () => NOTHING });
  await series.close();
  assert.match(said.join(), /^Cannot read .*d\.bin: ENOENT.*kept in memory alone$/);
  assert.ok(series.ring.find(Math.floor(Date.now() / STEP)));
});
