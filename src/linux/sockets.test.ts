import assert from "node:assert/strict";
import { once } from "node:events";
import { closeSync, readdirSync, readlinkSync } from "node:fs";
import type { Socket } from "node:net";
import { after, before, test } from "node:test";
import { until } from "../../test/processes.ts";
import { NetworkError } from "../errors.ts";
import { within } from "./netns.ts";
import { transparentClient, transparentListener } from "./sockets.ts";
import {
  connectFrom,
  deliverMarked,
  type Network,
  needsNamespaces,
  ROUTED,
  routedNetwork,
  serve,
} from "./test-network.ts";

const NAMESPACES = needsNamespaces();
const PORT = 10443;
const FAMILIES = [4, 6] as const;
const STEER = `
table inet steer {
  chain prerouting {
    type filter hook prerouting priority mangle; policy accept;
    meta l4proto tcp socket transparent 1 socket wildcard 0 meta mark set 1 accept
    iifname "na" meta l4proto tcp tproxy to :${PORT} meta mark set 1 accept
  }
}`;

let network: Network;
before(() => {
  if (NAMESPACES.skip !== false) return;
  network = routedNetwork();
  deliverMarked(network, STEER);
});
after(() => network?.[Symbol.dispose]());

/** Connects in a namespace: the socket is made before connectFrom returns for the first time. */
function connectIn(name: string, options: Parameters<typeof connectFrom>[0]): Promise<Socket> {
  return within(name, () => ({ connected: connectFrom(options) })).connected;
}

function anyOf(family: 4 | 6): string {
  return family === 4 ? "0.0.0.0" : "::";
}

/** The sockets of this process: what a failure must not leave behind. */
function openSockets(): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return /^(?:socket|net):/.test(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      return false;
    }
  }).length;
}

function codeOf(make: () => unknown): string {
  try {
    make();
  } catch (error) {
    assert.ok(error instanceof NetworkError, String(error));
    return error.code;
  }
  return "none";
}

for (const family of FAMILIES) {
  test(`An IPv${family} connection to any port is accepted with its original destination`, NAMESPACES, async () => {
    const { client, server } = ROUTED[family];
    const accepted: Socket[] = [];
    await using _node = await serve(network.node, { family, port: PORT }, (socket) => accepted.push(socket));
    for (const port of [443, 1, 65535, PORT]) {
      const socket = await connectIn(network.client, {
        from: { address: client, port: 0 },
        to: { address: server, port },
        timeout: 5000,
      });
      socket.end("hello");
      await until("a connection at the node", () => accepted.length > 0);
      const seen = accepted.shift()!;
      assert.deepEqual([seen.localAddress, seen.localPort], [server, port]);
      assert.deepEqual([seen.remoteAddress, seen.remotePort], [client, socket.localPort]);
      assert.equal(String((await once(seen, "data"))[0]), "hello");
      socket.destroy();
    }
  });

  test(`The IPv${family} server sees the client's address and port`, NAMESPACES, async () => {
    const { client, server } = ROUTED[family];
    const seen: string[] = [];
    await using _server = await serve(network.server, { family, port: 7000 }, (socket) => {
      seen.push(`${socket.remoteAddress} ${socket.remotePort}`);
      socket.pipe(socket);
    });
    const socket = await connectIn(network.node, {
      from: { address: client, port: 41234 },
      to: { address: server, port: 7000 },
      timeout: 5000,
    });
    assert.equal(socket.isPaused(), true);
    socket.resume();
    socket.write("echo");
    assert.equal(String((await once(socket, "data"))[0]), "echo");
    assert.deepEqual(seen, [`${client} 41234`]);
    socket.destroy();
  });

  test(
    `Two IPv${family} listeners share a port only when both say so, and a failure leaves no socket behind`,
    NAMESPACES,
    () => {
      const before = openSockets();
      const make = (reusePort: boolean) => () =>
        within(network.node, () => transparentListener({ address: anyOf(family), port: 10500, backlog: 1, reusePort }));
      const open = [make(true)(), make(true)()];
      assert.equal(codeOf(make(false)), "EADDRINUSE");
      for (const fd of open) closeSync(fd);
      assert.equal(openSockets(), before);
    },
  );
}

test("A text that is no address is EINVAL, and no socket is made", NAMESPACES, () => {
  const before = openSockets();
  assert.equal(
    codeOf(() => transparentClient({ address: "no.address", port: 1 })),
    "EINVAL",
  );
  assert.equal(
    codeOf(() => transparentClient({ address: "10.0.0.1/8", port: 1 })),
    "EINVAL",
  );
  assert.equal(openSockets(), before);
});

test("The thread leaves a namespace when the function in it throws", NAMESPACES, () => {
  const home = readlinkSync("/proc/thread-self/ns/net");
  const before = openSockets();
  assert.throws(() => within(network.node, () => assert.fail("broken")), /broken/);
  assert.equal(readlinkSync("/proc/thread-self/ns/net"), home);
  assert.notEqual(
    within(network.node, () => readlinkSync("/proc/thread-self/ns/net")),
    home,
  );
  assert.equal(openSockets(), before);
});

test("A missing namespace and an invalid name are errors that change nothing", NAMESPACES, () => {
  const home = readlinkSync("/proc/thread-self/ns/net");
  assert.equal(
    codeOf(() => within("clt9-none", () => 1)),
    "ENOENT",
  );
  assert.equal(
    codeOf(() => within("../../../proc/1/ns/net", () => 1)),
    "EINVAL",
  );
  assert.equal(
    codeOf(() => within("..", () => 1)),
    "EINVAL",
  );
  assert.equal(readlinkSync("/proc/thread-self/ns/net"), home);
});
