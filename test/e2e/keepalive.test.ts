import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { source } from "../peers.ts";
import { type Program, start } from "../processes.ts";

/** A client that waits for news: IMAP IDLE, push, SSH. Its keepalives keep it alive through NAT, and tell it of a server that is gone. */
describe("Sessions in which nothing is said for longer than timeouts.idle", {
  ...needs("python3"),
  concurrency: true,
}, () => {
  const nodes: TestNode[] = [];
  const peers: Program[] = [];
  const ports: number[] = [];

  before(async () => {
    for (let index = 0; index < 3; index += 1) peers.push(start(program("python3"), [source("keepalive.py")]));
    for (const one of peers) ports.push(Number((await one.shows(/"port": (\d+)/))[1]));
    const [waiting = 0, silent = 0, strict = 0] = ports;
    nodes.push(
      await startNode({ trust: [], forwards: { waiting, silent }, config: { timeouts: { idle: "8s" } } }),
      await startNode({ trust: [], forwards: { strict }, config: { timeouts: { idle: "8s", idleCounts: "bytes" } } }),
    );
  });
  after(async () => {
    for (const node of nodes) await node.stop();
    for (const one of peers) await one.stop();
  });

  /** What a message comes to after 13 s of silence. */
  async function wait(peer: Program, port: number, keepalive: boolean) {
    peer.write(`${port} 13 ${keepalive ? 1 : 0}\n`);
    const [line] = await peer.shows(/\{"outcome".*\}/, 60_000);
    return JSON.parse(line) as { outcome: string; segments: number };
  }

  test("The client's keepalives are carried to the server, and its answers keep the session", async () => {
    const { outcome, segments } = await wait(peers[0]!, nodes[0]!.forward("waiting"), true);
    assert.equal(outcome, "news\n");
    // The handshake and the client's bytes take two.
    assert.ok(segments > 3, `${segments} segments`);
  });

  test("Without keepalives the session ends", async () => {
    const { outcome } = await wait(peers[1]!, nodes[0]!.forward("silent"), false);
    assert.notEqual(outcome, "news\n");
  });

  test("idleCounts: bytes ends it all the same", async () => {
    const { outcome } = await wait(peers[2]!, nodes[1]!.forward("strict"), true);
    assert.notEqual(outcome, "news\n");
  });
});
