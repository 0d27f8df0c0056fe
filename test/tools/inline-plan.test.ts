import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { needsNamespaces, run as runIn } from "../../src/linux/test-network.ts";
import { type ToolNetwork, toolNetwork } from "../../src/tools/test-tool-network.ts";
import { MAIN } from "../node.ts";
import { type Outcome, run, scratch, start } from "../processes.ts";

test(
  "`inline plan` shows the setup of a tool, `inline undo` removes what a killed node has left of it",
  needsNamespaces(),
  async () => {
    using network = toolNetwork();
    const file = configuration(network);
    const inside = [`--net=/var/run/netns/${network.node}`, process.execPath, MAIN];
    const command = (...words: string[]): Promise<Outcome> => run("nsenter", [...inside, ...words, "-c", file]);
    const before = linksIn(network);

    const planned = await command("inline", "plan");
    assert.equal(planned.code, 0, planned.stderr);
    for (const part of [`ip netns add ${network.node}-ends`, "ip link set tool-a netns", "counter strangers"])
      assert.ok(planned.stdout.includes(part), `no "${part}" in:\n${planned.stdout}`);
    assert.deepEqual(linksIn(network), before);
    assert.match((await command("inline", "undo")).stdout, /^Nothing to undo/);

    const node = start("nsenter", [...inside, "run", "-c", file]);
    await node.shows(/Clearline runs with/, 60_000);
    assert.doesNotMatch(linksIn(network), /tool-a/);
    assert.equal((await command("inline", "plan")).stdout, planned.stdout);
    const refused = await command("inline", "undo");
    assert.equal(refused.code, 2);
    assert.match(
      refused.stderr,
      /^Cannot take down what .*tools\.json lists: its node still runs as process \d+; stop it first\n$/,
    );

    await node.stop("SIGKILL");
    assert.doesNotMatch(linksIn(network), /tool-a/);
    const undone = await command("inline", "undo");
    assert.deepEqual([undone.code, undone.stdout], [0, "Undone.\n"], undone.stderr);
    assert.equal(linksIn(network), before);
    assert.ok(!runIn(network.node, "ip", "netns").includes(`${network.node}-ends`));
  },
);

function configuration(network: ToolNetwork): string {
  const folder = scratch();
  const file = join(folder, "clearline.yaml");
  const { interfaceA, interfaceB } = network;
  const namespace = `${network.node}-ends`;
  writeFileSync(
    file,
    JSON.stringify({
      dataDir: "./data",
      workers: 1,
      trust: { system: false },
      // The namespace has a loopback interface of its own.
      listeners: [{ name: "proxy", mode: "explicit", address: "127.0.0.1:8080" }],
      tools: [{ name: "ips", kind: "inline", interfaceA, interfaceB, namespace }],
    }),
  );
  return file;
}

/** Names and flags: an interface that moves gets another number. */
function linksIn({ node }: ToolNetwork): string {
  const links = runIn(node, "ip", "-o", "link").matchAll(/^\d+: ([^:@]+)[^<]*<([^>]*)>/gm);
  return [...links]
    .map(([, name, flags]) => `${name} ${flags}`)
    .sort()
    .join("\n");
}
