import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:tls";
import type { Session, ToolInfo } from "../../src/control/api.ts";
import { DOMAIN } from "../../test/pki.ts";
import { must, type Outcome, until } from "../../test/processes.ts";
import type { Claim, Stage } from "../claim.ts";
import { begin } from "../ends.ts";
import { FAMILIES, type Family, type Host, host } from "../network.ts";
import { startNode } from "../node.ts";
import { PORTS } from "../servers.ts";
import { describeSetup } from "../setup.ts";
import { FORBIDDEN } from "../tool-host.ts";
import { watch } from "../wire.ts";

/** A node with one tool that must not be left out. The last claims restart the node. */
export const ONE_TOOL: readonly Claim[] = [
  ...FAMILIES.flatMap((family) => [seesPlaintext(family), kills(family), passesStates(family)]),
  carriesRest(),
  dropsStrangers(),
  failsClosed(),
  recovers(),
  outlivesWorkers(),
  cleansUp(),
];

/** A node with two tools: the first must not be left out, the second may be. */
export const TWO_TOOLS: readonly Claim[] = [...FAMILIES.map(passesBoth), failsOpen()];

function seesPlaintext(family: Family): Claim {
  return {
    says: `IPv${family}: the tool sees the plaintext of TLS, both ways, between the client's and the server's own addresses, on port 80 for 443`,
    async check(stage) {
      const { client, server } = stage.network;
      const [tool] = stage.tools;
      const path = `/seen-${family}`;
      await using wire = await watch(tool!, tool!.inA, "tcp");
      const { stdout } = await fetchPage(stage, family, path);
      await wire.shows("the answer", (frames) => frames.find(({ bytes }) => bytes.includes(stdout.trim())));
      const ip = family === 6 ? "ipv6" : "ip";
      const fields = [`${ip}.src`, `${ip}.dst`, "tcp.dstport", "http.request.uri"].flatMap((name) => ["-e", name]);
      const args = ["-r", wire.file, "-Y", `http.request.uri == "${path}"`, "-T", "fields", ...fields];
      const [seen = ""] = (await must("tshark", args)).trim().split("\n");
      assert.deepEqual(seen.split("\t"), [client.address[family], server.address[family], "80", path]);
      const record = await sessionOf(stage, path, family);
      assert.deepEqual(record.tools, [{ name: tool!.name, state: "connected" }]);
      return `tshark in the tool: ${seen.replaceAll("\t", " ")}`;
    },
  };
}

function kills(family: Family): Claim {
  return {
    says: `IPv${family}: a request that the tool forbids is killed inside TLS, and its neighbours are not`,
    async check(stage) {
      const pages = ["/before", `/${FORBIDDEN}`, "/beside", "/after"];
      const outcomes = await Promise.all(pages.map((path) => fetchPage(stage, family, path, { mustWork: false })));
      const codes = outcomes.map(({ code }) => code);
      assert.equal(codes[0], 0);
      assert.notEqual(codes[1], 0);
      assert.deepEqual(codes.slice(2), [0, 0]);
      // The server has not seen it, and the client was reset: curl's 56, or 35 while it still shook hands.
      assert.equal(outcomes[1]?.stdout, "");
      return `curl ended with ${codes.join(", ")}: ${outcomes[1]?.stderr.trim().split("\n").at(-1)}`;
    },
  };
}

/** The host of which the scenario's policy bypasses sessions begins with this. */
const BYPASSED = "bypassed";
/** The first byte of TLS: RFC 8446, section 5.1. */
const HANDSHAKE = 22;

export const BYPASSES = {
  policy: {
    versions: { min: "TLSv1" },
    rules: [{ name: "hands off", match: { host: [`${BYPASSED}-v4.${DOMAIN}`] }, action: "bypass" }],
  },
} as const;

