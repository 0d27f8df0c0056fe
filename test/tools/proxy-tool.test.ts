import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { connectThrough } from "../clients.ts";
import { needs } from "../needs.ts";
import { DOMAIN } from "../pki.ts";
import { until } from "../processes.ts";
import {
  documented,
  haproxy,
  haproxyWith,
  listeningProgram,
  nginxStream,
  nginxWith,
  type ToolPorts,
} from "./proxies.ts";
import { type Backend, CLIENT, startBackend, startWorld, WORDS, type World, type WorldTool } from "./world.ts";

const BY_ADDRESSES = { matching: "addresses" };

/** Programs that relay all bytes. They differ in how they name the session. */
const CARRIERS: readonly (WorldTool & { readonly says: string; readonly name: string })[] = [
  { says: "HAProxy that passes the unique ID on", name: "unique", start: haproxy },
  {
    says: "HAProxy that sends the addresses only",
    name: "addresses",
    start: (at) => haproxy(at, { send: "send-proxy-v2" }),
    more: BY_ADDRESSES,
  },
  {
    says: "HAProxy that answers with version 1",
    name: "version1",
    start: (at) => haproxy(at, { send: "send-proxy" }),
    more: BY_ADDRESSES,
  },
  {
    says: "nginx that sends the addresses of its own connection",
    name: "nginx",
    start: (at) => nginxStream(at),
    more: BY_ADDRESSES,
  },
  {
    says: "nginx that sends the client's address",
    name: "real-ip",
    start: (at) => nginxStream(at, ["set_real_ip_from 127.0.0.1;"]),
    more: BY_ADDRESSES,
  },
  { says: "The guide's HAProxy", name: "guide-haproxy", start: (at) => haproxyWith(at, documented("haproxy", at)) },
  {
    says: "The guide's nginx",
    name: "guide-nginx",
    start: (at) => nginxWith(at, documented("nginx", at)),
    more: BY_ADDRESSES,
  },
  {
    says: "A program that keeps SSLproxy's line",
    name: "keeps",
    start: (at) => listeningProgram(at, "keep"),
    more: { header: "sslproxy" },
  },
  {
    says: "A program that strips SSLproxy's line",
    name: "strips",
    start: (at) => listeningProgram(at, "strip"),
    more: { header: "sslproxy" },
  },
];

/** HAProxy as an HTTP proxy, with these rules. */
function http(name: string, ...rules: string[]): WorldTool {
  return { name, start: (at) => haproxy(at, { mode: "http", rules }), more: { alpn: "http/1.1" } };
}

const OTHERS: readonly WorldTool[] = [
  { name: "told", start: haproxy, more: { ports: { default: 80 } } },
  http("changed", "http-request set-header X-Tool was-here", "http-response set-header X-Tool-Too and-here"),
  http("denies", "http-request deny if { path /forbidden }"),
  http("kills", "http-request reject if { path /killed }"),
];

const PEERS = needs("openssl", "nginx-light", "curl", "haproxy", "libnginx-mod-stream");
/** How many sessions pass a tool at the same time. */
const SESSIONS = 12;
/** The kernel chooses each connection's worker. If all sessions of a batch had the same one, another batch follows. */
const BATCHES = 4;
const LONG = "-long".repeat(10);

/** The host of a session that passes only this tool. */
function hostOf(tool: string, session: number | string = ""): string {
  return `${tool}${session}.${DOMAIN}`;
}

