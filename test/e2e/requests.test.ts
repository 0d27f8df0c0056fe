import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { connectThrough, nextChunk, readAll } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { makePki } from "../pki.ts";
import { freePort, type Program, run, scratch, until } from "../processes.ts";
import { haproxy } from "../tools/proxies.ts";

/** A web server that keeps connections, whatever it is asked, and notes its requests. */
interface Web {
  readonly name: string;
  readonly port: number;
  readonly server: http.Server;
  /** "METHOD path host", with the number of its connection. */
  readonly asked: { readonly what: string; readonly connection: number }[];
}

async function openWeb(name: string): Promise<Web> {
  const connections: net.Socket[] = [];
  const asked: Web["asked"] = [];
  const options = {
    maxHeaderSize: 131_072,
    shouldUpgradeCallback: ({ headers }: http.IncomingMessage) => headers.upgrade === "echo",
  };
  const server = http.createServer(options, (request, response) => {
    if (request.url?.startsWith("/ntlm") && !isLoggedIn(request, response)) return;
    const hash = createHash("sha256");
    let length = 0;
    request.on("data", (bytes: Buffer) => {
      hash.update(bytes);
      length += bytes.length;
    });
    request.on("end", () => {
      const what = `${request.method} ${request.url?.slice(0, 40)} ${request.headers.host}`;
      asked.push({ what, connection: connections.indexOf(request.socket) });
      // As a server that ignores "Connection: close".
      response.shouldKeepAlive = true;
      const [, status] = /^\/status\/(\d{3})/.exec(request.url ?? "") ?? [];
      response.statusCode = Number(status ?? 200);
      if (request.url === "/chunked") for (const part of ["one ", "two ", "three"]) response.write(part);
      else if (length > 0) response.write(`${length} ${hash.digest("hex")}`);
      else if (status === undefined) response.setHeader("Content-Length", name.length).write(name);
      response.end();
    });
  });
  server.on("connection", (socket) => connections.push(socket));
  server.on("upgrade", (request, socket) => {
    asked.push({ what: `UPGRADE ${request.headers.host}`, connection: connections.indexOf(request.socket) });
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    socket.pipe(socket);
  });
  // On 127.0.0.3, too, which a rule bypasses.
  server.listen(0, "0.0.0.0");
  await once(server, "listening");
  return { name, port: (server.address() as net.AddressInfo).port, server, asked };
}

/** Connections that have logged in with NTLM: it is the connection that is logged in, not the request. */
const loggedIn = new WeakMap<net.Socket, "asked" | "yes">();
/** Type 2: a challenge of eight bytes, Unicode and NTLM. */
const CHALLENGE = Buffer.from("NTLMSSP\0\x02\0\0\0\0\0\0\0\x38\0\0\0\x05\x02\0\0challeng".padEnd(56, "\0"), "latin1");

function isLoggedIn({ socket, headers }: http.IncomingMessage, response: http.ServerResponse): boolean {
  const [, token] = /^NTLM (.+)$/.exec(headers.authorization ?? "") ?? [];
  const type = token && Buffer.from(token, "base64").readUInt32LE(8);
  if (type === 3 && loggedIn.get(socket) === "asked") loggedIn.set(socket, "yes");
  if (loggedIn.get(socket) === "yes") return true;
  if (type === 1) loggedIn.set(socket, "asked");
  response.setHeader("WWW-Authenticate", type === 1 ? `NTLM ${CHALLENGE.toString("base64")}` : "NTLM");
  response.writeHead(401, { "Content-Length": 0 }).end();
  return false;
}

/** Requests of all kinds, and what they are answered. */
const MIXED = fc.record({
  method: fc.constantFrom("GET", "HEAD", "POST", "CHUNKED"),
  status: fc.constantFrom(200, 204, 304),
  size: fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 100_000 })),
  toB: fc.boolean(),
});