/** What holds a connection in each state: packets that do not come through. */
function passesStates(family: Family): Claim {
  return {
    says: `IPv${family}: a session passes the states 1 to 6 in order, each held and read from the session table`,
    async check(stage) {
      const { network, node } = stage;
      const { client, server } = network;
      const tool = stage.tools[0]!;
      const states: string[] = [];
      const SYN = "tcp flags & (syn|ack) == syn";
      const SYN_ACK = "tcp flags & (syn|ack) == syn|ack";
      await using atServer = await hold(server, "inet", "input", `tcp dport ${PORTS.https} ${SYN}`);
      await using atClient = await hold(client, "inet", "input", `tcp sport ${PORTS.https} ${SYN_ACK}`);
      await using go = await hold(tool, "bridge", "forward", `tcp dport 80 ${SYN}`);
      await using comeBack = await hold(tool, "bridge", "forward", `tcp sport 80 ${SYN_ACK}`);
      const known = new Set((await node.sessions()).map(({ id }) => id));
      const socket = begin(client, { address: server.address[family], port: PORTS.https });
      const reaches = async (state: string) => {
        await until(`the state ${state} after ${states.join(", ")}`, async () =>
          (await node.sessions()).some((one) => !known.has(one.id) && one.state === state),
        );
        states.push(state);
      };
      await reaches("SYN_RCV:SYN_SENT:INIT:INIT");
      await atServer.release();
      await reaches("SYN_RCV:EST:INIT:INIT");
      const connected = once(socket, "connect");
      await atClient.release();
      await connected;
      await reaches("EST:EST:INIT:INIT");
      const name = `www.${DOMAIN}`;
      const ca = readFileSync(node.authorities);
      const secure = connect({ socket, servername: name, ca, ALPNProtocols: ["http/1.1"] });
      secure.on("error", () => {});
      await reaches("EST:EST:SYN_SENT:INIT");
      await go.release();
      await reaches("EST:EST:SYN_SENT:SYN_RCV");
      await comeBack.release();
      await reaches("EST:EST:EST:EST");
      secure.destroy();
      return states.map((state, index) => `${index + 1} ${state}`).join(", ");
    },
  };
}

function carriesRest(): Claim {
  return {
    says: "What is not TLS goes through the tool as it is, and so do the TLS bytes of a session that is bypassed, on their own ports",
    async check(stage) {
      const { client, server } = stage.network;
      const [tool] = stage.tools;
      await using wire = await watch(tool!, tool!.inB, "tcp");
      const socket = begin(client, { address: server.address[4], port: PORTS.echo });
      socket.write("neither TLS nor HTTP\n");
      const [back] = await once(socket, "data");
      socket.destroy();
      assert.equal(String(back), "neither TLS nor HTTP\n");
      const seen = await wire.shows("the bytes", (frames) =>
        frames.find(({ bytes, ip }) => ip?.tcp?.to === PORTS.echo && bytes.includes("neither TLS nor HTTP")),
      );
      const page = await fetchPage(stage, 4, `/${BYPASSED}`, { trust: stage.pki.root.certificate });
      const hello = await wire.shows("a ClientHello", (frames) =>
        frames.find(({ ip }) => ip?.tcp?.to === PORTS.https && ip.tcp.payload[0] === HANDSHAKE),
      );
      assert.ok(!wire.frames().some(({ bytes }) => bytes.includes(page.stdout.trim())));
      return [seen, hello].map(({ ip }) => `port ${ip?.tcp?.to}: ${ip?.tcp?.payload.length} bytes`).join(", ");
    },
  };
}

function dropsStrangers(): Claim {
  return {
    says: "A connection that the tool begins by itself belongs to no session: it is dropped and counted",
    async check(stage) {
      const tool = stage.tools[0]!;
      const before = (await infoOf(stage, tool.name)).strangers;
      const { server } = stage.network;
      const { code } = await tool.run("curl", ["-sS", "-m", "2", `http://${server.address[4]}:80/`]);
      assert.equal(code, 28);
      const { strangers } = await infoOf(stage, tool.name);
      assert.ok(strangers > before);
      return `${strangers - before} packets dropped, curl timed out`;
    },
  };
}

