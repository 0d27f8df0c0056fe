import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { connect, openSocket } from "../engine/dial.ts";
import type { End } from "../engine/end.ts";
import { sendHeader } from "../engine/ip-header.ts";
import { listen } from "../engine/listen.ts";
import { loop } from "../engine/test-ends.ts";
import { dialingFor } from "./dialing.ts";
import { savedHeader, Way } from "./way.ts";

const SETTINGS = {
  timeouts: { connect: 5_000, hello: 5_000 },
  limits: { head: 65_536, uri: 32_768 },
  sessions: 10,
} as unknown as ReturnType<Parameters<typeof dialingFor>[1]>;

/** A listener, and the next connection that it accepts. */
function listening(t: TestContext, host: string): { port: number; accepted: Promise<End> } {
  const { promise, resolve } = Promise.withResolvers<End>();
  const listener = listen(loop, { host, port: 0, shared: false, savesSyns: true }, resolve);
  t.after(() => listener.close());
  return { port: listener.local()!.port, accepted: promise };
}

for (const host of ["127.0.0.1", "::1"]) {
  test(`A server of a client at ${host} is dialled in the traffic class of the client's SYN`, async (t) => {
    const node = listening(t, host);
    const server = listening(t, host);
    const fd = openSocket(host);
    sendHeader(fd, host, { trafficClass: 0xb8, hopLimit: 77 });
    const client = await connect(loop, fd, { address: host, port: node.port }, 5_000);
    const accepted = await node.accepted;
    const leg = await dialingFor(loop, () => SETTINGS)(accepted)([host], server.port);
    const reached = await server.accepted;
    assert.equal(savedHeader(reached)?.trafficClass, 0xb8);
    for (const end of [client, accepted, leg, reached]) end.close();
  });

  test(`An accepted client at ${host} is asked once, and its hop limit counts the node`, async (t) => {
    const node = listening(t, host);
    const fd = openSocket(host);
    sendHeader(fd, host, { trafficClass: 0x28, hopLimit: 77 });
    const client = await connect(loop, fd, { address: host, port: node.port }, 5_000);
    const accepted = await node.accepted;
    const way = new Way(1, undefined);
    assert.deepEqual(way.ofAccepted(accepted), { hopLimit: 76, trafficClass: 0x28 });
    assert.deepEqual(way.ofAccepted(accepted), { hopLimit: 76, trafficClass: 0x28 });
    assert.deepEqual(way.toClient(undefined), { hopLimit: -1, trafficClass: 0 });
    for (const end of [client, accepted]) end.close();
  });
}