function bodyOf(method: string, size: number): { readonly fields: string[]; readonly body: string } {
  const data = "z".repeat(size);
  if (method === "POST") return { fields: [`Content-Length: ${size}`], body: data };
  if (method !== "CHUNKED") return { fields: [], body: "" };
  const chunks = (data.match(/z{1,7000}/g) ?? []).map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`);
  return { fields: ["Transfer-Encoding: chunked"], body: `${chunks.join("")}0\r\n\r\n` };
}

for (const through of ["nothing", "HAProxy as a tool"] as const) {
  describe(`Plain HTTP through ${through}, request by request`, needs("openssl", "curl", "siege", "haproxy"), () => {
    let node: TestNode;
    let tool: Program | undefined;
    let [a, b]: Web[] = [];

    before(async () => {
      const pki = await makePki();
      [a, b] = [await openWeb("A"), await openWeb("B")];
      const ports = { port: await freePort(), back: await freePort() };
      if (through !== "nothing") tool = await haproxy(ports);
      const tools = [
        {
          name: "passing",
          kind: "proxy",
          address: `127.0.0.1:${ports.port}`,
          returnAddress: `127.0.0.1:${ports.back}`,
          onFailure: "drop",
        },
      ];
      node = await startNode({
        trust: [pki.root.certificate],
        forwards: { web: a.port },
        config: {
          ...(tool && { tools, feeds: [{ name: "archive", kind: "pcapng", directory: "./captures" }] }),
          workers: 1,
          timeouts: { connect: "2s", hello: "2s", drain: "1s" },
          policy: {
            rules: [
              { name: "no such host", match: { host: "*.forbidden.test" }, action: "drop" },
              { name: "no tool", match: { host: "past.test" }, action: "decrypt", tools: [] },
              { name: "not looked at", match: { server: "127.0.0.3" }, action: "bypass" },
            ],
          },
        },
      });
    });
    after(async () => {
      await node?.stop();
      await tool?.stop();
      for (const web of [a, b]) {
        web?.server.closeAllConnections();
        web?.server.close();
      }
    });

    /** Says this to the explicit proxy or the forwarding port, and answers all that comes until `enough`. */
    async function say(
      way: "explicit" | "forward",
      text: string | readonly string[],
      enough: { test(heard: string): boolean } = /(?!)/,
    ): Promise<string> {
      const port = way === "explicit" ? node.proxy : node.forward("web");
      const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
      await once(socket, "connect");
      let heard = "";
      try {
        for (const part of [text].flat()) socket.write(part, "latin1");
        while (!enough.test(heard)) {
          const bytes = await nextChunk(socket);
          if (bytes === undefined) break;
          heard += bytes.toString("latin1");
        }
      } catch (error) {
        heard += `<${(error as NodeJS.ErrnoException).code}>`;
      }
      socket.destroy();
      return heard;
    }

    /** The bodies and statuses of answers, in order. */
    const statuses = (heard: string) => [...heard.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
    const get = (web: Web | undefined, path: string, ...fields: string[]) =>
      [`GET http://127.0.0.1:${web!.port}${path} HTTP/1.1`, `Host: 127.0.0.1:${web!.port}`, ...fields, "", ""].join(
        "\r\n",
      );
    const plain = (path: string, host: string, ...fields: string[]) =>
      [`GET ${path} HTTP/1.1`, `Host: ${host}`, ...fields, "", ""].join("\r\n");
    const since = (web: Web | undefined, begin: number) =>
      web!.asked.slice(begin).map(({ what }) => what.split(" ")[1]);

    test("Pipelined requests for two servers reach each its own, and are answered in order", async () => {
      const [fromA, fromB] = [a!.asked.length, b!.asked.length];
      const heard = await say(
        "explicit",
        [get(a, "/1"), get(a, "/2", "Connection: close"), get(b, "/3"), get(a, "/4")].join(""),
        /(?:\r\n\r\n[AB].*){4}$/s,
      );
      assert.deepEqual(statuses(heard), [200, 200, 200, 200]);
      assert.deepEqual([since(a, fromA), since(b, fromB)], [["/1", "/2", "/4"], ["/3"]]);
      const [first, second, third] = a!.asked.slice(fromA).map(({ connection }) => connection);
      assert.equal(first, second, "the connection to a server is kept while its requests follow each other");
      assert.notEqual(third, first);
    });

    test("A request for a host that policy drops is refused, whatever came before it on the connection", async () => {
      const forbidden = "GET http://www.forbidden.test/ HTTP/1.1\r\nHost: ok.test\r\n\r\n";
      const begin = Date.now();
      const heard = await say("explicit", get(a, "/before") + forbidden + get(a, "/never"));
      assert.deepEqual(statuses(heard), [200, 403]);
      assert.equal(since(a, 0).at(-1), "/before");
      const session = await until("the dropped request's session", async () =>
        (await node.sessions({ host: "www.forbidden.test" })).find(({ start }) => start >= begin),
      );
      assert.partialDeepStrictEqual(session, { protocol: "http", verdict: "drop", rule: "no such host" });
    });

    test("A server that is bypassed by its address gets the requests for itself alone, as an origin server does", async () => {
      const [fromA, fromB] = [a!.asked.length, b!.asked.length];
      const server = `127.0.0.3:${a!.port}`;
      const bypassed = `GET http://${server}/1 HTTP/1.1\r\nHost: ${server}\r\n\r\n`;
      const forbidden = "GET http://www.forbidden.test/ HTTP/1.1\r\nHost: www.forbidden.test\r\n\r\n";
      assert.deepEqual(statuses(await say("explicit", bypassed + get(b, "/2") + forbidden)), [200, 200, 403]);
      assert.deepEqual([since(a, fromA), since(b, fromB)], [["/1"], ["/2"]]);
      const session = await until("the bypassed session", async () =>
        (await node.sessions({ verdict: "bypass" })).find(({ server }) => server?.address === "127.0.0.3"),
      );
      assert.partialDeepStrictEqual(session, { protocol: "http", phase: "network", rule: "not looked at" });
    });

    for (const [title, request] of [
      [
        "both lengths",
        "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      ],
      ["two lengths", "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"],
      ["obs-fold", "GET /x HTTP/1.1\r\nHost: h\r\nX: a\r\n b: c\r\n\r\n"],
      ["a bare LF", "GET /x HTTP/1.1\r\nHost: h\nX: y\r\n\r\n"],
      ["a bare CR", "GET /x HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n"],
      ["a space before the colon", "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"],
      ["two hosts", "GET /x HTTP/1.1\r\nHost: h\r\nHost: www.forbidden.test\r\n\r\n"],
      ["a host in the target and another in Host", "GET http://h/x HTTP/1.1\r\nHost: www.forbidden.test\r\n\r\n"],
      ["two spaces", "GET  /x HTTP/1.1\r\nHost: h\r\n\r\n"],
    ] as const) {
      test(`A request with ${title} is refused on a forwarding port, as the first and as a later one`, async () => {
        const before = a!.asked.length;
        assert.deepEqual(statuses(await say("forward", request)), [400]);
        assert.deepEqual(statuses(await say("forward", plain("/ok", "h") + request)), [200, 400]);
        assert.deepEqual(since(a, before), ["/ok"]);
      });
    }

    test("A chunked body that is none passes no further, and neither does what is behind it", async () => {
      const before = a!.asked.length;
      const head = "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
      for (const body of [
        "3\r\nabc\r\nxyz\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3 3\r\nabc\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "3\nabc\n0\n\n",
      ]) {
        const heard = await say("forward", `${head}${body}${plain("/hidden", "www.forbidden.test")}`);
        assert.deepEqual(statuses(heard), [], heard);
      }
      assert.deepEqual(since(a, before), []);
    });

    test("A head that ends with the client's connection reaches no server: some take the end of the connection for its end", async () => {
      const half = "GET /half HTTP/1.1\r\nHost: www.forbidden.test\r\n";
      let [heard, open] = ["", 0];
      const server = net.createServer((socket) => {
        open += 1;
        socket.on("data", (bytes) => {
          heard += bytes;
          if (heard.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        });
        socket.on("error", () => {});
        socket.on("close", () => (open -= 1));
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      const { port } = server.address() as net.AddressInfo;
      try {
        for (const way of ["explicit", "tunnel"] as const)
          for (const before of [[], [plain("/ok", "ok.test")]]) {
            const to = `127.0.0.1:${port}`;
            const absolute = (text: string) => text.replace(" /", ` http://${to}/`);
            const text = [...before, half].map(way === "explicit" ? absolute : (one) => one).join("");
            const socket =
              way === "explicit" ? net.connect(node.proxy, "127.0.0.1") : (await connectThrough(node.proxy, to)).socket;
            socket.end(text);
            assert.deepEqual(statuses((await readAll(socket)).toString()), [...before.map(() => 200), 400], way);
          }
        await until("the ends at the server", async () => open === 0);
        assert.doesNotMatch(heard, /half/);
      } finally {
        server.close();
      }
    });

    test("A request to a forwarding port is judged by its Host, also in pieces and behind others", async () => {
      const before = a!.asked.length;
      const dropped = plain("/dropped", "WWW.forbidden.test.:80");
      assert.deepEqual(statuses(await say("forward", dropped)), [403]);
      assert.deepEqual(statuses(await say("forward", [...dropped])), [403]);
      assert.deepEqual(statuses(await say("forward", `\r\n${dropped}`)), [403]);
      const body = "POST /body HTTP/1.1\r\nHost: twice.ok.test\r\nContent-Length: 5\r\n\r\nhello";
      const later = plain("/dropped", "twice.forbidden.test") + plain("/ok", "twice.ok.test");
      assert.deepEqual(statuses(await say("forward", plain("/ok", "twice.ok.test") + body + later)), [200, 200, 403]);
      assert.deepEqual(since(a, before), ["/ok", "/body"]);
      const found = await until("both sessions", async () => {
        const sessions = await node.sessions({ host: "twice.*" });
        return sessions.length === 2 && sessions.every(({ end }) => end !== null) && sessions;
      });
      const records = found.map(({ connectHost, protocol, verdict }) => [connectHost, protocol, verdict]);
      assert.deepEqual(records.sort(), [
        ["twice.forbidden.test", "http", "drop"],
        ["twice.ok.test", "http", null],
      ]);
      const carried = found.find(({ verdict }) => verdict === null);
      assert.deepEqual(
        [carried?.tools, Object.keys(carried?.feeds ?? {})],
        tool ? [[{ name: "passing", state: "connected" }], ["archive"]] : [[], []],
      );
    });

    test("Requests inside of a CONNECT tunnel are judged by their hosts too", async () => {
      const before = a!.asked.length;
      const { socket } = await connectThrough(node.proxy, `127.0.0.1:${a!.port}`);
      socket.end(plain("/1", "one.test") + plain("/2", "two.test") + plain("/", "www.forbidden.test"));
      assert.deepEqual(statuses((await readAll(socket)).toString()), [200, 200, 403]);
      assert.deepEqual(since(a, before), ["/1", "/2"]);
    });

    test("A rule on the host of a request names its tools", async () => {
      assert.deepEqual(statuses(await say("forward", plain("/", "past.test"), /\r\n\r\nA$/)), [200]);
      const session = await until("the session's end", async () =>
        (await node.sessions({ host: "past.test" })).find(({ end }) => end !== null),
      );
      assert.deepEqual(session.tools, []);
    });

    test("A CONNECT behind plain requests makes a tunnel", async () => {
      const before = a!.asked.length;
      const to = `127.0.0.1:${a!.port}`;
      const connect = `CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\n\r\n`;
      const heard = await say("explicit", get(a, "/1") + connect + plain("/2", "ok.test"), /(?:\r\n\r\nA.*){2}$/s);
      assert.match(heard, /A(?:HTTP\/1\.1 200 Connection established)\r\n\r\nHTTP/);
      assert.deepEqual(since(a, before), ["/1", "/2"]);
    });

    test("Hosts behind one forwarding port share the connection to their server, unless a tool is in between", async () => {
      const before = a!.asked.length;
      const requests = ["one.test", "two.test", "one.test"].map((host) => plain("/", host)).join("");
      assert.deepEqual(statuses(await say("forward", requests, /(?:\r\n\r\nA.*){3}$/s)), [200, 200, 200]);
      const connections = new Set(a!.asked.slice(before).map(({ connection }) => connection));
      assert.equal(connections.size, tool ? 3 : 1);
    });

    for (const way of ["explicit", "forward"] as const) {
      const request = (path: string, method = "GET", ...fields: string[]) =>
        (way === "explicit" ? get(a, path, ...fields) : plain(path, "127.0.0.1", ...fields)).replace("GET", method);

      test(`Whatever is pipelined, and however it is cut, every request is answered in order, ${way}`, async () => {
        const sequence = fc.array(MIXED, { minLength: 1, maxLength: 8 });
        await fc.assert(
          fc.asyncProperty(sequence, fc.integer({ min: 1, max: 30_000 }), async (mixed, piece) => {
            const text = mixed
              .map(({ method, status, size, toB }) => {
                const path = status === 200 ? "/" : `/status/${status}`;
                const [web, host] = toB ? [b, "b.test"] : [a, "a.test"];
                const { fields, body } = bodyOf(method, size);
                const head = way === "explicit" ? get(web, path, ...fields) : plain(path, host, ...fields);
                return head.replace("GET", method === "CHUNKED" ? "POST" : method) + body;
              })
              .join("");
            const pieces = Array.from({ length: Math.ceil(text.length / piece) }, (_, index) =>
              text.slice(index * piece, (index + 1) * piece),
            );
            const all = { test: (heard: string) => statuses(heard).length >= mixed.length };
            assert.deepEqual(
              statuses(await say(way, pieces, all)),
              mixed.map(({ status }) => status),
            );
          }),
          { numRuns: 25 },
        );
      });

      test(`Answers without a body, in chunks and of HEAD are told apart, ${way}`, async () => {
        const paths = ["/status/204", "/status/304", "/chunked", "/1"].map((path) => request(path)).join("");
        const heard = await say(way, request("/2", "HEAD") + paths, /three\r\n0\r\n\r\n.*A$/s);
        assert.deepEqual(statuses(heard), [200, 204, 304, 200, 200]);
      });

      test(`A connection that is upgraded carries anything, ${way}`, async () => {
        const heard = await say(
          way,
          [request("/", "GET", "Connection: Upgrade", "Upgrade: echo"), "~~ GET / any\n"],
          /any\n$/,
        );
        assert.match(heard, /^HTTP\/1\.1 101 .*\r\n\r\n~~ GET \/ any\n$/s);
      });

      test(`An upgrade that the server does not make leaves HTTP as it is, ${way}`, async () => {
        const wish = request("/status/404", "GET", "Connection: Upgrade", "Upgrade: nothing");
        const heard = await say(way, wish + request("/after"), /A$/);
        assert.deepEqual(statuses(heard), [404, 200]);
      });

      test(`A body of any size passes, by its length and in chunks, ${way}`, async () => {
        const body = Buffer.alloc(3_000_000, "0123456789abcdefghijklmnopqrstuvwxyz");
        const wanted = `${body.length} ${createHash("sha256").update(body).digest("hex")}`;
        const to = way === "explicit" ? ["--proxy", `http://127.0.0.1:${node.proxy}`, "--noproxy", ""] : [];
        const url = `http://127.0.0.1:${way === "explicit" ? a!.port : node.forward("web")}/body`;
        for (const more of [[], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]]) {
          const args = [
            "-q",
            "-sS",
            ...to,
            "-X",
            "POST",
            "--data-binary",
            "@-",
            ...more,
            url,
            "--next",
            "-q",
            "-sS",
            ...to,
            url,
          ];
          const { stdout, stderr } = await run(program("curl"), args, { input: body.toString() });
          assert.equal(stdout, `${wanted}A`, stderr);
        }
      });

      test(`A log-in that NTLM binds to the connection holds, ${way}`, async () => {
        const to = way === "explicit" ? ["--proxy", `http://127.0.0.1:${node.proxy}`] : [];
        const url = `http://127.0.0.1:${way === "explicit" ? a!.port : node.forward("web")}/ntlm`;
        const args = ["-q", "-sS", "--noproxy", way === "explicit" ? "" : "*", ...to, "--ntlm", "-u", "user:secret"];
        const { stdout, stderr } = await run(program("curl"), [...args, "-w", "%{http_code} ", url, url, url]);
        assert.equal(stdout, "A200 A200 A200 ", stderr);
      });

      test(`An address of 30 KiB and a head of 60 KiB pass, ${way}`, async () => {
        const before = a!.asked.length;
        const heard = await say(way, request(`/${"a".repeat(30_000)}`, "GET", `X: ${"b".repeat(30_000)}`), /A$/);
        assert.deepEqual([statuses(heard), a!.asked.length], [[200], before + 1]);
      });
    }

    test("siege gets an answer to each request, with kept connections and without", async () => {
      const rc = `${scratch()}/siegerc`;
      for (const connection of ["keep-alive", "close"]) {
        writeFileSync(
          rc,
          [
            ...[
              "verbose = false",
              "json_output = false",
              "protocol = HTTP/1.1",
              `connection = ${connection}`,
              "limit = 255",
            ],
            ...["failures = 1024", "proxy-host = 127.0.0.1", `proxy-port = ${node.proxy}`],
          ].join("\n"),
        );
        const { stdout, stderr } = await run(program("siege"), [
          "-R",
          rc,
          "-b",
          "-c",
          "5",
          "-r",
          "20",
          `http://127.0.0.1:${a!.port}/siege`,
        ]);
        assert.match(stdout + stderr, /"?[Aa]vailability"?:\s+100\.00/, stdout + stderr);
      }
    });
  });
}
