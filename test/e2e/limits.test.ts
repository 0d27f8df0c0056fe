import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import { curl } from "../clients.ts";
import { needs } from "../needs.ts";
import { descendants, openFiles, startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki } from "../pki.ts";
import { until } from "../processes.ts";

/** How many connections: fewer than 10,000 where this user's limit of file descriptors is lower. */
const SILENT = Math.min(10_000, descriptorLimit() - 1_500);
const MIB = 2 ** 20;

describe("Many silent connections", needs("openssl", "nginx-light", "curl"), () => {
  let node: TestNode;
  let origin: Nginx;
  let workers: number[];

  before(async () => {
    const pki = await makePki();
    origin = await nginx(pki.server.ecdsa);
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: origin.port },
      config: { timeouts: { hello: "4s", drain: "1s" }, log: { level: "warn" } },
      env: { NODE_OPTIONS: "--inspect=127.0.0.1:0" },
    });
    workers = (await node.stats()).workers.map(({ pid }) => pid);
  });
  after(async () => {
    await node?.stop();
    await origin?.process.stop();
  });

  const openDescriptors = () => workers.reduce((sum, pid) => sum + openFiles(pid), 0);
  const isQuiet = (descriptors: number) =>
    until(
      `no more than ${descriptors} descriptors, and no live session`,
      async () => {
        const { sessions } = await node.stats();
        return sessions.live === 0 && openDescriptors() <= descriptors;
      },
      60_000,
    );

  /** Opens the connections, has another client served, and waits until the node has closed all. */
  async function wave(name: string): Promise<void> {
    const sockets: net.Socket[] = [];
    let closed = 0;
    for (let at = 0; at < SILENT; at += 500) {
      const batch = Array.from({ length: Math.min(500, SILENT - at) }, () => net.connect(node.proxy, "127.0.0.1"));
      for (const socket of batch) {
        socket.on("close", () => {
          closed += 1;
        });
        socket.on("error", () => undefined).resume();
      }
      await Promise.all(batch.map((socket) => once(socket, "connect")));
      sockets.push(...batch);
    }
    const { code, stderr } = await curl({ port: node.forward("web") }, node.primary, [
      `https://${name}.${DOMAIN}/negotiated`,
    ]);
    assert.equal(code, 0, stderr);
    await until("an end to every silent connection", () => closed === SILENT, 60_000);
  }

  test(`${SILENT} silent connections end by their timeout, other clients are served, and no memory or socket is left`, async () => {
    const { code } = await curl({ port: node.forward("web") }, node.primary, [`https://first.${DOMAIN}/negotiated`]);
    assert.equal(code, 0);
    await until("the first session's end", async () => (await node.stats()).sessions.live === 0);
    const before = openDescriptors();

    // The first wave fills caches and pools. If later waves add more, that is a leak.
    await wave("first-wave");
    await isQuiet(before);
    const settled = await heap(node);
    await wave("second-wave");
    await wave("third-wave");
    await isQuiet(before);
    const left = await heap(node);
    assert.ok(left < settled * 1.1 + 4 * MIB, `${settled} bytes of heap before, ${left} after`);
    assert.equal(descendants(node.process.pid).length, workers.length, "no worker died on the way");
  });

  test("The node refuses connections above limits.sessions and keeps the others", async () => {
    const pki = await makePki();
    await using small = await startNode({
      trust: [pki.root.certificate],
      config: { workers: 1, limits: { sessions: 20 }, timeouts: { hello: "20s", drain: "100ms" } },
    });
    const held = Array.from({ length: 60 }, () =>
      net
        .connect(small.proxy, "127.0.0.1")
        .on("error", () => undefined)
        .resume(),
    );
    const open = () => held.filter((socket) => !socket.destroyed && !socket.readableEnded).length;
    await until("20 connections left of 60", () => open() === 20);
    await until("20 live sessions", async () => (await small.stats()).sessions.live === 20);
    for (const socket of held) socket.destroy();
    await until("no live session", async () => (await small.stats()).sessions.live === 0);
    await small.stop();
  });
});

/** Used bytes of the supervisor and the workers after a garbage collection, read through their inspectors. */
async function heap(node: TestNode): Promise<number> {
  let sum = 0;
  for (const [, url] of node.process.output().matchAll(/Debugger listening on (ws:\S+)/g)) {
    const inspector = new WebSocket(url!);
    await once(inspector, "open");
    const call = async (id: number, method: string, params: object) => {
      inspector.send(JSON.stringify({ id, method, params }));
      for (;;) {
        const [{ data }] = (await once(inspector, "message")) as [{ data: string }];
        const answer = JSON.parse(data);
        if (answer.id === id) return answer.result;
      }
    };
    await call(1, "HeapProfiler.collectGarbage", {});
    const expression = "(({ heapUsed, external }) => heapUsed + external)(process.memoryUsage())";
    sum += (await call(2, "Runtime.evaluate", { expression, returnByValue: true })).result.value;
    inspector.close();
    await once(inspector, "close");
  }
  return sum;
}

/** Node raises its own limit to the hard one. */
function descriptorLimit(): number {
  return Number(/^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1]);
}