/** All tests share a node, whose rules send the sessions of each host through one tool. */
describe("Programs as tools of kind proxy", PEERS, () => {
  let backend: Backend;
  let world: World;
  const tools = [...CARRIERS, ...OTHERS];

  before(async () => {
    backend = await startBackend();
    const rules = tools.map(({ name = "" }) => {
      const numbered = Array.from({ length: BATCHES * SESSIONS }, (_, session) => hostOf(name, session));
      return {
        name,
        match: { host: [hostOf(name), hostOf(name, "-neighbour"), hostOf(name, LONG), ...numbered] },
        action: "decrypt",
        tools: [name],
      };
    });
    world = await startWorld(backend, tools, { policy: { rules } });
  });
  after(async () => {
    try {
      await world?.node.stop();
    } finally {
      await world?.[Symbol.asyncDispose]();
      await backend?.[Symbol.asyncDispose]();
    }
  });

  const programOf = (tool: string) => world.tools[tools.findIndex(({ name }) => name === tool)]!;

  for (const { says, name } of CARRIERS) {
    test(`${says} carries sessions of all workers, both ways and whole`, async () => {
      const { node } = world;
      const workers = new Set<number>();
      for (let batch = 0; batch < BATCHES && workers.size < 2; batch++) {
        const hosts = Array.from({ length: SESSIONS }, (_, session) => hostOf(name, batch * SESSIONS + session));
        const outcomes = await Promise.all(hosts.map((host) => world.get(host, "/words")));
        for (const { code, stderr, stdout } of outcomes) {
          assert.deepEqual([code, stderr], [0, ""], node.process.output());
          assert.ok(stdout === WORDS, `${stdout.length} bytes came`);
        }
        for (const host of hosts) {
          const session = await node.session(host);
          assert.deepEqual([session.tools, session.state], [[{ name, state: "connected" }], "EST:EST:EST:EST"]);
          workers.add(session.worker);
        }
      }
      assert.equal(workers.size, 2);
      const stats = (await node.stats()).tools.find((tool) => tool.name === name);
      assert.equal(stats?.strangers, 0);
    });
  }

  test("HAProxy gets the client, the server with its mapped port, the session's ID and its host", async () => {
    const host = hostOf("told");
    const { stdout } = await world.get(host, "/seen", ["-w", "%{local_port}"]);
    const port = /(\d+)$/.exec(stdout)?.[1];
    const { id } = await world.node.session(host);
    await programOf("told").shows(
      new RegExp(`from ${CLIENT}:${port} to 127.0.0.1:80, ID ${id}-[0-9a-f]{32}, host ${host.replaceAll(".", "\\.")}`),
    );
  });

  test("A host name that would make the header too long for nginx is left out of it", async () => {
    const long = hostOf("guide-nginx", LONG);
    const { code, stderr } = await world.get(long, "/seen");
    assert.deepEqual([code, stderr], [0, ""]);
    assert.deepEqual((await world.node.session(long)).tools, [{ name: "guide-nginx", state: "connected" }]);
  });

  test("A program for SSLproxy gets both ends, and that there was TLS", async () => {
    const { stdout } = await world.get(hostOf("keeps"), "/seen", ["-w", "%{local_port}"]);
    const port = /(\d+)$/.exec(stdout)?.[1];
    const server = `\\[127\\.0\\.0\\.1\\]:${backend.origin.port}`;
    await programOf("keeps").shows(
      new RegExp(
        `SSLproxy: \\[127\\.0\\.0\\.1\\]:\\d+,\\[${CLIENT.replaceAll(".", "\\.")}\\]:${port},${server},s\r?\n`,
      ),
    );
  });

  test("HAProxy's changes to requests and answers reach the server and the client", async () => {
    const host = hostOf("changed");
    const { stdout, code, stderr } = await world.get(host, "/seen", ["-i"]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /^x-tool-too: and-here\r$/im);
    assert.match(stdout, new RegExp(`^was-here\\|${host}\\|HTTP/1.1$`, "m"));
  });

  test("HAProxy answers a request itself: the client gets the answer, and nothing reaches the server", async () => {
    const host = hostOf("denies");
    const { code, stdout } = await world.get(host, "/forbidden", ["-w", "%{http_code}", "-o", "/dev/null"]);
    assert.deepEqual([code, stdout], [0, "403"]);
    const { serverLeg, closeReason } = await world.node.session(host);
    assert.equal(serverLeg.sent, 0);
    assert.match(closeReason ?? "", /denies closed the connection/);
    assert.equal((await world.get(hostOf("denies", "-neighbour"), "/seen")).code, 0);
  });

  test("HAProxy resets a session: both ends are reset, and other sessions go on", async () => {
    const host = hostOf("kills");
    const { code, stdout } = await world.get(host, "/killed");
    assert.notEqual(code, 0);
    assert.equal(stdout, "");
    assert.equal((await world.node.session(host)).serverLeg.sent, 0);
    assert.equal((await world.get(hostOf("kills", "-neighbour"), "/seen")).code, 0);
  });
});

