import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { carryingHaproxy } from "../../bench/haproxy.ts";
import { program } from "../../test/needs.ts";
import type { Pki } from "../../test/pki.ts";
import { accepts, freePort, type Program, scratch, until } from "../../test/processes.ts";
import { FEED, harmless, openBench, since } from "./bench.ts";
import type { Fault } from "./fault.ts";
import { inModes, type Mode, type ModeBench, openMode, type Place } from "./modes.ts";
import { describe } from "./traffic.ts";

/** The programs around the node: the shared store, proxy tools, a feed's reader. */
export const PARTS: readonly Fault[] = [
  ...inModes(["loopback", "router"], {
    name: "store-gone",
    about: "SIGKILL of Redis, and a new start",
    promise: "No session is hurt; the health says that the node works alone, and then that the store is back",
    parts: "shared resumption",
    run: (pki, mode) => loseStore(pki, mode, "SIGKILL"),
  }),
  ...inModes(["loopback", "bridge"], {
    name: "store-hangs",
    about: "SIGSTOP of Redis, and SIGCONT",
    promise: "As above",
    parts: "shared resumption",
    run: (pki, mode) => loseStore(pki, mode, "SIGSTOP"),
  }),
  ...inModes(["loopback", "router"], {
    name: "proxy-tool-dead",
    about: "SIGKILL of HAProxy as a proxy tool, `onFailure: bypass`, and a new start",
    promise:
      "Sessions inside it end with a reset; new ones go without it, and through it once it is back; the records name the tool",
    parts: "proxy tool",
    run: (pki, mode) => loseProxy(pki, mode, "SIGKILL"),
  }),
  ...inModes(["loopback", "bridge"], {
    name: "proxy-tool-hung",
    about: "SIGSTOP of HAProxy as a proxy tool, `onFailure: bypass`, and SIGCONT",
    promise: "Heartbeats find it; new sessions go without it, and through it once it goes on",
    parts: "proxy tool",
    run: (pki, mode) => loseProxy(pki, mode, "SIGSTOP"),
  }),
  ...inModes(["loopback"], {
    name: "feed-reader-stops",
    about: "A reader of a pcap-over-ip feed that takes no more bytes",
    promise:
      "No session is hurt; the reader is disconnected, or what it misses is counted; a second reader gets its copy",
    parts: "pcap-over-ip feed",
    run: stopReader,
  }),
];

async function loseStore(pki: Pki, mode: Mode, signal: "SIGKILL" | "SIGSTOP"): Promise<string> {
  const port = await freePort();
  const config = {
    resumption: { tickets: true, shared: `redis://127.0.0.1:${port}`, node: "one", secret: "./fleet.secret" },
  };
  const prepare = (folder: string) => writeFileSync(join(folder, "fleet.secret"), randomBytes(32), { mode: 0o600 });
  let startStore: (() => Promise<Program>) | undefined;
  let store: Program | undefined;
  const beside = async (place: Place) => {
    startStore = () => redisIn(place, port);
    store = await startStore();
  };
  try {
    await using bench = await openMode(mode, pki, { config, prepare, beside });
    const state = (wanted: string) =>
      until(`the store ${wanted}`, async () => (await bench.node.stats()).store?.state === wanted);
    await state("connected");
    let [alone, back] = ["", ""];
    const seen = await harmless(bench, async () => {
      let begun = performance.now();
      process.kill(store!.pid, signal);
      await state("alone");
      alone = since(begun);
      await bench.traffic.whole(mode === "loopback" ? 40 : 20, performance.now());
      begun = performance.now();
      if (signal === "SIGSTOP") process.kill(store!.pid, "SIGCONT");
      else store = await startStore!();
      await state("connected");
      back = since(begun);
    });
    return `alone after ${alone}, connected again after ${back}; ${seen}`;
  } finally {
    await store?.stop("SIGKILL");
  }
}

async function redisIn(place: Place, port: number): Promise<Program> {
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", scratch()];
  const started = place.start(program("redis-server"), args);
  await started.shows(/Ready to accept connections/);
  return started;
}

