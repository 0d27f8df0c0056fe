import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { networkInterfaces } from "node:os";
import { after, before, describe, test } from "node:test";
import { connectThrough, opensslClient } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Origin, opensslServer } from "../peers.ts";
import { DOMAIN, makePki } from "../pki.ts";
import { freePort, type Outcome, until } from "../processes.ts";
import { RevokingCa } from "../revocation.ts";

/** An address of this machine that others can reach. */
const OWN = Object.values(networkInterfaces())
  .flatMap((list) => list ?? [])
  .find(({ internal, family }) => !internal && family === "IPv4")?.address;

/** Everything that leads to a socket at 127.0.0.1. */
const SPELLINGS = [
  "127.0.0.1",
  "localhost",
  "127.1",
  "2130706433",
  "0x7f.1",
  "0177.0.0.1",
  "0.0.0.0",
  "0",
  "[::ffff:127.0.0.1]",
  "[::ffff:7f00:1]",
  "[::ffff:0.0.0.0]",
];

describe("Where sessions lead", needs("openssl"), () => {
  let node: TestNode;
  let greeter: net.Server;
  let open: number;
  const ports: Record<string, number> = {};

  before(async () => {
    const pki = await makePki();
    greeter = net.createServer((socket) =>
      socket
        .on("error", () => {})
        .resume()
        .end("reached"),
    );
    await once(greeter.listen(0, "0.0.0.0"), "listening");
    for (const name of ["feed", "everywhere", "tool", "back", "inside", "explicit", "opened", "linked"])
      ports[name] = await freePort();
    open = (greeter.address() as net.AddressInfo).port;
    const at = (name: string, host = "127.0.0.1") => `${host}:${ports[name]}`;
    const proxy = (name: string, address: string, more: object = {}) => ({ name, mode: "explicit", address, ...more });
    const listeners = [
      proxy("inside", at("inside")),
      proxy("outside", at("explicit", "0.0.0.0")),
      proxy("opened", at("opened", "0.0.0.0"), { reach: "all" }),
      proxy("linked", at("linked", "0.0.0.0"), { reach: ["127.0.0.0/30", "linkLocal"] }),
    ];
    node = await startNode({
      trust: [pki.root.certificate],
      config: {
        listeners,
        feeds: [
          { name: "shark", kind: "pcap-over-ip", address: at("feed") },
          { name: "all", kind: "pcap-over-ip", address: at("everywhere", "0.0.0.0") },
        ],
        tools: [{ name: "dlp", kind: "proxy", address: at("tool"), returnAddress: at("back"), flows: ["bypassed"] }],
      },
    });
  });
  after(async () => {
    await node?.stop();
    greeter?.close();
  });

  /** The status of CONNECT, and what the target says. */
  async function tunnel(proxy: number, target: string): Promise<string> {
    const { status, socket } = await connectThrough(proxy, target);
    socket.on("error", () => {}).destroy();
    return String(status);
  }

  test("The explicit proxy never leads into the node itself, however its address is written", async () => {
    const api = Number(new URL(node.url).port);
    for (const [name, port] of [...Object.entries(ports), ["the console", api]] as const) {
      for (const host of SPELLINGS)
        assert.equal(await tunnel(ports["inside"]!, `${host}:${port}`), "403", `${name} at ${host}`);
    }
    for (const name of ["everywhere", "explicit"])
      for (const host of ["[::1]", "127.9.9.9", OWN].filter((one) => one !== undefined))
        assert.notEqual(await tunnel(ports["inside"]!, `${host}:${ports[name]}`), "200", `${name} at ${host}`);
    const all = await until("records of all", async () => {
      const found = await node.sessions({ verdict: "drop" });
      return found.length > 0 && found;
    });
    for (const { phase, rule, reason } of all) {
      assert.deepEqual([phase, rule], ["network", "reach"]);
      assert.match(reason ?? "", / port \d+ belongs to the node itself$/);
    }
  });

  test("Plain HTTP through the proxy does not lead there either", async () => {
    const answer = await plainRequest(ports["inside"]!, `http://127.1:${ports["feed"]}/`);
    assert.match(answer, /^HTTP\/1\.1 403 .*belongs to the node itself/s);
  });

  test("A proxy that others reach refuses this machine, unless reach opens it; the node's own places stay closed", async () => {
    for (const host of [...SPELLINGS, "169.254.1.1", OWN].filter((one) => one !== undefined))
      assert.equal(await tunnel(ports["explicit"]!, `${host}:${open}`), "403", host);
    for (const host of ["127.0.0.1", "0", ...(OWN === undefined ? [] : [OWN])])
      assert.equal(await tunnel(ports["opened"]!, `${host}:${open}`), "200", host);
    assert.equal(await tunnel(ports["opened"]!, `127.0.0.1:${ports["feed"]}`), "403");
    assert.equal(await tunnel(ports["linked"]!, `0.0.0.0:${open}`), "200");
    assert.equal(await tunnel(ports["linked"]!, `127.0.0.4:${open}`), "403");
    if (OWN !== undefined) assert.equal(await tunnel(ports["linked"]!, `${OWN}:${open}`), "403");
    // The proxy on loopback is for the users of this machine, who reach these anyway.
    assert.equal(await tunnel(ports["inside"]!, `127.0.0.1:${open}`), "200");
  });

  test("check warns of a proxy that others reach, and of what reach opens", async () => {
    const { code, stdout, stderr }: Outcome = await node.command("check");
    assert.equal(code, 0, stderr);
    const said = `${stdout}${stderr}`;
    assert.match(said, /listeners\[1\]\.address is not on loopback/);
    assert.match(said, /listeners\[2\]\.reach opens all/);
    assert.match(said, /listeners\[3\]\.reach opens 127\.0\.0\.0\/30, linkLocal/);
  });
});

