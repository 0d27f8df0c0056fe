import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { program } from "../../test/needs.ts";
import type { Pki } from "../../test/pki.ts";
import { type Program, scratch, until } from "../../test/processes.ts";
import { dial } from "../ends.ts";
import type { Topology } from "../network.ts";
import { PYTHON } from "../requirements.ts";
import { PORTS } from "../servers.ts";
import { harmless, since } from "./bench.ts";
import { fillFeedOf, fillHistoryOf, SmallDisk } from "./disks.ts";
import type { Fault } from "./fault.ts";
import { type NetworkBench, OVER, openNetworkBench, PORT } from "./network.ts";
import { HALF_HELLO } from "./peers.ts";
import { loseWorkerOf } from "./processes.ts";
import type { Plan } from "./traffic.ts";

const RELOADS = 10;
const RESETS = 2000;
const SYNS = 3000;
/** Clients in a network namespace cost more than those on loopback. */
const PLAN: Plan = { rate: 8, downloads: 4, idle: 4 };

/** What the other files do to listeners on loopback, done to a bridge and a router; and floods. */
export const INLINE: readonly Fault[] = [
  ...(["bridge", "routed"] as const).flatMap((topology) => [
    {
      ...worker("killed", topology, "SIGKILL"),
      promise:
        "Sessions of the other worker are unhurt; those of the dead one are reset, never cut as if complete, and on record; a new worker carries sessions",
    },
    {
      ...worker("hangs", topology, "SIGSTOP"),
      promise: "It is found, killed and replaced, with a log line; sessions of the other worker are unhurt",
    },
    {
      name: `reloads-${nameOf(topology)}`,
      about: `${RELOADS} reloads one after the other (SIGHUP), each with another policy`,
      promise: "No session is hurt, no worker is replaced, and each reload succeeds",
      over: OVER[topology],
      run: (pki: Pki) => reloadOften(pki, topology),
    },
  ]),
  {
    name: "history-disk-full-router",
    about: "The data folder's file system is full, and then has room again",
    promise:
      "No session is hurt; the history says why it stops; with room again, it goes on, and no record of those minutes is missing",
    over: `${OVER.routed}, history`,
    run: fillHistory,
  },
  {
    name: "feed-disk-full-bridge",
    about: "The file system of a pcapng feed is full, and then has room again",
    promise: "No session is hurt; the feed stops, counts what it leaves out, and runs again",
    over: `${OVER.bridge}, pcapng feed`,
    run: fillFeed,
  },
  {
    name: "store-gone-router",
    about: "SIGKILL of Redis, and a new start",
    promise: "No session is hurt; the health says that the node works alone, and then that the store is back",
    over: `${OVER.routed}, shared resumption`,
    run: loseStore,
  },
  {
    name: "thousands-of-resets-inline",
    about: `${RESETS} connections that are reset: at once, or after half a ClientHello`,
    promise: "No other session is hurt, and no session is left of them",
    over: OVER.bridge,
    run: resetMany,
  },
  {
    name: "syn-flood-inline",
    about: `${SYNS} SYNs to another port, 1,000 a second, whose clients answer nothing or do not exist`,
    promise: "No other session is hurt, though overload may bypass new ones; no session is left of them",
    over: OVER.routed,
    run: flood,
  },
];

function nameOf(topology: Topology): string {
  return topology === "bridge" ? "bridge" : "router";
}

function worker(what: string, topology: Topology, signal: "SIGKILL" | "SIGSTOP") {
  return {
    name: `worker-${what}-${nameOf(topology)}`,
    about: `${signal} of a worker`,
    over: OVER[topology],
    async run(pki: Pki): Promise<string> {
      await using bench = await openNetworkBench(topology, pki, {}, { ...PLAN, downloads: 6, idle: 6 });
      return await loseWorkerOf({ node: bench.stage.node, traffic: bench.traffic }, signal);
    },
  };
}

async function reloadOften(pki: Pki, topology: Topology): Promise<string> {
  await using bench = await openNetworkBench(topology, pki, {}, PLAN);
  const { node } = bench.stage;
  const pids = node.pids();
  const config = JSON.parse(readFileSync(node.file, "utf8"));
  const { policy } = config;
  const seen = await harmless(bench, async () => {
    for (let count = 1; count <= RELOADS; count++) {
      const rule = { name: `rule${count}`, match: { host: [`rule${count}.never.example`] }, action: "bypass" };
      writeFileSync(node.file, JSON.stringify({ ...config, policy: { ...policy, rules: [...policy.rules, rule] } }));
      process.kill(node.process.pid, "SIGHUP");
      await until(`reload ${count}`, () => reloadsIn(node.process) === count);
    }
  });
  assert.deepEqual(node.pids(), pids);
  return `${RELOADS} of ${RELOADS} reloads done; ${seen}`;
}

