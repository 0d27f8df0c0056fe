import assert from "node:assert/strict";
import { after, test } from "node:test";
import { until } from "../../test/processes.ts";
import { connectFrom } from "../engine/dial.ts";
import type { End } from "../engine/end.ts";
import { loop, readBytes, readToEnd } from "../engine/test-ends.ts";
import { NetworkError } from "../errors.ts";
import { mendInlineTool } from "../kernel/tool/mending.ts";
import { namespaceOf } from "../kernel/tool/numbers.ts";
import { checkToolsStay, planTools, readStrangers, setUpTools, takeDownTools } from "../kernel/tools.ts";
import { within } from "../linux/netns.ts";
import { needsNamespaces, run } from "../linux/test-network.ts";
import { probeInlineTool } from "./inline-probe.ts";
import { type InlineTool, openInlineTool } from "./inline-tool.ts";
import { ROUTER, setUp, type ToolNetwork, toolIn, toolNetwork } from "./test-tool-network.ts";
import type { Hop, Tool, ToolSubject } from "./tool.ts";
import { testTool } from "./tool-compliance.ts";

const NAMESPACES = needsNamespaces();
const ENDS = {
  4: { client: "10.1.0.2", server: "10.2.0.2" },
  6: { client: "fd00:1::2", server: "fd00:2::2" },
} as const;
const WORKERS = 2;

let port = 40_000;
function subject(family: 4 | 6, more: Partial<ToolSubject> = {}): ToolSubject {
  port += 1;
  return {
    id: `${port}`,
    client: { address: ENDS[family].client, port },
    server: { address: ENDS[family].server, port: 443 },
    flow: "decrypted",
    host: "www.example.com",
    alpn: "http/1.1",
    ...more,
  };
}

function open(tool: InlineTool, worker = 1, timeout = () => 5_000): Promise<Tool> {
  return openInlineTool(tool, { path: "tools[0]", worker, loop, timeout });
}

/** Set up once: a tool is opened anew for each claim. */
const networks = new Map<string, { network: ToolNetwork; tool: InlineTool }>();
after(() => {
  for (const { network } of networks.values()) network[Symbol.dispose]();
});

function standing(kind: "bridge" | "router", more: Partial<InlineTool>) {
  const found = networks.get(kind);
  if (found) return found;
  const network = toolNetwork(kind);
  const made = { network, tool: toolIn(network, more) };
  networks.set(kind, made);
  setUp(network, made.tool, WORKERS);
  return made;
}

for (const [kind, more] of [
  ["bridge", {}],
  ["router", ROUTER],
] as const) {
  for (const family of [4, 6] as const) {
    testTool(`An inline tool that is a ${kind}, over IPv${family},`, NAMESPACES, async () => {
      const { network, tool } = standing(kind, more);
      let timeout = 5_000;
      const opened = await open(tool, 1, () => timeout);
      let cut = { release: () => {} };
      return {
        tool: opened,
        subject: () => subject(family),
        breakTool: async () => {
          cut = hold(network.tool, kind === "bridge" ? "bridge" : "inet", "meta l4proto tcp");
          timeout = 200;
        },
        async close() {
          cut.release();
          await opened.close();
        },
      };
    });
  }
}

type Body = (network: ToolNetwork, tool: InlineTool, opened: Tool) => Promise<void>;

/** One test with a tool that is a bridge: the standing one, which the test leaves as it was. */
function check(says: string, body: Body): void {
  test(says, NAMESPACES, async () => {
    const { network, tool } = standing("bridge", {});
    await withTool(network, tool, body);
  });
}

/** One test with a network of its own, which the test may break. */
function checkAlone(says: string, body: Body): void {
  test(says, NAMESPACES, async () => {
    using network = toolNetwork();
    const tool = toolIn(network);
    setUp(network, tool, WORKERS);
    await withTool(network, tool, body);
  });
}

async function withTool(network: ToolNetwork, tool: InlineTool, body: Body): Promise<void> {
  const opened = await open(tool);
  try {
    await body(network, tool, opened);
  } finally {
    await opened.close();
  }
}