/** HAProxy as a proxy tool. */
async function haproxyIn(place: Place, port: number, back: number): Promise<Program> {
  const file = join(scratch(), "haproxy.cfg");
  writeFileSync(file, carryingHaproxy(port, back));
  const started = place.start(program("haproxy"), ["-db", "-f", file]);
  await until("the tool's listener", async () => (await place.must("ss", ["-Hltn", `sport = :${port}`])) !== "");
  return started;
}

async function loseProxy(pki: Pki, mode: Mode, signal: "SIGKILL" | "SIGSTOP"): Promise<string> {
  const ports = { port: await freePort(), back: await freePort() };
  let startTool: (() => Promise<Program>) | undefined;
  let tool: Program | undefined;
  const beside = async (place: Place) => {
    startTool = () => haproxyIn(place, ports.port, ports.back);
    tool = await startTool();
  };
  const enough = mode === "loopback" ? 40 : 20;
  const heartbeat = { period: "250ms", timeout: "2s", retries: 2, recovery: "500ms" };
  const places = { address: `127.0.0.1:${ports.port}`, returnAddress: `127.0.0.1:${ports.back}` };
  const tools = [{ name: "dlp", kind: "proxy", ...places, onFailure: "bypass", heartbeat }];
  try {
    await using bench = await openMode(mode, pki, { config: { tools }, beside });
    const { node, traffic } = bench;
    const state = (wanted: string) =>
      until(`the tool ${wanted}`, async () => (await node.stats()).tools[0]?.state === wanted);
    const inside = traffic.finish();
    let start = performance.now();
    process.kill(tool!.pid, signal);
    await state("down");
    const found = since(start);
    const without = await traffic.whole(enough, performance.now());
    assertWhole(without, "new sessions without the tool failed");
    start = performance.now();
    if (signal === "SIGSTOP") process.kill(tool!.pid, "SIGCONT");
    else tool = await startTool!();
    await state("up");
    const back = since(start);
    const through = await traffic.whole(enough, performance.now());
    assertWhole(through, "new sessions through the tool failed");
    const cut = (await inside).filter(({ error }) => error === "cut short").length;
    assert.equal(cut, 0, `${cut} downloads ended as if complete, and were not`);
    const ended = await blamed(bench);
    return `down after ${found}; without it ${describe(without)}; ${ended} records name it; up again after ${back}, then ${describe(through)}`;
  } finally {
    await tool?.stop("SIGKILL");
  }
}

/** How many sessions the tool is blamed for. */
function blamed({ node }: ModeBench): Promise<number> {
  return until("records that blame the tool", async () => {
    const sessions = await node.sessions({ live: "false" });
    return sessions.filter(({ blame }) => blame === "tool").length || undefined;
  });
}

function assertWhole(visits: Parameters<typeof describe>[0], what: string): void {
  assert.deepEqual(
    visits.flatMap(({ error }) => error ?? []),
    [],
    what,
  );
}

async function stopReader(pki: Pki): Promise<string> {
  const port = await freePort();
  const feeds = [FEED, { name: "readers", kind: "pcap-over-ip", address: `127.0.0.1:${port}` }];
  await using bench = await openBench(pki, { config: { feeds } }, { long: { chunks: 4000, every: 1 } });
  const { node } = bench;
  await accepts(port);
  const stopped = net.connect(port, "127.0.0.1").on("error", () => undefined);
  stopped.pause();
  const other = net.connect(port, "127.0.0.1").on("error", () => undefined);
  let got = 0;
  other.on("data", ({ length }: Buffer) => {
    got += length;
  });
  try {
    const seen = await harmless(bench, async () => {
      await until("a reader that misses something", async () => {
        const isCounted = (await node.stats()).feeds.some(({ name, dropped }) => name === "readers" && dropped > 0);
        return isCounted || /takes no bytes; it is disconnected/.test(node.process.output());
      });
    });
    const { dropped } = (await node.stats()).feeds.find(({ name }) => name === "readers")!;
    assert.ok(got > 1_000_000, `the other reader got ${got} bytes`);
    return `${dropped} packets counted as missed, the other reader got ${(got / 2 ** 20).toFixed(0)} MiB; ${seen}`;
  } finally {
    stopped.destroy();
    other.destroy();
  }
}
