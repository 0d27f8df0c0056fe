import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { freePort, until } from "../../test/processes.ts";
import { CONFIG } from "../config/schema.ts";
import { ConfigError } from "../errors.ts";
import { log } from "../log.ts";
import type { FromWorker, WorkerSetup } from "../messages.ts";
import type { PolicySource } from "../policy/rule.ts";
import { faultActions } from "../policy/test-policy.ts";
import { type ListedWorker, restartAfter, Workers } from "./workers.ts";

// The workers are real ones, with their own processes.
log.level = "silent";
process.env["CLEARLINE_LOG_LEVEL"] = "silent";

const POLICY: Omit<PolicySource, "lists"> = {
  default: "bypass",
  versions: { min: "TLSv1.2", max: "TLSv1.3", belowMin: "bypass", aboveMax: "bypass" },
  rules: [],
  certificate: faultActions("drop"),
  clientCertificate: { action: "bypass", for: 1000 },
};

interface Started {
  readonly workers: Workers;
  /** What was heard, in order: kinds of messages, and deaths. */
  readonly heard: string[];
  died(worker: number): Promise<void>;
}

async function start(
  t: TestContext,
  make: (worker: number) => WorkerSetup,
  silence?: number,
  hear: (message: FromWorker, worker: number) => void = () => {},
): Promise<Started> {
  const heard: string[] = [];
  const deaths = new Map<number, () => void>();
  const events = {
    onMessage(message: FromWorker, worker: number) {
      heard.push(message.kind);
      hear(message, worker);
    },
    onStatus: () => {},
    onDeath(worker: number) {
      heard.push(`death of ${worker}`);
      deaths.get(worker)?.();
    },
  };
  const workers = new Workers(2, events, silence === undefined ? {} : { silence });
  t.after(() => workers.stop(0));
  await workers.start(make);
  return { workers, heard, died: (worker) => new Promise((resolve) => deaths.set(worker, resolve)) };
}

function setupWith(ports: readonly number[]): (worker: number) => WorkerSetup {
  const listeners = ports.map((port) => ({ name: `at-${port}`, mode: "explicit", address: `127.0.0.1:${port}` }));
  const config = { ...CONFIG.parse({ listeners, timeouts: { drain: "100ms" } }), dataDir: "/nonexistent" };
  return (worker) => ({
    worker,
    workers: 2,
    config,
    capacity: { sessions: 100, bound: "limits.sessions" },
    policy: POLICY,
    lists: { bypass: [], decrypt: [] },
    bypasses: [],
    reach: { listeners: {}, places: [] },
    offered: [],
    pageTemplate: undefined,
    keys: [],
    roots: [],
    demanding: [],
    binding: [],
    pinning: [],
    user: undefined,
    resumption: { secret: new Uint8Array(32), generation: "", ticketKeys: [] },
    failedTools: [],
    inline: undefined,
  });
}

/** "open", or why it is not. */
async function knock(port: number): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  const answer = await once(socket, "connect").then(
    () => "open",
    (error: NodeJS.ErrnoException) => error.code ?? "",
  );
  socket.destroy();
  return answer;
}

/** Worker 0 once it is another process and has told of itself: it listens then. */
async function successorOf(workers: Workers, pid: number): Promise<ListedWorker> {
  return until("a successor that has told of itself", () => {
    const [first] = workers.list();
    return first?.status !== undefined && first.pid !== pid && first;
  });
}

test("A new setup does not wait for a dead worker, which gets it when it is started again", async (t) => {
  const [before, after] = [await freePort(), await freePort()];
  const { workers, died } = await start(t, setupWith([before]));
  const { pid } = workers.list()[0]!;
  const death = died(0);
  process.kill(pid, "SIGKILL");
  await death;
  assert.equal(workers.list()[0]?.status, undefined);
  await workers.setup(setupWith([after]));
  assert.equal(await knock(after), "open");
  assert.equal(await knock(before), "ECONNREFUSED");
  assert.equal((await successorOf(workers, pid)).restarts, 1);
  assert.equal(await knock(before), "ECONNREFUSED");
});

