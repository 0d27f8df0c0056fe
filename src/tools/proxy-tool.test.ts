import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { until } from "../../test/processes.ts";
import { endPair, loop } from "../engine/test-ends.ts";
import { openProxyTool } from "./proxy-tool.ts";
import { type AwaitedReturn, createReturns } from "./returns.ts";
import { proxyHeader } from "./session-header.ts";
import type { ProxyTool, ToolSubject } from "./tool.ts";

const SUBJECT: ToolSubject = {
  ...{ id: "01JDEMO", flow: "decrypted", host: undefined, alpn: undefined },
  client: { address: "192.0.2.10", port: 50_123 },
  server: { address: "198.51.100.20", port: 443 },
};

test("A session that the supervisor does not hear of in time leaves its connection to the tool closed", async (t) => {
  const server = createServer();
  t.after(() => server.close());
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const settings: ProxyTool = {
    ...{ name: "dlp", kind: "proxy", flows: ["decrypted"], onFailure: "drop", matching: "unique-id", ports: {} },
    ...{ header: "proxy-v2", address: { host: "127.0.0.1", port }, returnAddress: { host: "127.0.0.1", port: 0 } },
  };
  const returns = createReturns(loop, false, async () => {});
  const tool = await openProxyTool(settings, {
    ...{ path: "tools[0]", worker: 0, workers: 2, loop, returns },
    timeout: () => 100,
    warn() {},
  });
  t.after(() => tool.close());
  const reached = once(server, "connection") as Promise<[Socket]>;
  const entering = tool.connect(SUBJECT, () => {});
  // The session's record says that it was the node: neither its client, nor the tool.
  const message = "The node was too busy to pass the session to its tool";
  await assert.rejects(entering, { code: "EBUSY", message });
  const [ta] = await reached;
  ta.on("error", () => {}).resume();
  await until("the end of the connection to the tool", () => ta.closed);
});

test("A tool that connects back twice for one session, or one heartbeat, has its second connection closed", async (t) => {
  const taken: AwaitedReturn[] = [];
  const returns = { expect: async (awaited: AwaitedReturn) => void taken.push(awaited), forget() {} };
  const { returned } = proxyHeader({ name: "dlp", matching: "unique-id" }, SUBJECT, returns);
  const [first, second] = await endPair(t);
  for (const back of [first, second]) taken[0]?.take(back);
  assert.equal(await returned, first);
  assert.deepEqual([first.isOpen, second.isOpen], [true, false]);
});
