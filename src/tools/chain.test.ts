import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { End } from "../engine/end.ts";
import { endPair } from "../engine/test-ends.ts";
import { until } from "../engine/wait.ts";
import { NetworkError } from "../errors.ts";
import type { FlowClass } from "../vocabulary.ts";
import { type Chain, type ChainTool, createChains, createToolTraffic } from "./chain.ts";
import type { Hop, ToolSettings, ToolSubject } from "./tool.ts";

const SUBJECT: ToolSubject = {
  id: "s-1",
  client: { address: "192.0.2.1", port: 40_000 },
  server: { address: "198.51.100.1", port: 443 },
  flow: "decrypted",
  host: "www.example.com",
  alpn: "http/1.1",
};
const ALL: readonly FlowClass[] = ["decrypted", "bypassed", "notTls"];

/** The node's ends of two connections on loopback. */
async function hopOf(t: TestContext, tool: string): Promise<Hop> {
  const [[ta], [tb]] = await Promise.all([endPair(t), endPair(t)]);
  return { tool, ta, tb: Promise.resolve(tb) };
}

type Connect = ChainTool["open"]["connect"];

function tool(name: string, connect: Connect, place: Partial<ToolSettings> = {}): ChainTool {
  const open = { name, kind: "proxy", connect, counters: () => ({ strangers: 0 }), close: async () => {} } as const;
  return { name, kind: "proxy", flows: ALL, onFailure: "drop", ...place, open };
}

function working(t: TestContext, name: string, place?: Partial<ToolSettings>): ChainTool {
  return tool(name, () => hopOf(t, name), place);
}

function failing(name: string, onFailure: "bypass" | "drop"): ChainTool {
  const refuse = () => Promise.reject(new NetworkError(`Cannot reach the tool ${name}: ECONNREFUSED`, "ECONNREFUSED"));
  return tool(name, refuse, { onFailure });
}

function chained(tools: readonly ChainTool[], failed: readonly (readonly [string, string])[] = []) {
  const traffic = createToolTraffic(failed);
  const failures: string[] = [];
  const progress: string[] = [];
  const chains = createChains(tools, traffic, (name, reason) => failures.push(`${name}: ${reason}`));
  const enter = async (wanted?: readonly string[], change: Partial<ToolSubject> = {}) => {
    const chain = await chains.connect({ ...SUBJECT, ...change }, wanted, (ends) => progress.push(ends));
    if (chain.kind === "ready") await Promise.all(chain.hops.map(({ tb }) => tb));
    return chain;
  };
  return { traffic, failures, progress, enter };
}

function names(chain: Awaited<ReturnType<ReturnType<typeof chained>["enter"]>>): readonly string[] {
  assert.equal(chain.kind, "ready");
  return (chain as Chain).hops.map((hop) => hop.tool);
}

test("Without a list in the rule, a session passes all tools that take its flow class, in the order of the configuration", async (t) => {
  const { enter, progress } = chained([
    working(t, "ips"),
    working(t, "mail", { flows: ["notTls"] }),
    working(t, "dlp", { flows: ["decrypted"] }),
  ]);
  assert.deepEqual(names(await enter()), ["ips", "dlp"]);
  assert.deepEqual(progress, ["SYN_SENT:INIT", "SYN_SENT:SYN_RCV", "EST:EST"]);
  assert.deepEqual(names(await enter(undefined, { flow: "bypassed" })), ["ips"]);
  assert.deepEqual(names(await enter(undefined, { flow: "notTls" })), ["ips", "mail"]);
});

test("A session passes the tools of the rule's list that take its flow class, in the order of the list", async (t) => {
  const { enter, progress } = chained([working(t, "ips"), working(t, "dlp", { flows: ["decrypted"] })]);
  assert.deepEqual(names(await enter(["dlp", "ips"])), ["dlp", "ips"]);
  assert.deepEqual(names(await enter(["dlp", "ips"], { flow: "bypassed" })), ["ips"]);
  progress.length = 0;
  assert.deepEqual(names(await enter([])), []);
  assert.deepEqual(progress, []);
});

test("A failed tool with onFailure bypass is left out, and its health counts the failure", async (t) => {
  const { enter, failures, progress } = chained([failing("ips", "bypass"), working(t, "dlp")]);
  const chain = await enter();
  assert.deepEqual(names(chain), ["dlp"]);
  assert.deepEqual((chain as Chain).passed, [
    { name: "ips", state: "bypassed" },
    { name: "dlp", state: "connected" },
  ]);
  assert.deepEqual(failures, ["ips: Cannot reach the tool ips: ECONNREFUSED"]);
  assert.deepEqual(progress, ["SYN_SENT:INIT", "SYN_SENT:SYN_RCV", "EST:EST"]);
});

test("When all tools are left out, the state is that of a session without tools", async () => {
  const { enter, progress } = chained([failing("ips", "bypass")]);
  assert.deepEqual(names(await enter()), []);
  assert.equal(progress.at(-1), "INIT:INIT");
});