for (const family of [4, 6] as const) {
  check(
    `IPv${family}: the tool sees the client's and the server's own addresses, and port 80 for 443`,
    async (_, tool, opened) => {
      const about = subject(family);
      const { ta, tb } = await through(opened, about);
      assert.deepEqual(tb.remote(), about.client);
      assert.deepEqual(tb.local(), { address: about.server.address, port: tool.ports["443"] });
      end(ta, tb);
    },
  );

  check(
    `IPv${family}: the SYN is seen to come back, and only then is the connection there`,
    async (network, _, opened) => {
      const type = family === 4 ? "ip" : "ip6";
      const held = hold(network.tool, "bridge", `ether type ${type} tcp flags & (syn|ack) == syn|ack`);
      const seen: string[] = [];
      const { promise: returned, resolve } = Promise.withResolvers<void>();
      const connecting = opened.connect(subject(family), () => {
        seen.push("back at Tb");
        resolve();
      });
      void connecting.then(() => seen.push("connected"));
      await returned;
      assert.deepEqual(seen, ["back at Tb"]);
      held.release();
      const { ta, tb } = await connecting;
      end(ta, await tb);
      assert.deepEqual([...new Set(seen)], ["back at Tb", "connected"]);
    },
  );

  checkAlone(
    `IPv${family}: a connection that no session sent is dropped and counted`,
    async (network, tool, opened) => {
      for (const side of ["ia", "ib"]) {
        const { client, server } = ENDS[family];
        run(network.tool, "ip", `-${family}`, "route", "replace", server, "dev", "br0");
        const stranger = within(network.tool, () => ({
          connected: connectFrom(loop, {
            from: { address: client, port: 0 },
            to: { address: server, port: 80 },
            timeout: 300,
          }),
        }));
        // Nobody answers for the server's address, so the neighbour is told: the node's interface.
        run(network.tool, "ip", "neigh", "replace", server, "lladdr", macOf(tool, side), "dev", "br0");
        await assert.rejects(stranger.connected, { code: "ETIMEDOUT" });
      }
      assert.ok(((await readStrangers([tool])).get("ips") ?? 0) >= 2);
      assert.equal(opened.counters().strangers, 0);
    },
  );
}

check(
  "A client's port that another session has toward the same port as the tool sees it is replaced",
  async (_, __, opened) => {
    const first = subject(4);
    const second = { ...first, id: "second", server: { ...first.server, port: 80 } };
    const one = await through(opened, first);
    const two = await through(opened, second);
    assert.notEqual(two.tb.remote()!.port, first.client.port);
    assert.equal(two.tb.remote()!.address, first.client.address);
    say(one.ta, "one");
    say(two.ta, "two");
    assert.deepEqual([await heard(one.tb), await heard(two.tb)], ["one", "two"]);
    end(one.ta, one.tb, two.ta, two.tb);
  },
);

check("A client's port can be used again right after its session", async (_, __, opened) => {
  const about = subject(4);
  for (let round = 0; round < 3; round++) {
    const { ta, tb } = await through(opened, about);
    assert.equal(tb.remote()!.port, about.client.port);
    ta.fin();
    await readToEnd(tb);
    tb.fin();
    await readToEnd(ta);
    end(ta, tb);
  }
});

check("A session's SYN meets the worker that sent it, whichever that is", async (_, tool, opened) => {
  const other = await open(tool, 0);
  try {
    const pairs = await Promise.all(
      Array.from({ length: 10 }, (_, index) => through(index % 2 === 0 ? opened : other, subject(index < 5 ? 4 : 6))),
    );
    for (const [index, { ta, tb }] of pairs.entries()) {
      say(ta, `no${index}`);
      assert.equal(await heard(tb), `no${index}`);
      end(ta, tb);
    }
    assert.deepEqual([opened.counters(), other.counters()], [{ strangers: 0 }, { strangers: 0 }]);
  } finally {
    await other.close();
  }
});

check("Ends of two families, and loopback ends, are translated to one family", async (_, __, opened) => {
  for (const [client, server, shown] of [
    ["10.1.0.2", "fd00:2::2", ["64:ff9b::a01:2", "fd00:2::2"]],
    ["127.0.0.1", "127.0.0.1", ["127.0.0.1", "127.0.0.1"]],
    ["::1", "10.2.0.2", ["127.0.0.1", "10.2.0.2"]],
    ["::1", "fd00:2::2", ["64:ff9b::7f00:1", "fd00:2::2"]],
    ["fe80::2%eth0", "fd00:2::2", ["64:ff9b:1::2", "fd00:2::2"]],
    ["::ffff:10.1.0.2", "10.2.0.2", ["10.1.0.2", "10.2.0.2"]],
  ] as const) {
    const about = subject(4);
    const ends = { client: { ...about.client, address: client }, server: { ...about.server, address: server } };
    const { ta, tb } = await through(opened, { ...about, ...ends });
    assert.deepEqual([tb.remote()!.address, tb.local()!.address], shown);
    end(ta, tb);
  }
});

