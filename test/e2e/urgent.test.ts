import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { source } from "../peers.ts";
import { type Program, start } from "../processes.ts";

/** Telnet's and rlogin's interrupts, FTP's ABOR and Oracle's break depend on it. */
describe("Urgent bytes", needs("python3"), () => {
  let node: TestNode;
  let copying: TestNode;
  let peers: Program;

  before(async () => {
    peers = start(program("python3"), [source("urgent.py")]);
    const port = Number((await peers.shows(/"port": (\d+)/))[1]);
    const config = { feeds: [{ name: "archive", kind: "pcapng", directory: "./captures" }] };
    node = await startNode({ trust: [], forwards: { plain: port } });
    copying = await startNode({ trust: [], forwards: { plain: port }, config });
  });
  after(async () => {
    await node?.stop();
    await copying?.stop();
    await peers?.stop();
  });

  const tests = [
    ["relayed by the kernel", () => node],
    ["copied for a feed", () => copying],
  ] as const;
  for (const [way, through] of tests) {
    test(`A receiver reads them as urgent and in their place, as without the node: ${way}`, async () => {
      const known = peers.output().length;
      peers.write(`${through().forward("plain")}\n`);
      await peers.shows(new RegExp(`(?<=^[^]{${known},})"toClient"`));
      const got = JSON.parse(peers.output().slice(known).trim());
      assert.deepEqual(got, { toServer: ["abor", "!", "t\n"], toClient: ["abor", "!", "t\n"] });
    });
  }
});