test("A failed tool with onFailure drop ends the session, and the connections to the other tools are closed", async (t) => {
  const opened: Hop[] = [];
  const first = tool("dlp", async () => {
    const hop = await hopOf(t, "dlp");
    opened.push(hop);
    return hop;
  });
  const { enter } = chained([first, failing("ips", "drop")]);
  assert.deepEqual(await enter(), {
    kind: "failed",
    code: "ECONNREFUSED",
    reason: "Dropped: Cannot reach the tool ips: ECONNREFUSED",
  });
  const [hop] = opened;
  assert.deepEqual([hop!.ta.isOpen, (await hop!.tb).isOpen], [false, false]);
});

test("A tool that has failed is not tried, and its health counts no further failure", async () => {
  let tried = 0;
  const ips = tool("ips", () => {
    tried += 1;
    return Promise.reject(new NetworkError("no", "ECONNREFUSED"));
  });
  const { enter, failures } = chained([ips], [["ips", "The tool ips has failed: no heartbeat came back"]]);
  assert.deepEqual(await enter(), {
    kind: "failed",
    code: "ETOOL",
    reason: "Dropped: The tool ips has failed: no heartbeat came back",
  });
  assert.deepEqual([tried, failures], [0, []]);
});

test("A shortage of the node, or a session that ended before, is no failure of the tool", async () => {
  const codes = [
    "EMFILE",
    "ENFILE",
    "ENOBUFS",
    "ENOMEM",
    "EBUSY",
    "EADDRNOTAVAIL",
    "EADDRINUSE",
    "EACCES",
    "ECONNABORTED",
  ];
  for (const code of codes) {
    const short = () => Promise.reject(new NetworkError(`No way: ${code}`, code));
    const { enter, failures } = chained([tool("ips", short)]);
    assert.deepEqual(await enter(), { kind: "failed", code, reason: `Dropped: No way: ${code}` });
    assert.deepEqual(failures, []);
  }
});

test("When a tool fails, the sessions that pass it are ended with the reason, and others continue", async (t) => {
  const { enter, traffic } = chained([working(t, "ips"), working(t, "dlp")]);
  const [through, beside] = [(await enter(["ips"])) as Chain, (await enter(["dlp"])) as Chain];
  assert.deepEqual([traffic.sessions("ips"), traffic.sessions("dlp")], [1, 1]);
  const { ta } = through.hops[0]!;
  const relayed = until([ta], () => undefined, { timeout: 10_000, late: "Nobody told the relay" });
  traffic.setHealth("ips", false, "The tool ips has failed: no heartbeat came back");
  await assert.rejects(relayed, {
    name: "NetworkError",
    code: "ETOOL",
    message: "The tool ips has failed: no heartbeat came back",
  });
  assert.deepEqual([traffic.sessions("ips"), traffic.sessions("dlp")], [0, 1]);
  assert.deepEqual([ta.isOpen, beside.hops[0]!.ta.isOpen], [false, true]);
  traffic.setHealth("ips", true, "");
  assert.deepEqual(names(await enter(["ips"])), ["ips"]);
});

test("Releasing a chain closes its open connections, also those that come back late", async (t) => {
  const { promise, resolve } = Promise.withResolvers<End>();
  const { ta, tb } = await hopOf(t, "ips");
  const late = tool("ips", async () => ({ tool: "ips", ta, tb: promise }));
  const chains = createChains([late], createToolTraffic([]), () => {});
  const chain = (await chains.connect(SUBJECT, undefined, () => {})) as Chain;
  chain.release();
  assert.equal(ta.isOpen, false);
  resolve(await tb);
  await promise;
  assert.equal((await tb).isOpen, false);
});

test("A session's protocol is limited by those of its tools that read decrypted plaintext", () => {
  const limited = { ...tool("dlp", () => Promise.reject(new Error("not connected"))), alpn: "http/1.1" };
  const other = tool("ips", limited.open.connect);
  const onlyAlpn = (tools: readonly ChainTool[], wanted?: readonly string[]) =>
    createChains(tools, createToolTraffic([]), () => {}).onlyAlpn(wanted);
  assert.equal(onlyAlpn([other, limited]), "http/1.1");
  assert.equal(onlyAlpn([other, limited], ["dlp"]), "http/1.1");
  assert.equal(onlyAlpn([other, limited], ["ips"]), undefined);
  assert.equal(onlyAlpn([{ ...limited, flows: ["bypassed"] }]), undefined);
});

test("A session that waits for a tool is let go when the tool fails, and what comes later is closed", async (t) => {
  for (const onFailure of ["drop", "bypass"] as const) {
    const coming = Promise.withResolvers<Hop>();
    const { traffic, enter, failures } = chained([tool("ips", () => coming.promise, { onFailure })]);
    const entering = enter();
    traffic.setHealth("ips", false, "The tool ips has failed: no heartbeat came back");
    const chain = await entering;
    if (onFailure === "drop") assert.match(JSON.stringify(chain), /Dropped: The tool ips has failed: no heartbeat/);
    else assert.deepEqual(chain.kind === "ready" && chain.passed, [{ name: "ips", state: "bypassed" }]);
    assert.deepEqual(failures, []);
    const late = await hopOf(t, "ips");
    coming.resolve(late);
    const [ta, tb] = [late.ta, await late.tb];
    await Promise.all([ta, tb].map((end) => new Promise<void>((resolve) => end.onceClosed(resolve))));
  }
});