function reloadsIn(node: Program): number {
  return [...node.output().matchAll(/"msg":"Reloaded the configuration"/g)].length;
}

async function fillHistory(pki: Pki): Promise<string> {
  await using disk = new SmallDisk("data");
  const folder = scratch();
  disk.mount(folder);
  await using bench = await openNetworkBench("routed", pki, { folder, config: { feeds: [] } }, PLAN);
  return await fillHistoryOf({ node: bench.stage.node, traffic: bench.traffic }, disk);
}

async function fillFeed(pki: Pki): Promise<string> {
  await using disk = new SmallDisk("captures");
  const folder = scratch();
  disk.mount(folder);
  const feeds = [{ name: "archive", kind: "pcapng", directory: join(folder, "captures"), rotate: "10MB", keep: 2 }];
  await using bench = await openNetworkBench("bridge", pki, { config: { feeds } }, PLAN);
  return await fillFeedOf({ node: bench.stage.node, traffic: bench.traffic }, disk);
}

async function loseStore(pki: Pki): Promise<string> {
  const port = 6390;
  const secret = join(scratch(), "fleet.secret");
  writeFileSync(secret, randomBytes(32), { mode: 0o600 });
  const shared = { tickets: true, shared: `redis://127.0.0.1:${port}`, node: "one", secret };
  let start: (() => Promise<Program>) | undefined;
  let store: Program | undefined;
  await using bench = await openNetworkBench(
    "routed",
    pki,
    {
      config: { resumption: shared },
      async prepare({ node }) {
        start = async () => {
          const args = ["--port", String(port), "--save", "", "--appendonly", "no"];
          const started = node.start(program("redis-server"), args);
          await started.shows(/Ready to accept connections/);
          return started;
        };
        store = await start();
      },
    },
    PLAN,
  );
  const state = (wanted: string) =>
    until(`the store ${wanted}`, async () => (await bench.stage.node.stats()).store?.state === wanted);
  await state("connected");
  let [alone, back] = ["", ""];
  const seen = await harmless(bench, async () => {
    let begun = performance.now();
    await store!.stop("SIGKILL");
    await state("alone");
    alone = since(begun);
    begun = performance.now();
    store = await start!();
    await state("connected");
    back = since(begun);
  });
  return `alone after ${alone}, connected again after ${back}; ${seen}`;
}

async function resetMany(pki: Pki): Promise<string> {
  await using bench = await openNetworkBench("bridge", pki, {}, PLAN);
  const { client, server } = bench.stage.network;
  const begun = performance.now();
  let rate = 0;
  const seen = await harmless(bench, async () => {
    let count = 0;
    const one = async () => {
      for (let at = count++; at < RESETS; at = count++) {
        const socket = await dial(client, { address: server.address[at % 2 === 0 ? 4 : 6], port: PORT });
        if (at % 3 === 1) socket.write(HALF_HELLO);
        socket.resetAndDestroy();
      }
    };
    await Promise.all(Array.from({ length: 8 }, one));
    rate = RESETS / ((performance.now() - begun) / 1000);
  });
  await nothingLeft(bench);
  return `${rate.toFixed(0)} resets a second; ${seen}; afterwards no session is live`;
}

async function flood(pki: Pki): Promise<string> {
  const root = readFileSync(pki.root.certificate, "utf8");
  await using bench = await openNetworkBench("routed", pki, { config: { overload: {} } }, PLAN, root);
  const { client, server } = bench.stage.network;
  const address = client.address[4];
  const nobody = address.replace(/\d+$/, "77");
  // The client's own, whose kernel resets what comes back, and one that nobody has.
  const sources = [address, nobody];
  const script = new URL("../programs/syn-flood.py", import.meta.url).pathname;
  const seen = await harmless(bench, () =>
    client.must(PYTHON, [script, String(SYNS), String(PORTS.https), server.address[4], ...sources]),
  );
  const { bypassed } = (await bench.stage.node.stats()).overload;
  await nothingLeft(bench);
  const { length } = await bench.stage.node.sessions({ client: nobody });
  assert.ok(length > 0, "no SYN has reached the node");
  return `${seen}; overload bypassed ${bypassed}; afterwards no session is live`;
}

/** Ends the traffic. Resolves once no session is live. */
async function nothingLeft({ traffic, stage }: NetworkBench): Promise<void> {
  await traffic[Symbol.asyncDispose]();
  await until("the ends of all sessions", async () => (await stage.node.stats()).sessions.live === 0, 60_000);
}
