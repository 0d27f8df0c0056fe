import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { pino } from "pino";
import { until } from "../../test/processes.ts";
import { SESSION } from "./feed-compliance.ts";
import { createKeylogFeed } from "./keylog.ts";
import { occupyThreads } from "./test-threads.ts";

let folder: string;
let file: string;
let log: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "clearline-keylog-"));
  file = join(folder, "keys", "tls.log");
  log = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const make = (more: Partial<Parameters<typeof createKeylogFeed>[0]> = {}) =>
  createKeylogFeed({
    ...{ name: "keys", file, rotate: 100_000_000, keep: 10, worker: 0 },
    log: pino({ base: null }, { write: (line) => log.push(JSON.parse(line).msg) }),
    retry: 20,
    ...more,
  });

const run = (program: string, ...args: string[]) => execFileSync(program, args);

const line = (number: number) => `CLIENT_RANDOM ${String(number).padStart(64, "0")} ${"ab".repeat(48)}\n`;

test("All workers write whole lines to one file, which only its owner can read", async () => {
  const workers = await Promise.all([make(), make(), make()]);
  const wanted: string[] = [];
  for (let round = 0; round < 500; round++) {
    for (const [index, feed] of workers.entries()) {
      wanted.push(line(round * 3 + index));
      feed.takeKey!(Buffer.from(wanted.at(-1)!));
    }
    if (round % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  for (const feed of workers) await feed.close();
  assert.deepEqual(
    readFileSync(file, "latin1")
      .split(/(?<=\n)/)
      .sort(),
    wanted.sort(),
  );
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(statSync(join(file, "..")).mode & 0o777, 0o700);
  const { packets, bytes, dropped } = workers[0]!.counters();
  assert.deepEqual({ packets, bytes, dropped }, { packets: 500, bytes: 500 * line(0).length, dropped: 0 });
});

test("A file that others could read is closed to them, and keeps its lines", async () => {
  mkdirSync(join(file, ".."));
  writeFileSync(file, "CLIENT_RANDOM cut");
  chmodSync(file, 0o644);
  const feed = await make();
  feed.takeKey!(Buffer.from(line(1)));
  await feed.close();
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(readFileSync(file, "latin1"), `CLIENT_RANDOM cut\n${line(1)}`);
});

test("A symbolic link is not followed, and only a regular file is written", async () => {
  mkdirSync(join(file, ".."));
  for (const [lay, reason] of [
    [() => symlinkSync(join(folder, "elsewhere"), file), /ELOOP/],
    [() => run("mkfifo", file), /not a file/],
    [() => mkdirSync(file), /EISDIR/],
  ] as const) {
    lay();
    const feed = await make();
    assert.match(feed.counters().reason!, reason);
    assert.equal(feed.place, undefined);
    feed.takeKey!(Buffer.from(line(1)));
    assert.equal(feed.counters().dropped, 1);
    await feed.close();
    rmSync(file, { recursive: true });
  }
});

test("The feed counts decrypted sessions only", async () => {
  const feed = await make();
  assert.ok(feed.wants(SESSION));
  assert.ok(!feed.wants({ ...SESSION, flow: "bypassed" }));
  const flow = feed.open(SESSION, Date.now());
  flow.data("client", Buffer.from("never written"));
  flow.close();
  assert.equal(feed.place, file);
  await feed.close();
  assert.equal(readFileSync(file, "latin1"), "");
  assert.equal(feed.counters().sessions, 1);
});

test("A file that was moved away is created again", async () => {
  const feed = await make();
  feed.takeKey!(Buffer.from(line(1)));
  await until("the first line", () => feed.counters().packets === 1);
  renameSync(file, `${file}.1`);
  let number = 1;
  await until("a file that is made again", () => {
    number += 1;
    feed.takeKey!(Buffer.from(line(number)));
    return statSync(file, { throwIfNoEntry: false }) !== undefined;
  });
  await feed.close();
  const lines = `${readFileSync(`${file}.1`, "latin1")}${readFileSync(file, "latin1")}`;
  assert.equal(lines, Array.from({ length: number }, (_, index) => line(index + 1)).join(""));
});

/** What is in the folder of the file, the oldest first. */
const files = () =>
  readdirSync(join(file, "..")).sort((a, b) => Number(a === "tls.log") - Number(b === "tls.log") || (a < b ? -1 : 1));

for (const keep of [3, 1]) {
  test(`Of files that are full ${keep} are kept, with the one that is written`, async () => {
    const workers = await Promise.all([0, 1].map((worker) => make({ rotate: 4 * line(0).length, keep, worker })));
    for (let number = 0; number < 40; number += 1) {
      const feed = workers[number % 2]!;
      feed.takeKey!(Buffer.from(line(number)));
      await until("the line", () => feed.counters().packets === Math.floor(number / 2) + 1);
    }
    for (const feed of workers) await feed.close();
    assert.equal(files().length, keep);
    assert.match(files()[0]!, keep === 1 ? /^tls\.log$/ : /^tls-\d{8}T\d{6}\.\d{3}Z-w[01]\.log$/);
    const lines = files().map((name) => readFileSync(join(file, "..", name), "latin1"));
    assert.ok(lines.at(-1)!.endsWith(line(39)));
    for (const one of lines) assert.ok(one.length <= 8 * line(0).length && statSync(file).size > 0);
    assert.deepEqual(log, []);
  });
}

test("Workers that find their file full at the same time move it away once", async () => {
  const workers = await Promise.all([0, 1].map((worker) => make({ rotate: 4 * line(0).length, keep: 100, worker })));
  const wanted: string[] = [];
  for (let round = 0; round < 40; round += 1) {
    for (const [index, feed] of workers.entries()) {
      wanted.push(line(2 * round + index));
      feed.takeKey!(Buffer.from(wanted.at(-1)!));
    }
    for (const feed of workers) await until("the line", () => feed.counters().packets === round + 1);
  }
  for (const feed of workers) await feed.close();
  const found = files().map((name) => readFileSync(join(file, "..", name), "latin1"));
  assert.deepEqual(
    found
      .join("")
      .split(/(?<=\n)/)
      .sort(),
    wanted,
  );
  assert.ok(found.length > 5);
  for (const full of found.slice(0, -1)) assert.ok(full.length >= 4 * line(0).length);
  assert.deepEqual(log, []);
});

test("A file that is too old is moved away, and others of its folder stay", async () => {
  const feed = await make({ rotateAfter: 1, keep: 1 });
  writeFileSync(join(file, "..", "tls-notes.log"), "mine");
  feed.takeKey!(Buffer.from(line(1)));
  await until("the first line", () => feed.counters().packets === 1);
  /** For a moment there is no file of this name. */
  const content = () => {
    try {
      return readFileSync(file, "latin1");
    } catch {
      return undefined;
    }
  };
  await until("a file that is made again", () => {
    feed.takeKey!(Buffer.from(line(2)));
    return content()?.startsWith(line(2));
  });
  await feed.close();
  assert.deepEqual(files(), ["tls-notes.log", "tls.log"]);
});

test("A full disk stops the feed, which goes on with a new line when there is room", async (t) => {
  const disk = join(file, "..");
  mkdirSync(disk);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=16k", "none", disk], { stdio: "ignore" });
  } catch {
    return t.skip("needs root, to mount a small disk");
  }
  try {
    const feed = await make();
    let number = 0;
    await until("a full disk", () => {
      for (const end = number + 20; number < end; number += 1) feed.takeKey!(Buffer.from(line(number)));
      return log.length > 0;
    });
    assert.equal(log[0], "feed stopped: no space left on device (ENOSPC)");
    assert.ok(feed.counters().dropped > 0);
    execFileSync("mount", ["-o", "remount,size=1m", disk]);
    await until("a feed that runs again", () => feed.counters().state === "running");
    feed.takeKey!(Buffer.from(line(1_000_000)));
    await feed.close();
    const lines = readFileSync(file, "latin1").split(/(?<=\n)/);
    assert.equal(lines.at(-1), line(1_000_000));
    const cut = lines.filter((one) => one.length !== line(0).length && one !== "\n");
    assert.ok(cut.length <= 1, "at most the line at which the disk was full is cut");
  } finally {
    execFileSync("umount", [disk]);
  }
});

test("A disk that hangs stops the feed in health, and no line is lost once it goes on", async (t) => {
  const feed = await make({ stall: 50 });
  feed.takeKey!(Buffer.from(line(1)));
  await until("the first line", () => feed.counters().packets === 1);
  const hang = occupyThreads();
  t.after(hang.end);
  feed.takeKey!(Buffer.from(line(2)));
  await until("a feed that has stopped", () => feed.counters().state === "stopped");
  assert.deepEqual([feed.counters().reason, feed.place], ["a write has not ended for 0.05 s", undefined]);
  feed.takeKey!(Buffer.from(line(3)));
  hang.end();
  await until("a feed that runs again", () => feed.counters().packets === 3);
  assert.deepEqual([feed.counters().state, feed.counters().dropped], ["running", 0]);
  assert.equal(readFileSync(file, "latin1"), line(1) + line(2) + line(3));
  assert.deepEqual(log, ["feed stopped: a write has not ended for 0.05 s", "feed runs again"]);
  await feed.close();
});

test("A feed whose disk hangs can be closed, and writes its lines later", async (t) => {
  const feed = await make({ stall: 50 });
  const hang = occupyThreads();
  t.after(hang.end);
  feed.takeKey!(Buffer.from(line(1)));
  await feed.close();
  assert.equal(feed.counters().state, "stopped");
  hang.end();
  await until("its line", () => readFileSync(file, "latin1") === line(1));
});

test("A feed can be closed when its disk hangs only after that", async (t) => {
  const feed = await make({ stall: 200 });
  const hang = occupyThreads();
  t.after(hang.end);
  feed.takeKey!(Buffer.from(line(1)));
  // The write waits for a thread now; the one behind it will wait for those that are occupied again.
  await new Promise((resolve) => setImmediate(resolve));
  const again = occupyThreads();
  t.after(again.end);
  feed.takeKey!(Buffer.from(line(2)));
  const closed = feed.close();
  hang.end();
  await closed;
  assert.deepEqual([feed.counters().packets, feed.counters().state], [1, "stopped"]);
  again.end();
  await until("the second line", () => readFileSync(file, "latin1") === line(1) + line(2));
});

test("With one file kept, no worker writes into the one that another has deleted", async () => {
  const [one, other] = await Promise.all([make({ keep: 1, rotate: 1000 }), make({ keep: 1, rotate: 1000, worker: 1 })]);
  other.takeKey!(Buffer.from(line(0)));
  await until("the other's line", () => other.counters().packets === 1);
  let number = 1;
  const before = statSync(file).ino;
  while (statSync(file).ino === before) {
    one.takeKey!(Buffer.from(line(number++)));
    await until("the line", () => one.counters().packets === number - 1);
  }
  other.takeKey!(Buffer.from(line(777)));
  await until("the other's second line", () => other.counters().packets === 2);
  assert.ok(readFileSync(file, "latin1").endsWith(line(777)));
  await one.close();
  await other.close();
  assert.deepEqual(readdirSync(join(folder, "keys")), ["tls.log"]);
});