checkAlone("A heartbeat takes the path of sessions, and fails when the tool is cut", async (network, tool) => {
  await probeInlineTool(loop, tool, 5_000);
  run(network.tool, "ip", "link", "set", "ia", "down");
  await assert.rejects(probeInlineTool(loop, tool, 300), NetworkError);
  run(network.tool, "ip", "link", "set", "ia", "up");
  await until("a probe that comes through", () =>
    probeInlineTool(loop, tool, 500).then(
      () => true,
      () => false,
    ),
  );
  assert.equal((await readStrangers([tool])).get("ips"), 0);
});

checkAlone("When an interface of the tool is down, no packet leaves by the other one", async (_, tool, opened) => {
  const namespace = namespaceOf(tool);
  run(namespace, "ip", "link", "set", "tool-a", "down");
  await assert.rejects(
    opened.connect(subject(4), () => {}),
    NetworkError,
  );
  const sent = run(namespace, "cat", "/sys/class/net/tool-b/statistics/tx_packets");
  await assert.rejects(
    opened.connect(subject(6), () => {}),
    NetworkError,
  );
  assert.equal(run(namespace, "cat", "/sys/class/net/tool-b/statistics/tx_packets"), sent);
});

test("A reload's connect timeout holds for a tool that was open before", {
  ...NAMESPACES,
  timeout: 60_000,
}, async () => {
  using network = toolNetwork();
  const tool = toolIn(network);
  setUp(network, tool, WORKERS);
  let timeout = 600_000;
  const opened = await open(tool, 1, () => timeout);
  try {
    run(network.tool, "ip", "link", "set", "ib", "down");
    timeout = 100;
    await assert.rejects(
      opened.connect(subject(4), () => {}),
      { code: "ETIMEDOUT" },
    );
  } finally {
    await opened.close();
  }
});

test(
  "An interface that was set down and up again has its routes back with the next heartbeat, of both families",
  NAMESPACES,
  async () => {
    for (const [kind, more] of [
      ["bridge", {}],
      ["router", ROUTER],
    ] as const) {
      using network = toolNetwork(kind);
      const tool = toolIn(network, more);
      const namespace = namespaceOf(tool);
      setUp(network, tool, WORKERS);
      const before = wayOutOf(namespace);
      for (const name of ["tool-a", "tool-b"]) run(namespace, "ip", "link", "set", name, "down");
      assert.deepEqual(await mendInlineTool(tool, "tools[0]"), []);
      for (const name of ["tool-a", "tool-b"]) run(namespace, "ip", "link", "set", name, "up");
      assert.notDeepEqual(wayOutOf(namespace), before);
      assert.deepEqual(await mendInlineTool(tool, "tools[0]"), ["tool-a", "tool-b"]);
      assert.deepEqual(wayOutOf(namespace), before);
      assert.deepEqual(await mendInlineTool(tool, "tools[0]"), []);
      const opened = await open(tool);
      for (const family of [4, 6] as const) {
        const { ta, tb } = await through(opened, subject(family));
        end(ta, tb);
      }
      await opened.close();
    }
  },
);

test("The interfaces come back as they were, and the namespace is gone", NAMESPACES, () => {
  using network = toolNetwork();
  run(network.node, "ip", "link", "set", "tool-a", "up");
  const tool = toolIn(network);
  setUp(network, tool, WORKERS);
  assert.doesNotMatch(run(network.node, "ip", "link"), /tool-[ab]/);
  assert.deepEqual(
    within(network.node, () => [...takeDownTools(network.dataDir)]),
    [],
  );
  assert.match(run(network.node, "ip", "-o", "link", "show", "tool-a"), /[<,]UP[,>]/);
  assert.doesNotMatch(run(network.node, "ip", "-o", "link", "show", "tool-b"), /[<,]UP[,>]/);
  assert.ok(!run(network.node, "ip", "netns").includes(namespaceOf(tool)));
});

test("A start undoes what a crashed run left, by its journal", NAMESPACES, async () => {
  using network = toolNetwork();
  const tool = toolIn(network);
  setUp(network, tool, WORKERS);
  within(network.node, () => void takeDownTools(network.dataDir));
  setUp(network, tool, WORKERS);
  const opened = await open(tool);
  const { ta, tb } = await through(opened, subject(4));
  end(ta, tb);
  await opened.close();
});

