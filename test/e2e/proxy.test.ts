import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import { connectThrough, nextChunk, readAll } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { source } from "../peers.ts";
import { makePki } from "../pki.ts";
import { freePort, type Program, run, start, until } from "../processes.ts";

describe("The explicit proxy", needs("openssl", "curl", "python3"), () => {
  let node: TestNode;
  let deaf: Program;
  let deafPort: string;
  let web: http.Server;
  let webPort: number;

  before(async () => {
    const pki = await makePki();
    deaf = start(program("python3"), [source("deaf.py")]);
    deafPort = (await deaf.shows(/^PORT (\d+)/m))[1]!;
    web = http.createServer(async (request, response) => {
      const body = (await request.toArray()).join("");
      response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers, body }));
    });
    web.listen(0, "127.0.0.1");
    await once(web, "listening");
    webPort = (web.address() as net.AddressInfo).port;
    node = await startNode({
      trust: [pki.root.certificate],
      config: {
        timeouts: { connect: "1s", hello: "2s", drain: "1s" },
        policy: { rules: [{ name: "no such host", match: { host: "forbidden.test" }, action: "drop" }] },
      },
    });
  });
  after(async () => {
    await node?.stop();
    await deaf?.stop();
    web?.close();
  });

  test("CONNECT to a closed port is answered with 502 only", async () => {
    const since = Date.now();
    const { status, socket } = await connectThrough(node.proxy, `127.0.0.1:${await freePort()}`);
    assert.equal(status, 502);
    const session = await node.sessionFrom(socket.localPort!, since);
    assert.equal(session.state, "EST:SYN_SENT:INIT:INIT");
    assert.match(session.closeReason ?? "", /refuse/i);
    socket.destroy();
  });

  test("CONNECT to a host without an address is answered with 502", async () => {
    const { status, socket } = await connectThrough(node.proxy, "no-such-host.invalid:443");
    assert.equal(status, 502);
    socket.destroy();
  });

  test("CONNECT to a server that does not answer is answered with 504", async () => {
    const since = Date.now();
    const { status, socket } = await connectThrough(node.proxy, `127.0.0.1:${deafPort}`);
    assert.equal(status, 504);
    const session = await node.sessionFrom(socket.localPort!, since);
    assert.equal(session.connectHost, "127.0.0.1");
    assert.equal(session.server?.port, Number(deafPort));
    socket.destroy();
  });

  test("curl reports the proxy's status when the server is closed", async () => {
    const args = ["-q", "-sS", "--noproxy", "", "--proxy", `http://127.0.0.1:${node.proxy}`];
    const { code, stderr } = await run(program("curl"), [...args, `https://localhost:${await freePort()}/`]);
    assert.equal(code, 56, stderr);
    assert.match(stderr, /502/);
  });

  test("A plain HTTP request in absolute form reaches its server in origin form", async () => {
    const args = ["-q", "-sS", "--noproxy", "", "--proxy", `http://127.0.0.1:${node.proxy}`, "-d", "a=b"];
    const { stdout, stderr } = await run(program("curl"), [...args, `http://localhost:${webPort}/path?query`]);
    assert.equal(stderr, "");
    const seen = JSON.parse(stdout);
    assert.deepEqual(
      { method: seen.method, url: seen.url, body: seen.body, host: seen.headers.host },
      { method: "POST", url: "/path?query", body: "a=b", host: `localhost:${webPort}` },
    );
    assert.equal(seen.headers["proxy-connection"], undefined);
    const session = await until("the request's session", async () =>
      (await node.sessions({ host: "localhost" })).find(({ protocol }) => protocol === "http"),
    );
    assert.deepEqual([session.connectHost, session.sni], ["localhost", null]);
  });

  test("A plain HTTP request for a closed port is answered with 502", async () => {
    const args = ["-q", "-sS", "--noproxy", "", "--proxy", `http://127.0.0.1:${node.proxy}`, "-w", "%{http_code}"];
    const { stdout } = await run(program("curl"), [
      ...args,
      "-o",
      "/dev/null",
      `http://127.0.0.1:${await freePort()}/`,
    ]);
    assert.equal(stdout, "502");
  });

  test("A host that a rule drops gets 403 for plain HTTP", async () => {
    const args = ["-q", "-sS", "--noproxy", "", "--proxy", `http://127.0.0.1:${node.proxy}`, "-w", "%{http_code}"];
    const { stdout } = await run(program("curl"), [...args, "-o", "/dev/null", "http://forbidden.test/"]);
    assert.equal(stdout, "403");
  });

  for (const [title, request, status] of [
    ["not HTTP", "garbage\r\n\r\n", 400],
    ["a CONNECT without a port", "CONNECT example.com HTTP/1.1\r\nHost: example.com\r\n\r\n", 400],
    ["a request in origin form", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400],
    ["another scheme", "GET ftp://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400],
    [
      "a smuggling head",
      "POST http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
      400,
    ],
    ["a head without an end", `GET http://127.0.0.1/ HTTP/1.1\r\nX: ${"x".repeat(70_000)}`, 431],
    ["half a request, then silence", "GET http://127.0", 408],
  ] as const) {
    test(`The proxy answers ${title} with ${status} and closes`, async () => {
      const socket = net.connect(node.proxy, "127.0.0.1");
      socket.write(request);
      const answer = (await readAll(socket)).toString();
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `));
    });
  }

  test("A client that speaks TLS to the proxy itself sees an alert", async () => {
    const { stderr, code } = await run(program("openssl"), ["s_client", "-connect", `127.0.0.1:${node.proxy}`], {
      input: "",
    });
    assert.notEqual(code, 0);
    assert.match(stderr, /alert protocol version/);
  });

  test("Bytes that a client sends right behind CONNECT reach the server", async () => {
    const echo = net.createServer((socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
    await once(echo, "listening");
    const target = `127.0.0.1:${(echo.address() as net.AddressInfo).port}`;
    const socket = net.connect(node.proxy, "127.0.0.1");
    socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n@early`);
    let seen = "";
    while (!seen.includes("@early")) seen += await nextChunk(socket);
    assert.match(seen, /^HTTP\/1\.1 200 [^\r]*\r\n\r\n@early$/);
    socket.destroy();
    echo.close();
  });
});
