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
import { type Behind, CLIENT, startBehind, startWorld, WORDS } from "./world.ts";

describe("A tool of kind proxy", needs("openssl", "nginx-light", "curl", "haproxy", "libnginx-mod-stream"), () => {
  let behind: Behind;

  before(async () => {
    behind = await startBehind();
  });
  after(async () => {
    await behind?.[Symbol.asyncDispose]();
  });

  for (const [name, start, more] of [
    ["HAProxy, which passes the unique ID on", haproxy],
    ["HAProxy that tells the addresses only", (at: ToolPorts) => haproxy(at, { send: "send-proxy-v2" })],
    ["HAProxy that answers with version 1", (at: ToolPorts) => haproxy(at, { send: "send-proxy" })],
    ["nginx, which tells of its own connection", nginxStream],
    ["nginx that tells of the client", (at: ToolPorts) => nginxStream(at, ["set_real_ip_from 127.0.0.1;"])],
    ["The guide's HAProxy", (at: ToolPorts) => haproxyWith(at, documented("haproxy", at))],
    ["The guide's nginx", (at: ToolPorts) => nginxWith(at, documented("nginx", at))],
    ["A program that keeps SSLproxy's line", (at: ToolPorts) => listeningProgram(at, "keep"), { header: "sslproxy" }],
    ["A program that strips SSLproxy's line", (at: ToolPorts) => listeningProgram(at, "strip"), { header: "sslproxy" }],
  ] as const) {
    test(`${name}: sessions of all workers pass it, both ways and whole`, async () => {
      await using world = await startWorld(behind, [{ start: (ports) => start(ports), ...(more && { more }) }]);
      const { node } = world;
      const names = Array.from({ length: 12 }, (_, index) => `s${index}.${DOMAIN}`);
      const outcomes = await Promise.all(names.map((host) => world.get(host, "/words")));
      for (const { code, stderr, stdout } of outcomes) {
        assert.deepEqual([code, stderr], [0, ""], node.process.output());
        assert.ok(stdout === WORDS, `${stdout.length} bytes came`);
      }
      const workers = new Set<number>();
      for (const host of names) {
        const { tools, state, worker } = await node.session(host);
        assert.deepEqual([tools, state], [[{ name: "tool0", state: "connected" }], "EST:EST:EST:EST"]);
        workers.add(worker);
      }
      assert.equal(workers.size, 2);
      const { tools } = await node.stats();
      assert.equal(tools[0]?.strangers, 0);
      await node.stop();
    });
  }

  test("HAProxy is told the client, the server with its mapped port, the session and its host", async () => {
    await using world = await startWorld(behind, [{ start: haproxy, more: { ports: { default: 80 } } }]);
    const host = `told.${DOMAIN}`;
    const { stdout } = await world.get(host, "/seen", ["-w", "%{local_port}"]);
    const port = /(\d+)$/.exec(stdout)?.[1];
    const { id } = await world.node.session(host);
    await world.tools[0]!.shows(
      new RegExp(`from ${CLIENT}:${port} to 127.0.0.1:80, ID ${id}, host ${host.replaceAll(".", "\\.")}`),
    );
    await world.node.stop();
  });

  test("A reload changes what the tool is told, at the same return address, and its live sessions go on", async () => {
    await using world = await startWorld(behind, [{ start: haproxy, more: { ports: { default: 80 } } }], {
      workers: 1,
    });
    const { node, tools, ports } = world;
    const { socket: live } = await connectThrough(node.proxy, `127.0.0.1:${behind.origin.port}`);
    live.write("GET /seen ");
    await until("a session in the tool", async () => (await node.stats()).tools[0]?.sessions === 1);
    const [address, returnAddress] = [ports[0]!.port, ports[0]!.back].map((port) => `127.0.0.1:${port}`);
    const tool = { name: "tool0", kind: "proxy", address, returnAddress, ports: { default: 81 } };
    node.rewrite({ tools: [tool] });
    await node.api("reload", "POST");
    assert.equal((await world.get(`reloaded.${DOMAIN}`, "/seen")).code, 0);
    await tools[0]!.shows(/to 127.0.0.1:81, .*host reloaded/);
    const answer = once(live.resume(), "data");
    live.write("HTTP/1.0\r\n\r\n");
    assert.match(String((await answer)[0]), /400/);
    live.destroy();
    await node.stop();
  });

  test("A program that is written for SSLproxy is told both ends and that there was TLS", async () => {
    const start = (ports: ToolPorts) => listeningProgram(ports, "keep");
    await using world = await startWorld(behind, [{ start, more: { header: "sslproxy" } }]);
    const { stdout } = await world.get(`line.${DOMAIN}`, "/seen", ["-w", "%{local_port}"]);
    const port = /(\d+)$/.exec(stdout)?.[1];
    const server = `\\[127\\.0\\.0\\.1\\]:${behind.origin.port}`;
    await world.tools[0]!.shows(
      new RegExp(
        `SSLproxy: \\[127\\.0\\.0\\.1\\]:\\d+,\\[${CLIENT.replaceAll(".", "\\.")}\\]:${port},${server},s\r?\n`,
      ),
    );
    await world.node.stop();
  });

  test("What HAProxy changes in requests and answers arrives at the server and the client", async () => {
    const rules = ["http-request set-header X-Tool was-here", "http-response set-header X-Tool-Too and-here"];
    const start = (ports: ToolPorts) => haproxy(ports, { mode: "http", rules });
    await using world = await startWorld(behind, [{ start, more: { alpn: "http/1.1" } }]);
    const host = `changed.${DOMAIN}`;
    const { stdout, code, stderr } = await world.get(host, "/seen", ["-i"]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /^x-tool-too: and-here\r$/im);
    assert.match(stdout, new RegExp(`^was-here\\|${host}\\|HTTP/1.1$`, "m"));
    await world.node.stop();
  });

  test("HAProxy answers by itself: the client reads the answer, the server hears nothing", async () => {
    const start = (ports: ToolPorts) =>
      haproxy(ports, { mode: "http", rules: ["http-request deny if { path /forbidden }"] });
    await using world = await startWorld(behind, [{ start, more: { alpn: "http/1.1" } }]);
    const { node } = world;
    const host = `denied.${DOMAIN}`;
    const { code, stdout } = await world.get(host, "/forbidden", ["-w", "%{http_code}", "-o", "/dev/null"]);
    assert.deepEqual([code, stdout], [0, "403"]);
    const { serverLeg, closeReason } = await node.session(host);
    assert.equal(serverLeg.sent, 0);
    assert.match(closeReason ?? "", /tool0 closed the connection/);
    const allowed = await world.get(`neighbour.${DOMAIN}`, "/seen");
    assert.equal(allowed.code, 0);
    await node.stop();
  });

  test("HAProxy ends a session with a reset: both ends are reset, and its neighbours go on", async () => {
    const rules = ["http-request reject if { path /killed }"];
    const start = (ports: ToolPorts) => haproxy(ports, { mode: "http", rules });
    await using world = await startWorld(behind, [{ start, more: { alpn: "http/1.1" } }]);
    const host = `killed.${DOMAIN}`;
    const { code, stdout } = await world.get(host, "/killed");
    assert.notEqual(code, 0);
    assert.equal(stdout, "");
    assert.equal((await world.node.session(host)).serverLeg.sent, 0);
    assert.equal((await world.get(`alive.${DOMAIN}`, "/seen")).code, 0);
    await world.node.stop();
  });

  test("HTTP/2 is kept out of sessions with a tool that knows only HTTP/1.1, or by a rule, and is spoken in all others", async () => {
    const rules = [
      { name: "old", match: { host: [`old.${DOMAIN}`] }, action: "decrypt", alpn: "http/1.1", tools: [] },
      { name: "free", match: { host: [`new.${DOMAIN}`] }, action: "decrypt", tools: [] },
    ];
    await using world = await startWorld(behind, [{ start: haproxy, more: { alpn: "http/1.1" } }], {
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

  test("A chain of HAProxy, nginx and HAProxy: what the client says passes them in order, each tells its own", async () => {
    const first = (ports: ToolPorts) =>
      haproxy(ports, { mode: "http", rules: ["http-request set-header X-Tool first"] });
    const last = (ports: ToolPorts) =>
      haproxy(ports, { mode: "http", rules: ["http-request replace-header X-Tool (.*) \\1+last"] });
    const programs = [{ start: first, more: { alpn: "http/1.1" } }, { start: nginxStream }, { start: last }];
    const rules = [{ name: "back", match: { host: [`back.${DOMAIN}`] }, action: "decrypt", tools: ["tool2", "tool0"] }];
    await using world = await startWorld(behind, programs, { policy: { rules } });
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
