import assert from "node:assert/strict";
import { once } from "node:events";
import { closeSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { freePort } from "../../test/processes.ts";
import { REQUEST_LIMITS } from "../detect/request-head.ts";
import { loop } from "../engine/test-ends.ts";
import { AF, bindAddress, listen, SOCK, socket } from "../linux/syscalls.ts";
import { enterOwnNamespace, needsNamespaces } from "../linux/test-network.ts";
import type { Arrival } from "./arrival.ts";
import type { CaptureSettings } from "./mode.ts";
import { openListener } from "./modes.ts";

/** Longer than any test may take. */
const REST = { limits: REQUEST_LIMITS, sessions: 10 };
const TOO_LONG: CaptureSettings = { timeouts: { connect: 600_000, hello: 600_000 }, ...REST };
const SHORT: CaptureSettings = { timeouts: { connect: 50, hello: 50 }, ...REST };
const LIMIT = { timeout: 30_000 };

type Listener = Parameters<typeof openListener>[0];

/** A client's arrival at a listener that was opened with TOO_LONG, once the settings are SHORT. */
async function arrivedAfterReload(
  t: TestContext,
  listener: Listener,
  port: number,
): Promise<{ arrival: Arrival; client: Socket }> {
  let settings = TOO_LONG;
  const { promise, resolve } = Promise.withResolvers<Arrival>();
  const opened = await openListener(listener, {
    path: "listeners[0]",
    addresses: () => () => false,
    inline: {
      listeners: [
        {
          name: "edge",
          vlan: null,
          device: undefined,
          sharedPort: port,
          workerPorts: [port + 1],
          queues: [],
          answers: [],
          hops: 1,
          onward: 0,
          clientMark: 0x10000,
          serverMark: 0x20000,
        },
      ],
      marks: { mask: 0xff0000, workers: [0x10000], refused: 0, hostUnreachable: 0, netUnreachable: 0, prohibited: 0 },
    },
    loop,
    worker: 0,
    workers: 1,
    settings: () => settings,
    arrive: resolve,
  });
  settings = SHORT;
  const client = connect(port, "127.0.0.1").on("error", () => {});
  const arrival = await promise;
  t.after(async () => {
    client.destroy();
    arrival.client?.close();
    await opened.close();
  });
  return { arrival, client };
}

/** A port that takes one connection into its backlog and drops every further SYN, as a dead host would. */
async function deafPort(t: TestContext): Promise<number> {
  const port = await freePort();
  const fd = socket(AF.INET, SOCK.STREAM, 0);
  bindAddress(fd, "127.0.0.1", port);
  listen(fd, 0);
  const filling = connect(port, "127.0.0.1").on("error", () => {});
  t.after(() => {
    filling.destroy();
    closeSync(fd);
  });
  await once(filling, "connect");
  return port;
}

test(
  "A reload's hello timeout ends the silence of a client at an explicit listener that was open before",
  LIMIT,
  async (t) => {
    const port = await freePort();
    const { arrival } = await arrivedAfterReload(
      t,
      { name: "proxy", mode: "explicit", address: { host: "127.0.0.1", port } },
      port,
    );
    await assert.rejects(arrival.locate(), { code: "ETIMEDOUT" });
  },
);

for (const mode of ["explicit", "forward"] as const) {
  test(
    `A reload's connect timeout holds for the servers of a listener of mode ${mode} that was open before`,
    LIMIT,
    async (t) => {
      const port = await freePort();
      const address = { host: "127.0.0.1", port };
      const { arrival } = await arrivedAfterReload(t, { name: "one", mode, address, server: address }, port);
      await assert.rejects(arrival.dial(["127.0.0.1"], await deafPort(t)), { code: "ETIMEDOUT" });
    },
  );
}

for (const synHold of [true, false]) {
  const says = `A reload's connect timeout holds for the servers of an inline listener that was open before, synHold ${synHold}`;
  test(says, { ...LIMIT, ...needsNamespaces() }, async (t) => {
    using _namespace = enterOwnNamespace();
    const { arrival } = await arrivedAfterReload(
      t,
      { name: "edge", mode: "inline", synHold, unreachable: "reset" },
      17_000,
    );
    await assert.rejects(arrival.dial(["127.0.0.1"], await deafPort(t)), { code: "ETIMEDOUT" });
  });
}
