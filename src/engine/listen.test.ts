import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { freePort } from "../../test/processes.ts";
import type { Endpoint } from "../vocabulary.ts";
import { listen, listenConfigured } from "./listen.ts";
import type { Task } from "./loop.ts";
import { loop } from "./test-ends.ts";

const AT = { host: "127.0.0.1", port: 0, shared: false };

test("An accepted connection comes with both of its addresses", async () => {
  const { promise, resolve } = Promise.withResolvers<readonly [Endpoint, Endpoint]>();
  const listener = listen(loop, AT, (client, from, to) => {
    resolve([from, to]);
    client.close();
  });
  const { port } = listener.local()!;
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  const own = { address: "127.0.0.1", port: socket.localPort };
  assert.deepEqual(await promise, [own, { address: "127.0.0.1", port }]);
  listener.close();
  socket.destroy();
});

test("A port that another program has is a mistake in the configuration, with its path and the way out", async () => {
  const listener = listen(loop, AT, () => {});
  const { port } = listener.local()!;
  assert.throws(() => listen(loop, { ...AT, port }, () => {}), {
    name: "NetworkError",
    code: "EADDRINUSE",
    message: `Cannot listen at 127.0.0.1:${port}: another program listens there`,
  });
  await assert.rejects(
    listenConfigured(loop, "listeners[0].address", { ...AT, port }, () => {}),
    {
      name: "ConfigError",
      path: "listeners[0].address",
      message: `Cannot listen at 127.0.0.1:${port}: another program listens there (listeners[0].address)`,
    },
  );
  listener.close();
});

test("An address that this machine does not have is named so, and an IPv6 address with brackets", () => {
  assert.throws(() => listen(loop, { ...AT, host: "192.0.2.1" }, () => {}), {
    code: "EADDRNOTAVAIL",
    message: "Cannot listen at 192.0.2.1:0: this machine has no such address",
  });
  assert.throws(() => listen(loop, { ...AT, host: "2001:db8::1" }, () => {}), /at \[2001:db8::1\]:0: /);
});

test("Several may share a port when all of them ask for it", async () => {
  const port = await freePort();
  const listeners = [1, 2].map(() => listen(loop, { ...AT, port, shared: true }, (client) => client.close()));
  for (const listener of listeners) listener.close();
});

test("The unspecified IPv6 address takes IPv4 as well, and such a peer has its IPv4 address", async () => {
  const peers: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const listener = listen(loop, { ...AT, host: "::" }, (client, from) => {
    peers.push(from.address);
    client.close();
    if (peers.length === 2) resolve();
  });
  const { port } = listener.local()!;
  const sockets = ["127.0.0.1", "::1"].map((host) => connect(port, host));
  await promise;
  assert.deepEqual(peers.sort(), ["127.0.0.1", "::1"]);
  listener.close();
  for (const socket of sockets) socket.destroy();
});

test("A listener that is closed takes no more connections", async () => {
  const listener = listen(loop, AT, () => {});
  const { port } = listener.local()!;
  listener.close();
  const [error] = await once(connect(port, "127.0.0.1"), "error");
  assert.equal(error.code, "ECONNREFUSED");
});

/** Listens, says where, and uses up its descriptors but two: the connections after them cannot be accepted. */
const SHORT = `
  import { openSync, closeSync } from "node:fs";
  import { acceptFrom } from ${JSON.stringify(new URL("listen.ts", import.meta.url).href)};
  import { openSocket } from ${JSON.stringify(new URL("dial.ts", import.meta.url).href)};
  import { libc } from ${JSON.stringify(new URL("native.ts", import.meta.url).href)};
  import { Loop } from ${JSON.stringify(new URL("loop.ts", import.meta.url).href)};
  import { writeSocketAddress } from ${JSON.stringify(new URL("socket-address.ts", import.meta.url).href)};
  const fd = openSocket("127.0.0.1");
  const name = writeSocketAddress({ address: "127.0.0.1", port: 0 });
  libc.bind(fd, name, name.length);
  libc.listen(fd, 16);
  const held = [];
  let accepted = 0;
  const listener = acceptFrom(
    new Loop(),
    fd,
    (client) => {
      client.writeBytes(Buffer.from("hello"));
      accepted += 1;
    },
    ({ message }) => {
      process.send({ reported: message });
      for (const one of held.splice(0)) closeSync(one);
    },
  );
  try {
    for (;;) held.push(openSync("/dev/null"));
  } catch {}
  closeSync(held.pop());
  process.send({ port: listener.local().port });
`;

test("A process without descriptors reports it, and accepts again once it has some", async () => {
  const program = ["prlimit", "--nofile=64", process.execPath, "--input-type=module", "-e", SHORT];
  const child = spawn(program[0]!, program.slice(1), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const reports: string[] = [];
  const { promise, resolve } = Promise.withResolvers<number>();
  child.on("message", ({ port, reported }: { port?: number; reported?: string }) => {
    if (port !== undefined) resolve(port);
    if (reported !== undefined) reports.push(reported);
  });
  const port = await promise;
  const sockets = Array.from({ length: 3 }, () => connect(port, "127.0.0.1"));
  await Promise.all(sockets.map((socket) => once(socket, "data")));
  assert.deepEqual([...new Set(reports)], ["Cannot accept a connection: EMFILE"]);
  for (const socket of sockets) socket.destroy();
  child.kill();
  await once(child, "exit");
});

test("Connections are accepted beside tasks that are always ready", { timeout: 10_000 }, async () => {
  const { promise: all, resolve } = Promise.withResolvers<void>();
  let left = 100;
  const listener = listen(loop, AT, (client) => {
    client.close();
    left -= 1;
    if (left === 0) resolve();
  });
  const { port } = listener.local()!;
  const sockets = Array.from({ length: left }, () => connect(port, "127.0.0.1").on("error", () => {}));
  // They connect in the next tick, and the kernel has all of them before the loop looks.
  await new Promise((resolve) => process.nextTick(resolve));
  const busy: Task = {
    queued: false,
    run() {
      if (left > 0) loop.enqueue(busy);
      return false;
    },
    fail(error) {
      throw error;
    },
  };
  loop.enqueue(busy);
  await all;
  listener.close();
  for (const socket of sockets) socket.destroy();
});