test("An interface that is in use is refused", NAMESPACES, () => {
  using network = toolNetwork();
  const plan = (more: Partial<InlineTool>) =>
    within(network.node, () => setUpTools(planTools([toolIn(network, more)], WORKERS), network.dataDir));
  assert.throws(() => plan({ interfaceA: "nowhere" }), {
    message: /\(tools\[0\]\.interfaceA\): there is no interface/,
  });
  run(network.node, "ip", "address", "add", "10.9.9.1/24", "dev", "tool-b");
  assert.throws(() => plan({}), { message: /tools\[0\]\.interfaceB.*10\.9\.9\.1\/24/ });
  run(network.node, "ip", "address", "flush", "dev", "tool-b");
  run(network.node, "ip", "link", "add", "br9", "type", "bridge");
  run(network.node, "ip", "link", "set", "tool-b", "master", "br9");
  assert.throws(() => plan({}), { message: /it belongs to br9/ });
  assert.match(run(network.node, "ip", "-o", "link"), /tool-a/);
});

test("A kernel error names the tool's path in the configuration, and every step is undone", NAMESPACES, () => {
  using network = toolNetwork();
  const before = run(network.node, "ip", "-o", "link");
  const plan = (more: Partial<InlineTool>) =>
    within(network.node, () =>
      setUpTools(planTools([{ kind: "proxy" }, toolIn(network, more)], WORKERS), network.dataDir),
    );
  assert.throws(() => plan({ namespace: network.tool }), {
    path: "tools[1]",
    message: /File exists.*\(tools\[1\]\)$/,
  });
  assert.throws(() => plan({ addressB: ["10.77.1.1/33"] }), {
    path: "tools[1].addressB",
    message: /\(tools\[1\]\.addressB\)$/,
  });
  const wrong = { ...ROUTER, gatewayA: ["nowhere"] };
  assert.throws(() => plan(wrong), { path: "tools[1].gatewayA" });
  assert.deepEqual(linksOf(run(network.node, "ip", "-o", "link")), linksOf(before));
});

test("A reload that changes a tool's interfaces is refused, with the tool's path", () => {
  const tool = toolIn({ node: "n", interfaceA: "a", interfaceB: "b" } as ToolNetwork);
  const other: InlineTool = { ...tool, ports: {}, onFailure: "bypass" };
  checkToolsStay([tool], [other]);
  checkToolsStay([tool], [{ kind: "proxy" }, tool]);
  assert.throws(() => checkToolsStay([tool], [{ ...tool, interfaceA: "c" }]), { path: "tools[0]" });
  assert.throws(() => checkToolsStay([], [{ kind: "proxy" }, tool]), { path: "tools[1]" });
  assert.throws(() => checkToolsStay([tool], []), { path: "tools" });
});

async function through(tool: Tool, about: ToolSubject): Promise<Omit<Hop, "tb"> & { readonly tb: End }> {
  const hop = await tool.connect(about, () => {});
  return { ...hop, tb: await hop.tb };
}

/** In the tool: packets that match do not pass until released. */
function hold(tool: string, family: "bridge" | "inet", match: string): { release(): void } {
  run(tool, "nft", "add", "table", family, "hold");
  run(tool, "nft", `add chain ${family} hold here { type filter hook forward priority 0; policy accept; }`);
  run(tool, "nft", `add rule ${family} hold here ${match} drop`);
  return { release: () => void run(tool, "nft", "delete", "table", family, "hold") };
}

function macOf(tool: InlineTool, side: string): string {
  const name = side === "ia" ? "tool-a" : "tool-b";
  return run(namespaceOf(tool), "cat", `/sys/class/net/${name}/address`).trim();
}

/** What a socket needs to get out: routes, addresses and neighbours, each in the order of its text. */
function wayOutOf(namespace: string): readonly string[] {
  const texts = [4, 6].flatMap((family) => [
    run(namespace, "ip", `-${family}`, "route", "show", "table", "101"),
    run(namespace, "ip", `-${family}`, "route", "show", "table", "102"),
    run(namespace, "ip", `-${family}`, "-o", "address", "show", "permanent").replaceAll(/^\d+: /gm, ""),
    run(namespace, "ip", `-${family}`, "neigh", "show", "nud", "permanent"),
  ]);
  return texts.flatMap((text) =>
    text
      .split("\n")
      .map((line) => line.trim())
      .sort(),
  );
}

/** Names and flags: an interface that moves gets another number. */
function linksOf(text: string): readonly string[] {
  return [...text.matchAll(/^\d+: ([^:@]+)[^<]*<([^>]*)>/gm)].map(([, name, flags]) => `${name} ${flags}`).sort();
}

function say(end: End, words: string): void {
  end.writeBytes(Buffer.from(words));
}

/** A word of three letters. */
async function heard(end: End): Promise<string> {
  return (await readBytes(end, 3)).bytes.toString();
}

function end(...ends: readonly End[]): void {
  for (const one of ends) one.close();
}