function failsClosed(): Claim {
  return {
    says: "onFailure: drop. The tool is cut: its sessions end, new ones are reset, and no interface of the node carries any plaintext",
    async check(stage) {
      const { network, tools } = stage;
      const { client, server } = network;
      const tool = tools[0]!;
      const marker = "/secret-of-the-client";
      await using live = await openSession(stage, 4);
      await using nearWire = await watch(client, client.interface, "tcp");
      await using farWire = await watch(server, server.interface, "tcp");
      await using ownWire = await watch(network.node, "any", "tcp");
      await using outWire = await watch(host(tool.ends), tool.interfaceA, "tcp");
      await using backWire = await watch(host(tool.ends), tool.interfaceB, "tcp");
      const start = performance.now();
      await cut(tool, "down");
      live.say(marker);
      await outWire.shows("what the client said", (frames) => frames.find(({ bytes }) => bytes.includes(marker)));
      await live.ended;
      const ended = performance.now() - start;
      await untilHealth(stage, tool.name, "down");
      const outcomes = [];
      for (let round = 0; round < 3; round++) outcomes.push(await fetchPage(stage, 4, marker, { mustWork: false }));
      assert.ok(outcomes.every(({ code, stdout }) => code !== 0 && stdout === ""));
      // All that was sent is on its wire once a later packet is.
      await client.run("ping", ["-c", "1", "-W", "2", server.address[4]]);
      for (const wire of [nearWire, farWire, ownWire, backWire]) {
        assert.ok(!wire.frames().some(({ bytes }) => bytes.includes(marker)), `plaintext in ${wire.file}`);
      }
      const record = await sessionOf(stage, marker, 4);
      return `the live session ended after ${ended.toFixed(0)} ms; 3 of 3 new ones reset; "${record.closeReason}"`;
    },
  };
}

function recovers(): Claim {
  return {
    says: "The tool is back: sessions go through it again without a restart",
    async check(stage) {
      const tool = stage.tools[0]!;
      const start = performance.now();
      await cut(tool, "up");
      await untilHealth(stage, tool.name, "up");
      const took = performance.now() - start;
      for (const family of FAMILIES) {
        await fetchPage(stage, family, "/again");
        assert.deepEqual((await sessionOf(stage, "/again", family)).tools, [{ name: tool.name, state: "connected" }]);
      }
      return `used again after ${took.toFixed(0)} ms`;
    },
  };
}

function outlivesWorkers(): Claim {
  return {
    says: "Workers that were killed and started again send their sessions through the tool as before",
    async check(stage) {
      const [tool] = stage.tools;
      stage.node.kill(stage.node.pids().slice(1));
      const found = await until("a session through the tool", async () => {
        await fetchPage(stage, 4, "/after-the-workers", { mustWork: false });
        const sessions = await stage.node.sessions({ host: hostOf("/after-the-workers", 4) });
        return sessions.find(({ tools }) => tools.some(({ state }) => state === "connected"));
      });
      return `${found.state}, ${tool!.name} ${found.tools[0]?.state}`;
    },
  };
}

function cleansUp(): Claim {
  return {
    says: "A killed node leaves the tool's interfaces in their namespace; the next start takes them back and uses them, its stop returns them",
    async check(stage) {
      const { network, node, before } = stage;
      node.kill(node.pids());
      await node.process.ended;
      const again = await startNode({
        network,
        trust: [stage.pki.root.certificate],
        folder: node.folder,
        asItIs: true,
      });
      await fetchPage({ ...stage, node: again }, 4, "/after-the-crash");
      const { code } = await again.stop();
      assert.equal(code, 0, again.process.output());
      const after = await describeSetup(network.node);
      assert.deepEqual(linksIn(after), linksIn(before));
      return `${stage.tools.length * 2} interfaces are back`;
    },
  };
}

function passesBoth(family: Family): Claim {
  return {
    says: `IPv${family}: a session goes through two tools, its answers through the same ones`,
    async check(stage) {
      const path = `/through-both-${family}`;
      const wires = await Promise.all(stage.tools.map((tool) => watch(tool, tool.inB, "tcp")));
      try {
        const { stdout } = await fetchPage(stage, family, path);
        const times = [];
        for (const wire of wires) {
          const [asked, answered] = await wire.shows("a request and its answer", (frames) => {
            const found = [path, stdout.trim()].map((text) => frames.find(({ bytes }) => bytes.includes(text)));
            return found.every((frame) => frame !== undefined) ? found : undefined;
          });
          times.push({ asked: asked!.time, answered: answered!.time });
        }
        const [first, second] = times as [(typeof times)[0], (typeof times)[0]];
        assert.ok(first.asked <= second.asked && second.answered <= first.answered);
        assert.deepEqual(
          (await sessionOf(stage, path, family)).tools,
          stage.tools.map(({ name }) => ({ name, state: "connected" })),
        );
        return stage.tools.map(({ name }) => name).join(", then ");
      } finally {
        for (const wire of wires) await wire[Symbol.asyncDispose]();
      }
    },
  };
}

