import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { curl } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { freePort, type Running } from "../processes.ts";
import { haproxy, nginxStream, type ToolPorts } from "./proxies.ts";

describe("A tool of kind proxy", needs("openssl", "nginx-light", "curl", "haproxy", "libnginx-mod-stream"), () => {
  let pki: Pki;
  let origin: Nginx;

  before(async () => {
    pki = await makePki();
    origin = await nginx(pki.server.ecdsa, 'location = /seen { return 200 "$http_x_tool|$host\\n"; }');
    writeFileSync(join(origin.files, "words"), "the quick brown fox\n".repeat(500_000));
  });
  after(async () => {
    await origin?.process.stop();
  });

  for (const [name, startTool] of [
    ["HAProxy, which passes the unique ID on", (ports: ToolPorts) => haproxy(ports)],
    ["HAProxy that tells the addresses only", (ports: ToolPorts) => haproxy(ports, { send: "send-proxy-v2" })],
    ["HAProxy that answers with version 1", (ports: ToolPorts) => haproxy(ports, { send: "send-proxy" })],
    ["nginx, which tells of its own connection", (ports: ToolPorts) => nginxStream(ports)],
    [
      "nginx that takes the client's address over",
      (ports: ToolPorts) => nginxStream(ports, ["set_real_ip_from 127.0.0.1;"]),
    ],
  ] as const) {
    test(`${name}: sessions of all workers pass it, both ways and whole`, async () => {
      await using world = await toolWorld(startTool);
      const { node } = world;
      const names = Array.from({ length: 12 }, (_, index) => `s${index}.${DOMAIN}`);
      const outcomes = await Promise.all(
        names.map((name) => curl({ port: node.forward("web") }, node.primary, [`https://${name}/words`])),
      );
      for (const { code, stderr, stdout } of outcomes) {
        assert.deepEqual([code, stderr], [0, ""]);
        assert.equal(stdout.length, 10_000_000);
        assert.equal(stdout, "the quick brown fox\n".repeat(500_000));
      }
      for (const name of names) {
        const session = await node.session(name);
        assert.deepEqual(session.tools, [{ name: "dlp", state: "connected" }]);
        assert.equal(session.state, "EST:EST:EST:EST");
      }
      const { tools } = await node.stats();
      assert.equal(tools[0]?.strangers, 0);
      await node.stop();
    });
  }

  interface World extends AsyncDisposable {
    readonly node: TestNode;
    readonly tool: Running;
    readonly ports: ToolPorts;
  }

  async function toolWorld(
    startTool: (ports: ToolPorts) => Promise<Running>,
    more: Readonly<Record<string, unknown>> = {},
    config: Readonly<Record<string, unknown>> = {},
  ): Promise<World> {
    const ports = { port: await freePort(), back: await freePort() };
    const tool = await startTool(ports);
    const node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: origin.port },
      config: {
        tools: [
          {
            name: "dlp",
            kind: "proxy",
            address: `127.0.0.1:${ports.port}`,
            returnAddress: `127.0.0.1:${ports.back}`,
            ...more,
          },
        ],
        ...config,
      },
    });
    return {
      node,
      tool,
      ports,
      async [Symbol.asyncDispose]() {
        await node[Symbol.asyncDispose]();
        await tool.stop("SIGKILL");
      },
    };
  }
});
