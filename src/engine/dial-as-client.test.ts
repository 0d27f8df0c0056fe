import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import type { NetworkError } from "../errors.ts";
import { within } from "../linux/netns.ts";
import {
  deliverMarked,
  feed,
  type Network,
  needsNamespaces,
  ROUTED,
  routedNetwork,
  run,
  serve,
} from "../linux/test-network.ts";
import type { Endpoint } from "../vocabulary.ts";
import { connectFrom } from "./dial.ts";
import { type End, openEnds } from "./end.ts";
import { loop } from "./test-ends.ts";

const execute = promisify(execFile);
const NAMESPACES = needsNamespaces();

/** Answers to a transparent socket are for this machine, whatever their address. */
const OURS = `
table inet ours {
  chain prerouting {
    type filter hook prerouting priority mangle; policy accept;
    meta l4proto tcp socket transparent 1 socket wildcard 0 meta mark set 1 accept
  }
}`;

let network: Network;
before(() => {
  if (NAMESPACES.skip !== false) return;
  network = routedNetwork();
  deliverMarked(network, OURS);
});
after(() => network?.[Symbol.dispose]());

/** Connects in a namespace: the socket is made before connectFrom returns for the first time. */
function connectIn(name: string, options: Parameters<typeof connectFrom>[1]): Promise<End> {
  return within(name, () => ({ connected: connectFrom(loop, options) })).connected;
}

for (const family of [4, 6] as const) {
  test(`Where the client's port is taken, IPv${family} connects from another of its ports`, NAMESPACES, async () => {
    const { client, server } = ROUTED[family];
    await using _server = await serve(network.server, { family, port: 7001 }, (socket) => socket.resume());
    // A process of its own in the node's namespace: the second try is made when this thread has left the namespace.
    const script = `
      import { connectFrom } from ${JSON.stringify(new URL("dial.ts", import.meta.url).href)};
      import { Loop } from ${JSON.stringify(new URL("loop.ts", import.meta.url).href)};
      const loop = new Loop();
      const ends = { from: { address: "${client}", port: 41235 }, to: { address: "${server}", port: 7001 }, timeout: 5000 };
      const first = await connectFrom(loop, ends);
      const second = await connectFrom(loop, ends);
      console.log(JSON.stringify([first, second].map((end) => end.local())));
      process.exit();`;
    const { stdout } = await execute("ip", [
      "netns",
      "exec",
      network.node,
      process.execPath,
      "--input-type=module",
      "-e",
      script,
    ]);
    const [first, second] = JSON.parse(stdout) as Endpoint[];
    assert.deepEqual(first, { address: client, port: 41235 });
    assert.equal(second?.address, client);
    assert.notEqual(second?.port, 41235);
  });

  test(`A closed IPv${family} port is ECONNREFUSED, and leaves no end behind`, NAMESPACES, async () => {
    const { client, server } = ROUTED[family];
    const before = openEnds();
    const refused = connectIn(network.node, {
      from: { address: client, port: 0 },
      to: { address: server, port: 9 },
      timeout: 5000,
    });
    await assert.rejects(refused, (error: NetworkError) => error.code === "ECONNREFUSED");
    assert.equal(openEnds(), before);
  });

  test(`An IPv${family} server that says nothing is ETIMEDOUT, and leaves no end behind`, NAMESPACES, async () => {
    const { client, server } = ROUTED[family];
    const before = openEnds();
    feed(
      network.server,
      "add table inet deaf\nadd chain inet deaf in { type filter hook input priority 0; }\nadd rule inet deaf in tcp dport 9 drop",
      "nft",
      "-f",
      "-",
    );
    const silent = connectIn(network.node, {
      from: { address: client, port: 0 },
      to: { address: server, port: 9 },
      timeout: 50,
    });
    await assert.rejects(silent, (error: NetworkError) => error.code === "ETIMEDOUT");
    run(network.server, "nft", "delete", "table", "inet", "deaf");
    assert.equal(openEnds(), before);
  });
}