describe("A tool of kind proxy", PEERS, () => {
  let backend: Backend;

  before(async () => {
    backend = await startBackend();
  });
  after(async () => {
    await backend?.[Symbol.asyncDispose]();
  });

  test("A reload changes a tool's port map while its live sessions go on", async () => {
    await using world = await startWorld(backend, [{ start: haproxy, more: { ports: { default: 80 } } }], {
      workers: 1,
    });
    const { node, tools, ports } = world;
    const { socket: live } = await connectThrough(node.proxy, `127.0.0.1:${backend.origin.port}`);
    live.write("HELO seen ");
    await until("a session in the tool", async () => (await node.stats()).tools[0]?.sessions === 1);
    const [address, returnAddress] = [ports[0]!.port, ports[0]!.back].map((port) => `127.0.0.1:${port}`);
    const tool = { name: "tool0", kind: "proxy", address, returnAddress, ports: { default: 81 } };
    node.rewrite({ tools: [tool] });
    await node.api("reload", "POST");
    assert.equal((await world.get(`reloaded.${DOMAIN}`, "/seen")).code, 0);
    await tools[0]!.shows(/to 127.0.0.1:81, .*host reloaded/);
    const answer = once(live.resume(), "data");
    live.write("\r\n\r\n");
    assert.match(String((await answer)[0]), /400/);
    live.destroy();
    await node.stop();
  });

  test("HTTP/2 is not negotiated with a tool that needs HTTP/1.1, nor where a rule says so, but in all other sessions", async () => {
    const rules = [
      { name: "old", match: { host: [`old.${DOMAIN}`] }, action: "decrypt", alpn: "http/1.1", tools: [] },
      { name: "free", match: { host: [`new.${DOMAIN}`] }, action: "decrypt", tools: [] },
    ];
    await using world = await startWorld(backend, [{ start: haproxy, more: { alpn: "http/1.1" } }], {
      policy: { rules },
    });
    for (const [host, alpn, tools] of [
      [`tool.${DOMAIN}`, "http/1.1", 1],
      [`old.${DOMAIN}`, "http/1.1", 0],
      [`new.${DOMAIN}`, "h2", 0],
    ] as const) {
      const { code, stdout } = await world.get(host, "/seen", ["--http2", "-w", "%{http_version}"]);
      assert.equal(code, 0);
      assert.ok(stdout.endsWith(alpn === "h2" ? "|HTTP/2.0\n2" : "|HTTP/1.1\n1.1"), stdout);
      const session = await world.node.session(host);
      assert.deepEqual([session.clientLeg.alpn, session.serverLeg.alpn, session.tools.length], [alpn, alpn, tools]);
    }
    await world.node.stop();
  });

  test("A request passes a chain of HAProxy, nginx and HAProxy in the order of the rule", async () => {
    const first = (ports: ToolPorts) =>
      haproxy(ports, { mode: "http", rules: ["http-request set-header X-Tool first"] });
    const last = (ports: ToolPorts) =>
      haproxy(ports, { mode: "http", rules: ["http-request replace-header X-Tool (.*) \\1+last"] });
    const programs = [
      { start: first, more: { alpn: "http/1.1" } },
      { start: nginxStream, more: BY_ADDRESSES },
      { start: last },
    ];
    const rules = [{ name: "back", match: { host: [`back.${DOMAIN}`] }, action: "decrypt", tools: ["tool2", "tool0"] }];
    await using world = await startWorld(backend, programs, { policy: { rules } });
    const { node } = world;
    for (const [host, seen, tools] of [
      [`all.${DOMAIN}`, "first+last", ["tool0", "tool1", "tool2"]],
      [`back.${DOMAIN}`, "first", ["tool2", "tool0"]],
    ] as const) {
      const { code, stdout, stderr } = await world.get(host, "/seen");
      assert.deepEqual([code, stderr], [0, ""]);
      assert.ok(stdout.startsWith(`${seen}|`), stdout);
      const session = await node.session(host);
      assert.deepEqual(
        session.tools,
        tools.map((name) => ({ name, state: "connected" })),
      );
    }
    await until("every tool to be free", async () =>
      (await node.stats()).tools.every(({ sessions }) => sessions === 0),
    );
    await node.stop();
  });
});