describe("The port of a session that waits for its tool", needs("openssl"), () => {
  test("No session leads to a port at which another one awaits its tool", async () => {
    const lines: string[] = [];
    const tool = net.createServer((socket) =>
      socket.on("error", () => {}).on("data", (bytes) => lines.push(String(bytes))),
    );
    const greeter = net.createServer((socket) =>
      socket
        .on("error", () => {})
        .resume()
        .write("hello"),
    );
    for (const server of [tool, greeter]) await once(server.listen(0, "127.0.0.1"), "listening");
    const [toolPort, target] = [tool, greeter].map((one) => (one.address() as net.AddressInfo).port);
    await using node = await startNode({
      trust: [(await makePki()).root.certificate],
      config: {
        tools: [
          {
            ...{ name: "av", kind: "proxy", address: `127.0.0.1:${toolPort}`, header: "sslproxy" },
            ...{ returnAddress: `127.0.0.1:${await freePort()}`, heartbeat: { enabled: false } },
          },
        ],
      },
    });
    const { socket } = await connectThrough(node.proxy, `127.0.0.1:${target}`);
    socket.on("error", () => {}).write("first bytes");
    const port = await until("the session's port", () => /^SSLproxy: \[127\.0\.0\.1\]:(\d+)/.exec(lines.join(""))?.[1]);
    // Any worker takes the next connection.
    for (let count = 0; count < 8; count += 1)
      assert.equal((await connectThrough(node.proxy, `127.0.0.1:${port}`)).status, 403);
    socket.destroy();
    await node.stop();
    for (const server of [tool, greeter]) server.close();
  });
});

describe("What certificates name", needs("openssl"), () => {
  test("Responders are not asked at the machine's own addresses, nor at the node's own places where loopback is allowed", async () => {
    const pki = await makePki();
    const ca = await RevokingCa.create(pki, "Own CA");
    let asked = 0;
    const responder = net.createServer((socket) => {
      asked += 1;
      socket.on("error", () => {}).end();
    });
    await once(responder.listen(0, "0.0.0.0"), "listening");
    const { port } = responder.address() as net.AddressInfo;
    const feed = await freePort();
    const pointers = {
      loopback: `127.0.0.1:${port}`,
      feed: `localhost:${feed}`,
      ...(OWN !== undefined && { own: `${OWN}:${port}` }),
    };
    const origins: Record<string, Origin> = {};
    for (const [name, place] of Object.entries(pointers)) {
      const identity = await ca.issue(name, `authorityInfoAccess=OCSP;URI:http://${place}/`);
      origins[name] = await opensslServer(identity);
    }
    await using node = await startNode({
      trust: [ca.root.certificate],
      forwards: Object.fromEntries(Object.entries(origins).map(([name, origin]) => [name, origin.port])),
      config: {
        feeds: [{ name: "shark", kind: "pcap-over-ip", address: `127.0.0.1:${feed}` }],
        policy: { revocation: { ocsp: "soft", loopback: true } },
      },
    });
    for (const name of Object.keys(pointers)) {
      const host = `${name}.${DOMAIN}`;
      await opensslClient({ way: { port: node.forward(name) }, name: host, roots: node.primary });
      const { certificate } = await node.session(host);
      const { status, reason } = certificate!.revocation!;
      assert.equal(status, "unknown");
      if (name === "loopback") assert.doesNotMatch(reason ?? "", /not allowed/);
      else
        assert.match(
          reason ?? "",
          /is not allowed: it is this machine's own, link-local or multicast, or belongs to the node/,
        );
    }
    assert.ok(asked > 0, "loopback was asked");
    await node.stop();
    responder.close();
    for (const { process } of Object.values(origins)) await process.stop();
  });
});

async function plainRequest(proxy: number, url: string): Promise<string> {
  const socket = net.connect(proxy, "127.0.0.1");
  socket.write(`GET ${url} HTTP/1.1\r\nHost: x\r\n\r\n`);
  const parts: Buffer[] = [];
  for await (const bytes of socket) parts.push(bytes);
  return String(Buffer.concat(parts));
}
