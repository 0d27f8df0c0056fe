import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:tls";
import { DOMAIN } from "../../test/pki.ts";
import { until } from "../../test/processes.ts";
import type { Claim, Stage } from "../claim.ts";
import { begin } from "../ends.ts";
import { FAMILIES, type Family, host } from "../network.ts";
import { startNode } from "../node.ts";
import { PORTS } from "../servers.ts";
import { describeSetup } from "../setup.ts";
import { fetchPage, hostOf, infoOf, sessionOf } from "../tool-sessions.ts";
import { watch } from "../wire.ts";

/** For a node with one tool, whose failure drops sessions. The last claims restart the node. */
export const TOOL_FAILURE: readonly Claim[] = [
  failsClosed(),
  recovers(),
  regainsRoutes(),
  outlivesWorkers(),
  cleansUp(),
];

function failsClosed(): Claim {
  return {
    says: "onFailure: drop. When the tool is cut off, its sessions end, new ones are reset, and no interface of the node carries plaintext",
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
      // Once a later packet is on the wire, all earlier ones are.
      await client.run("ping", ["-c", "1", "-W", "2", server.address[4]]);
      for (const wire of [nearWire, farWire, ownWire, backWire]) {
        assert.ok(!wire.frames().some(({ bytes }) => bytes.includes(marker)), `plaintext in ${wire.file}`);
      }
      const record = await sessionOf(stage, marker, 4);
      return `the live session ended after ${ended.toFixed(0)} ms; 3 of 3 new ones reset; "${record.closeReason}"`;
    },
  };
}

/** As `failsClosed`, for a tool that takes packets and passes none on. */
export function hangs(): Claim {
  return {
    says: "onFailure: drop. When the tool passes nothing on, though its cables are up, its sessions end, and new ones are reset; once it goes on, sessions pass it again",
    async check(stage) {
      const tool = stage.tools[0]!;
      await using live = await openSession(stage, 4);
      let start = performance.now();
      await tool.must("ip", ["link", "set", "br0", "down"]);
      await untilHealth(stage, tool.name, "down");
      const found = performance.now() - start;
      await live.ended;
      const ended = performance.now() - start;
      const { code, stdout } = await fetchPage(stage, 4, "/while-it-hangs", { mustWork: false });
      assert.ok(code !== 0 && stdout === "");
      // The server's own patience would end it too, much later.
      const { blame, cause } = await live.record();
      assert.deepEqual({ blame, cause }, { blame: "tool", cause: "toolDown" });
      const record = await sessionOf(stage, "/while-it-hangs", 4);
      start = performance.now();
      await tool.must("ip", ["link", "set", "br0", "up"]);
      await untilHealth(stage, tool.name, "up");
      const back = performance.now() - start;
      await fetchPage(stage, 4, "/it-goes-on");
      return `found after ${found.toFixed(0)} ms, the live session ended after ${ended.toFixed(0)} ms; "${record.closeReason}"; used again after ${back.toFixed(0)} ms`;
    },
  };
}

function recovers(): Claim {
  return {
    says: "When the tool is back, sessions pass it again without a restart",
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

function regainsRoutes(): Claim {
  return {
    says: "While the node's interface toward the tool is down, no session passes; once it is up, sessions pass again",
    async check(stage) {
      const tool = stage.tools[0]!;
      const set = (state: string) => host(tool.ends).must("ip", ["link", "set", tool.interfaceA, state]);
      await set("down");
      assert.notEqual((await fetchPage(stage, 4, "/while-it-is-down", { mustWork: false })).code, 0);
      const start = performance.now();
      await set("up");
      for (const family of FAMILIES) {
        await until(`IPv${family} through the tool`, async () => {
          const { code } = await fetchPage(stage, family, "/with-its-routes", { mustWork: false });
          return code === 0;
        });
      }
      await untilHealth(stage, tool.name, "up");
      return `used again after ${(performance.now() - start).toFixed(0)} ms`;
    },
  };
}

function outlivesWorkers(): Claim {
  return {
    says: "After the workers were killed and started again, sessions pass the tool as before",
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
    says: "A killed node leaves the tool's interfaces in their namespace; the next start uses them, and its stop returns them",
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

/** For a node with two tools, of which the second is bypassed when it fails. */
export function failsOpen(): Claim {
  return {
    says: "onFailure: bypass. When one tool is cut off, new sessions still pass the other one",
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

/** Opens a TLS session through the tools, and sends nothing on it. */
async function openSession({ network: { client, server }, node }: Stage, family: Family) {
  const since = Date.now();
  const socket = begin(client, { address: server.address[family], port: PORTS.https });
  await once(socket, "connect");
  const secure = connect({ socket, servername: `live.${DOMAIN}`, ca: readFileSync(node.authorities) });
  const ended = new Promise<void>((resolve) => secure.on("error", () => {}).once("close", () => resolve()));
  await once(secure, "secureConnect");
  const port = socket.localPort;
  await until("the session's Tb", async () =>
    (await node.sessions()).some(
      (one) => one.client.port === port && one.start >= since && one.state === "EST:EST:EST:EST",
    ),
  );
  const record = () =>
    until("the session's end", async () =>
      (await node.sessions()).find((one) => one.client.port === port && one.start >= since && one.end !== null),
    );
  return {
    ended,
    record,
    say: (text: string) => secure.write(text),
    [Symbol.asyncDispose]: async () => void secure.destroy(),
  };
}

function cut(tool: Stage["tools"][number], state: "up" | "down"): Promise<string> {
  return tool.must("ip", ["link", "set", tool.inB, state]);
}

function untilHealth(stage: Stage, name: string, state: "up" | "down"): Promise<unknown> {
  return until(`the tool ${name} is ${state}`, async () => (await infoOf(stage, name)).state === state);
}

/** Names and flags, sorted: an interface that moves gets another number. */
function linksIn({ links = "" }: Readonly<Record<string, string>>): string[] {
  return [...links.matchAll(/^\d+: ([^:@]+)[^<]*<([^>]*)>/gm)].map(([, name, flags]) => `${name} ${flags}`).sort();
}