test("A worker that dies at once is started later each time, until it has run well for a while", () => {
  const delays: number[] = [];
  let failures = 0;
  for (const lived of [10, 10, 10, 10, 10, 10, 10, 31_000, 10, 10]) {
    const next = restartAfter(lived, failures);
    delays.push(next.delay);
    failures = next.failures;
  }
  assert.deepEqual(delays, [100, 200, 400, 800, 1_600, 3_200, 5_000, 0, 100, 200]);
});

test("A worker that hangs is killed, and another takes its place", async (t) => {
  const port = await freePort();
  const { workers, died } = await start(t, setupWith([port]), 5_000);
  const { pid } = workers.list()[0]!;
  const death = died(0);
  process.kill(pid, "SIGSTOP");
  await death;
  assert.ok((await successorOf(workers, pid)).restarts >= 1);
  assert.equal(await knock(port), "open");
});

test("A new setup does not wait long for a worker that hangs: it is replaced, and its successor has it", async (t) => {
  const [before, after] = [await freePort(), await freePort()];
  const { workers } = await start(t, setupWith([before]), 20_000);
  // Worker 0 is known to live by its reports: one that has not reported has more time.
  await until("a report", () => workers.list()[0]?.status !== undefined);
  const { pid } = workers.list()[0]!;
  process.kill(pid, "SIGSTOP");
  assert.deepEqual(await workers.setup(setupWith([after])), [0]);
  assert.equal(await knock(after), "open");
  assert.equal((await successorOf(workers, pid)).restarts, 1);
  assert.equal(await knock(before), "ECONNREFUSED");
});

test("A setup that a worker cannot use changes nothing", async (t) => {
  const port = await freePort();
  const { workers } = await start(t, setupWith([port]));
  const other = createServer();
  await once(other.listen(0, "127.0.0.1"), "listening");
  const taken = (other.address() as AddressInfo).port;
  const free = await freePort();
  await assert.rejects(workers.setup(setupWith([free, taken])), (error: Error) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /another program listens there/);
    return true;
  });
  other.close();
  assert.equal(await knock(port), "open");
  assert.equal(await knock(free), "ECONNREFUSED");
  assert.equal(
    workers.list().reduce((sum, { restarts }) => sum + restarts, 0),
    0,
  );
});

test("Two setups at once are answered each for itself", async (t) => {
  const { workers } = await start(t, setupWith([await freePort()]));
  const other = createServer();
  await once(other.listen(0, "127.0.0.1"), "listening");
  const taken = (other.address() as AddressInfo).port;
  const [good, bad] = await Promise.allSettled([
    workers.setup(setupWith([await freePort()])),
    workers.setup(setupWith([taken])),
  ]);
  other.close();
  assert.deepEqual([good?.status, bad?.status], ["fulfilled", "rejected"]);
});

test("A worker whose message cannot be handled is replaced, and the other one lives", async (t) => {
  const port = await freePort();
  let isSane = false;
  const { workers } = await start(t, setupWith([port]), undefined, (_, worker) => {
    if (!isSane && worker === 0) throw new TypeError("changes is not iterable");
  });
  const [first, second] = workers.list();
  // Each knock is a session, which its worker reports. The kernel chooses the worker.
  await until("another worker 0", async () => {
    await knock(port);
    return workers.list()[0]!.pid !== first!.pid;
  });
  isSane = true;
  assert.ok((await successorOf(workers, first!.pid)).restarts >= 1);
  assert.equal(workers.list()[1]!.pid, second!.pid);
});

test("A worker's last messages are handled before its end", async (t) => {
  const port = await freePort();
  const { workers, heard } = await start(t, setupWith([port]));
  for (let at = 0; at < 40; at += 1) assert.equal(await knock(port), "open");
  // The kernel has accepted the connections, but a busy worker may have none of them yet.
  await until("a session", () => heard.includes("sessions"));
  for (let at = 0; at < 40; at += 1) assert.equal(await knock(port), "open");
  await workers.stop(0);
  for (const worker of [0, 1]) assert.ok(heard.includes(`death of ${worker}`));
  const last = heard.lastIndexOf("sessions");
  assert.ok(last >= 0 && last < Math.max(heard.indexOf("death of 0"), heard.indexOf("death of 1")));
});
