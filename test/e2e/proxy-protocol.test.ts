import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { readAll } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { makePki, type Pki } from "../pki.ts";
import { freePort, type Program, run, until } from "../processes.ts";
import { haproxy, haproxyWith } from "../tools/proxies.ts";

/** Clients come from these addresses, all of this machine. A rule drops the last one. */
const [CLIENT, DROPPED] = ["127.0.0.5", "127.0.0.66"];

/** Listeners of the node, each behind a port of HAProxy for version 1 and one for version 2. */
const LISTENERS = ["aware", "unaware", "without", "unexpected", "plain", "stranger"] as const;
const WAYS = [...LISTENERS, "explicit"] as const;
type Way = (typeof WAYS)[number];

describe("The PROXY protocol in front of the node", needs("haproxy", "nginx-light", "curl"), () => {
  let pki: Pki;
  let node: TestNode;
  let server: Nginx;
  let balancer: Program;
  let tool: Program;
  const ports = new Map<string, number>();
  const portOf = (what: string) => ports.get(what)!;

  before(async () => {
    pki = await makePki();
    for (const name of ["aware server", "plain server", "front", "tool", "back", ...LISTENERS, "expecting", "open"])
      ports.set(name, await freePort());
    for (const way of WAYS) for (const version of [1, 2]) ports.set(`${way} v${version}`, await freePort());
    server = await nginx(
      pki.server.ecdsa,
      `listen 127.0.0.1:${portOf("aware server")} ssl proxy_protocol;
       listen 127.0.0.1:${portOf("plain server")} proxy_protocol;
       location = /who { return 200 "$proxy_protocol_addr $host\\n"; }`,
    );
    tool = await haproxy({ port: portOf("tool"), back: portOf("back") });
    const forward = (name: string, to: number, more: object) => ({
      ...{ name, mode: "forward", address: `127.0.0.1:${portOf(name)}`, server: `127.0.0.1:${to}` },
      ...more,
    });
    const from = { from: ["127.0.0.1", "192.0.2.0/24"] };
    const expecting = { name: "expecting", mode: "explicit", address: `127.0.0.1:${portOf("expecting")}` };
    node = await startNode({
      trust: [pki.root.certificate],
      config: {
        timeouts: { hello: "2s", drain: "1s" },
        listeners: [
          { ...expecting, proxyProtocol: true },
          { name: "open", mode: "explicit", address: `127.0.0.1:${portOf("open")}` },
          forward("aware", portOf("aware server"), { proxyProtocol: from }),
          forward("unaware", server.port, { proxyProtocol: from }),
          forward("without", server.port, { proxyProtocol: { ...from, toServer: false } }),
          forward("unexpected", portOf("aware server"), {}),
          forward("plain", portOf("plain server"), {}),
          forward("stranger", portOf("aware server"), { proxyProtocol: { from: "192.0.2.1-192.0.2.9" } }),
        ],
        policy: { rules: [{ name: "that client", match: { client: [DROPPED] }, action: "drop" }] },
        feeds: [{ name: "archive", kind: "pcapng", directory: "./captures" }],
        tools: [
          {
            ...{ name: "seeing", kind: "proxy", onFailure: "drop" },
            ...{ address: `127.0.0.1:${portOf("tool")}`, returnAddress: `127.0.0.1:${portOf("back")}` },
          },
        ],
      },
    });
    balancer = await haproxyWith({ port: portOf("explicit v2"), back: 0 }, balancing());
  });
  after(async () => {
    await node?.stop();
    for (const one of [balancer, tool, server?.process]) await one?.stop();
  });

  function balancing(): string {
    const sections = WAYS.flatMap((way) =>
      [1, 2].map((version) => {
        const to = portOf(way === "explicit" ? "expecting" : way);
        const send = version === 1 ? "send-proxy" : "send-proxy-v2";
        return `listen ${way}-${version}\n  bind 127.0.0.1:${portOf(`${way} v${version}`)}\n  server node 127.0.0.1:${to} ${send}`;
      }),
    );
    const times = "  timeout connect 5s\n  timeout client 30s\n  timeout server 30s";
    return `defaults\n  mode tcp\n${times}\n${sections.join("\n")}\n`;
  }

  /** Fetches a page through HAProxy, from the client's address, and answers with it and with its session. */
  async function fetchPage(way: Way, version: number, client: string, url = "https://localhost/who") {
    const since = Date.now();
    const port = portOf(`${way} v${version}`);
    const to =
      way === "explicit"
        ? ["--noproxy", "", "--proxy", `http://127.0.0.1:${port}`]
        : ["--noproxy", "*", "--connect-to", `::127.0.0.1:${port}`];
    const trust = ["--cacert", node.primary];
    const args = ["-q", "-sS", "-m", "20", "--interface", client, ...trust, ...to, "-w", "%{local_port}", url];
    const { stdout, stderr, code } = await run(program("curl"), args);
    const [, page = "", localPort] = /^(.*?)\n?(\d+)$/s.exec(stdout) ?? [];
    const named = { address: client, port: Number(localPort) };
    const session = await until("the session", async () =>
      (await node.sessions({ listener: way === "explicit" ? "expecting" : way })).find(
        ({ proxyHeader, start, end }) =>
          start >= since && end !== null && (code !== 0 || proxyHeader?.client?.port === named.port),
      ),
    );
    return { page, stderr, code, session, named };
  }

  for (const version of [1, 2] as const) {
    test(`The client is the header's, and the server gets the header too, version ${version}`, async () => {
      const { page, session, named, stderr } = await fetchPage("aware", version, CLIENT);
      assert.equal(page, `${CLIENT} localhost`, stderr);
      assert.deepEqual(session.client, named);
      assert.partialDeepStrictEqual(session, {
        verdict: "decrypt",
        proxyHeader: { version, client: named, from: { address: "127.0.0.1" }, believed: true },
        tools: [{ name: "seeing", state: "connected" }],
      });
      await tool.shows(new RegExp(`^.*from ${CLIENT}:${named.port} to `, "m"));
      // Packets are written a moment after they pass.
      const address = Buffer.from(CLIENT.split(".").map(Number));
      await until("a feed to have the client's address", () => captured().includes(address));
    });

    test(`Policy judges the header's client, version ${version}`, async () => {
      const { code, session } = await fetchPage("aware", version, DROPPED);
      assert.notEqual(code, 0);
      assert.partialDeepStrictEqual(session, { client: { address: DROPPED }, verdict: "drop", rule: "that client" });
    });

    for (const way of ["unaware", "without"] as const) {
      test(`A server that understands no header gets none, ${way}, version ${version}`, async () => {
        const { page, session, stderr } = await fetchPage(way, version, CLIENT, "https://localhost/negotiated");
        assert.match(page, /^TLSv1\.3 .* localhost$/, stderr);
        assert.partialDeepStrictEqual(session, { client: { address: CLIENT }, verdict: "decrypt" });
      });
    }

    test(`The proxy takes the header, for CONNECT and for plain HTTP, version ${version}`, async () => {
      const tls = await fetchPage("explicit", version, CLIENT, `https://localhost:${server.port}/negotiated`);
      assert.match(tls.page, /^TLSv1\.3 .* localhost$/, tls.stderr);
      assert.deepEqual([tls.session.client, tls.session.verdict], [tls.named, "decrypt"]);
      const plain = await fetchPage("explicit", version, DROPPED, `http://127.0.0.1:${portOf("plain server")}/`);
      assert.partialDeepStrictEqual(plain.session, { client: { address: DROPPED }, verdict: "drop" });
    });

    for (const way of ["unexpected", "stranger"] as const) {
      test(`An ${way} header goes on to the server, and is named and not believed, version ${version}`, async () => {
        const { page, session, named, stderr } = await fetchPage(way, version, DROPPED);
        assert.equal(page, `${DROPPED} localhost`, stderr);
        assert.equal(session.client.address, "127.0.0.1");
        assert.partialDeepStrictEqual(session, { verdict: "decrypt", proxyHeader: { client: named, believed: false } });
        await node.process.shows(new RegExp(`"listener":"${way}".*"client":"${DROPPED}".*does not expect`));
      });
    }
  }

  test("Plain HTTP behind an unexpected header gets it again with each connection to the server", async () => {
    const port = portOf("plain v1");
    const args = ["-q", "-sS", "-m", "20", "--noproxy", "*", "--interface", CLIENT];
    const urls = ["first.test", "second.test"].flatMap((host) => [
      "-H",
      `Host: ${host}`,
      `http://127.0.0.1:${port}/who`,
      "--next",
      ...args,
    ]);
    const { stdout, stderr } = await run(program("curl"), [...args, ...urls.slice(0, -1 - args.length)]);
    assert.equal(stdout, `${CLIENT} first.test\n${CLIENT} second.test\n`, stderr);
  });

  test("The proxy takes an unexpected header off, and does not believe it", async () => {
    const since = Date.now();
    const host = `127.0.0.1:${portOf("plain server")}`;
    const socket = net.connect(portOf("open"), "127.0.0.1");
    await once(socket, "connect");
    const { localPort } = socket;
    const own = `PROXY TCP4 203.0.113.9 127.0.0.1 4000 80\r\n`;
    socket.write(`${own}GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    // This server expects a header, and the proxy sends it none.
    assert.match((await readAll(socket)).toString(), /^HTTP\/1\.1 (?:400|502) |^$/);
    assert.partialDeepStrictEqual(await node.sessionFrom(localPort!, since), {
      client: { address: "127.0.0.1" },
      proxyHeader: { version: 1, client: { address: "203.0.113.9", port: 4000 }, believed: false },
      connectHost: "127.0.0.1",
    });
  });

  for (const [title, bytes, reason] of [
    ["no header", "GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", /did not begin with the PROXY header/],
    ["a malformed header", "PROXY TCP4 1.2.3 4.5.6.7 1 2\r\n", /Cannot read the PROXY header/],
    ["half a signature", "\r\n\r\n\0\r\nQUIX", /did not begin with the PROXY header/],
  ] as const) {
    test(`A connection with ${title} where one is expected is reset, and its record says why`, async () => {
      const since = Date.now();
      const socket = net.connect(portOf("expecting"), "127.0.0.1");
      await once(socket, "connect");
      const { localPort } = socket;
      socket.write(bytes, "latin1");
      await assert.rejects(readAll(socket), { code: "ECONNRESET" });
      assert.match((await node.sessionFrom(localPort!, since)).closeReason ?? "", reason);
    });
  }

  test("A connection that sends no header in time is reset, and one that leaves at once is no session", async () => {
    const since = Date.now();
    const before = (await node.sessions({ listener: "expecting" })).length;
    const leaving = net.connect(portOf("expecting"), "127.0.0.1");
    await once(leaving, "connect");
    leaving.end();
    assert.equal((await readAll(leaving)).length, 0);
    const late = net.connect(portOf("expecting"), "127.0.0.1");
    late.write("PROXY TC");
    await assert.rejects(readAll(late), { code: "ECONNRESET" });
    const next = net.connect(portOf("expecting"), "127.0.0.1");
    await once(next, "connect");
    const { localPort } = next;
    next.write("GET / HTTP/1.1\r\n\r\n");
    await assert.rejects(readAll(next), { code: "ECONNRESET" });
    await node.sessionFrom(localPort!, since);
    // The record of a later connection is there, and none of these two.
    assert.equal((await node.sessions({ listener: "expecting" })).length, before + 1);
  });

  function captured(): Buffer {
    return Buffer.concat(readdirSync(node.captures).map((file) => readFileSync(join(node.captures, file))));
  }
});