function failsOpen(): Claim {
  return {
    says: "onFailure: bypass. The tool is cut: new sessions go on without it, and still through the other one",
    async check(stage) {
      const [first, second] = stage.tools;
      await cut(second!, "down");
      await untilHealth(stage, second!.name, "down");
      await using wire = await watch(first!, first!.inB, "tcp");
      await fetchPage(stage, 4, "/without-the-second");
      await wire.shows("the request", (frames) => frames.find(({ bytes }) => bytes.includes("/without-the-second")));
      const { tools } = await sessionOf(stage, "/without-the-second", 4);
      assert.deepEqual(tools, [
        { name: first!.name, state: "connected" },
        { name: second!.name, state: "bypassed" },
      ]);
      return tools.map(({ name, state }) => `${name} ${state}`).join(", ");
    },
  };
}

/** HTTP/1.1 over TLS with curl, which trusts the node's CA alone. The server names the path's host, which names the session. */
async function fetchPage(
  stage: Stage,
  family: Family,
  path: string,
  { mustWork = true, trust = stage.node.authorities }: { mustWork?: boolean; trust?: string } = {},
): Promise<Outcome> {
  const { client, server } = stage.network;
  const host = hostOf(path, family);
  const target = family === 6 ? `[${server.address[6]}]` : server.address[4];
  const to = ["--resolve", `${host}:${PORTS.https}:${target}`, `https://${host}:${PORTS.https}${path}`];
  const options = ["-sS", "--fail", "--http1.1", "-m", "15", "--cacert", trust];
  const outcome = await client.run("curl", [...options, ...to]);
  if (mustWork) assert.equal(outcome.code, 0, outcome.stderr);
  return outcome;
}

function hostOf(path: string, family: Family): string {
  return `${path.slice(1)}-v${family}.${DOMAIN}`;
}

/** The session of a page, once it is over. */
function sessionOf({ node }: Stage, path: string, family: Family): Promise<Session> {
  const host = hostOf(path, family);
  return until(`the session of ${host}`, async () =>
    (await node.sessions({ host })).find(({ sni, end }) => sni === host && end !== null),
  );
}

/** A TLS session through the tools on which nobody speaks. */
async function openSession({ network: { client, server }, node }: Stage, family: Family) {
  const socket = begin(client, { address: server.address[family], port: PORTS.https });
  await once(socket, "connect");
  const secure = connect({ socket, servername: `live.${DOMAIN}`, ca: readFileSync(node.authorities) });
  const ended = new Promise<void>((resolve) => secure.on("error", () => {}).once("close", () => resolve()));
  await once(secure, "secureConnect");
  const port = socket.localPort;
  await until("the session's Tb", async () =>
    (await node.sessions()).some((one) => one.client.port === port && one.state === "EST:EST:EST:EST"),
  );
  return { ended, say: (text: string) => secure.write(text), [Symbol.asyncDispose]: async () => void secure.destroy() };
}

/** Packets that match do not pass a host, until released. */
async function hold(host: Host, family: "inet" | "bridge", hook: "input" | "forward", match: string) {
  const table = `clthold${holds++}`;
  const chain = `{ type filter hook ${hook} priority 0; policy accept; ${match} drop; }`;
  await host.must("nft", ["-f", "-"], { input: `table ${family} ${table} {\n chain held ${chain}\n}\n` });
  let held = true;
  const release = async () => {
    if (held) await host.must("nft", ["delete", "table", family, table]);
    held = false;
  };
  return { release, [Symbol.asyncDispose]: release };
}
let holds = 0;

function cut(tool: Stage["tools"][number], state: "up" | "down"): Promise<string> {
  return tool.must("ip", ["link", "set", tool.inB, state]);
}

async function infoOf({ node }: Stage, name: string): Promise<ToolInfo> {
  const { tools } = await node.stats();
  return tools.find((tool) => tool.name === name)!;
}

function untilHealth(stage: Stage, name: string, state: "up" | "down"): Promise<unknown> {
  return until(`the tool ${name} is ${state}`, async () => (await infoOf(stage, name)).state === state);
}

/** Their order and their numbers are others, as an interface that moves gets new ones. */
function linksIn({ links = "" }: Readonly<Record<string, string>>): string[] {
  return [...links.matchAll(/^\d+: ([^:@]+)[^<]*<([^>]*)>/gm)].map(([, name, flags]) => `${name} ${flags}`).sort();
}
