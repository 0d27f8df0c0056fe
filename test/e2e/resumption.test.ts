import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFileSync, readFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import type { CacheInfo, Session } from "../../src/control/api.ts";
import { fatalAlert } from "../../src/wire/alert.ts";
import { readHello } from "../hello-on-wire.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx, type Origin, opensslServer } from "../peers.ts";
import { DOMAIN, type Identity, makeLeaf, makePki, type Pki } from "../pki.ts";
import { scratch, until } from "../processes.ts";
import { fresh, neverResumes, spoil, visit } from "../visits.ts";

const REUSED = `location = /reused { return 200 "resumed: $ssl_session_reused $ssl_protocol\\n"; }`;
const ASK = "GET /reused HTTP/1.0\r\n\r\n";

describe("A client that resumes", needs("openssl", "nginx-light"), () => {
  let pki: Pki;
  let origin: Origin;
  let changing: tls.Server;
  let byIdentifier: TestNode;
  let byTicket: TestNode;
  let shortly: TestNode;

  before(async () => {
    pki = await makePki();
    origin = await opensslServer(pki.server.ecdsa);
    changing = tls.createServer(contextOf(pki.server.ecdsa), (socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.end("HTTP/1.0 200 OK\r\n\r\nhello\n"));
    });
    changing.listen(0, "127.0.0.1");
    await once(changing, "listening");
    const options = {
      trust: [pki.root.certificate],
      forwards: { web: origin.port, other: origin.port, changing: (changing.address() as net.AddressInfo).port },
    };
    const with_ = (resumption: object) => startNode({ ...options, config: { resumption } });
    byIdentifier = await startNode(options);
    byTicket = await with_({ identifiers: false, tickets: true });
    shortly = await with_({ tickets: true, timeout: "2s" });
  });
  after(async () => {
    for (const node of [byIdentifier, byTicket, shortly]) await node?.stop();
    changing?.close();
    await origin?.process.stop();
  });

  const WAYS = [
    ["an identifier in TLS 1.2", () => byIdentifier, "TLSv1.2", false],
    ["a ticket in TLS 1.2", () => byTicket, "TLSv1.2", true],
    ["a ticket in TLS 1.3", () => byTicket, "TLSv1.3", true],
  ] as const;

  for (const [how, nodeOf, version, tickets] of WAYS) {
    const begin = async (what = "web") => {
      const node = nodeOf();
      const visited = { node, port: node.forward(what), version, tickets, ...fresh("back") };
      assert.equal((await visit(false, visited)).resumed, false);
      return visited;
    };

    test(`With ${how} it resumes on both workers, and the record says so`, async () => {
      const visited = await begin();
      const node = nodeOf();
      const workers = await until("resumed sessions on both workers", async () => {
        assert.equal((await visit(true, visited)).resumed, true);
        const seen = await recordsOf(node, visited.name);
        const resumed = seen.filter(({ clientLeg }) => clientLeg.resumed === true);
        return new Set(resumed.map(({ worker }) => worker)).size === 2 && resumed;
      });
      for (const { certificate, presented, clientLeg, verdict } of workers) {
        assert.equal(verdict, "decrypt");
        assert.deepEqual(certificate?.faults, []);
        assert.equal(presented?.authority, "primary");
        assert.equal(clientLeg.version, version);
      }
    });

    test(`With ${how} a client from another address gets a full handshake`, async () => {
      const visited = await begin();
      assert.equal((await visit(true, { ...visited, from: "127.0.0.9" })).resumed, false);
      assert.equal((await visit(true, visited)).resumed, true);
    });

    test(`With ${how} another SNI gets a full handshake`, async () => {
      const visited = await begin();
      assert.equal((await visit(true, { ...visited, name: `other-${visited.name}` })).resumed, false);
    });

    test(`With ${how} it gets a full handshake at another listener`, async () => {
      const visited = await begin();
      assert.equal((await visit(true, { ...visited, port: nodeOf().forward("other") })).resumed, false);
    });

    test(`With ${how} it gets a full handshake when the server has another certificate`, async () => {
      const visited = await begin("changing");
      assert.equal((await visit(true, visited)).resumed, true);
      changing.setSecureContext(contextOf(await makeLeaf(pki, `changed-${visited.name}`, `DNS:*.${DOMAIN}`)));
      // The node would resume with the server, and so would not see the new certificate.
      await nodeOf().api("caches/server-sessions", "DELETE");
      assert.equal((await visit(true, visited)).resumed, false);
    });

    test(`With ${how} it gets a full handshake after a flush`, async () => {
      const visited = await begin();
      assert.equal((await visit(true, visited)).resumed, true);
      const cache = tickets ? "tickets" : "sessions";
      const before = await cacheOf(nodeOf(), cache);
      assert.ok(before.hits > 0 && before.size > 0, JSON.stringify(before));
      const { code, stderr } = await nodeOf().command("cache", "flush", cache);
      assert.equal(code, 0, stderr);
      assert.equal((await visit(true, visited)).resumed, false);
    });

    test(`With ${how} it gets a full handshake after a change of the policy, and resumes after an unchanged reload`, async () => {
      const node = nodeOf();
      const visited = await begin();
      await node.command("reload");
      assert.equal((await visit(true, visited)).resumed, true);
      const rule = { name: "new", match: { host: "nobody.example" }, action: "drop" };
      node.rewrite({ policy: { rules: [rule] } });
      const { code, stderr } = await node.command("reload");
      assert.equal(code, 0, stderr);
      assert.equal((await visit(true, visited)).resumed, false);
      node.rewrite({});
      await node.command("reload");
    });

    test(`With ${how} it resumes until resumption.timeout`, async () => {
      const visited = { ...fresh("late"), node: shortly, port: shortly.forward("web"), version, tickets };
      // Taken before the first visit: the session's time begins during it.
      const begun = Date.now();
      await visit(false, visited);
      await until("a full handshake", async () => !(await visit(true, visited)).resumed);
      assert.ok(Date.now() - begun >= 1_000, "it ended before its time");
    });
  }

  test("Without tickets a client of TLS 1.3 is given nothing to come back with", async () => {
    const node = byIdentifier;
    const { page } = await visit(false, { ...fresh("none"), node, port: node.forward("web"), version: "TLSv1.3" });
    assert.match(page, /<pre>/);
    assert.doesNotMatch(page, /New Session Ticket arrived/);
  });

  test("Neither worker resumes a session that a fatal alert has ended", async () => {
    const visited = {
      ...fresh("broken"),
      node: byIdentifier,
      port: byIdentifier.forward("web"),
      version: "TLSv1.2",
    } as const;
    await visit(false, visited);
    await spoil(visited);
    // So many that both workers get some.
    await until("eight full handshakes in a row", () => neverResumes(8, () => visit(true, visited)));
  });

  test("A client at another address cannot resume a stolen session, even with its key", async () => {
    const visited = { ...fresh("stolen"), node: byIdentifier, port: byIdentifier.forward("web") };
    await visit(false, { ...visited, version: "TLSv1.2" });
    const stolen = join(scratch(), "stolen.pem");
    copyFileSync(visited.session, stolen);
    const thief = { ...visited, session: stolen, from: "127.0.0.9", version: "TLSv1.2" } as const;
    assert.equal((await visit(true, thief)).resumed, false);
  });

  test("Early data is never accepted", async () => {
    const data = join(scratch(), "early");
    copyFileSync(pki.root.certificate, data);
    const visited = { ...fresh("early"), node: byTicket, port: byTicket.forward("web"), version: "TLSv1.3" } as const;
    const { page } = await visit(false, visited);
    assert.match(page, /Max Early Data: 0/);
    const again = await visit(true, { ...visited, more: ["-early_data", data] });
    assert.equal(again.resumed, true);
    assert.match(again.page, /Early data was (not sent|rejected)/);
  });

  test("cache show lists every cache", async () => {
    const { stdout, stderr } = await byTicket.command("cache", "show", "--json");
    const names = (JSON.parse(stdout) as CacheInfo[]).map(({ name }) => name).sort();
    assert.deepEqual(
      names,
      [
        "binding",
        "contexts",
        "demanding",
        "dns",
        "issued",
        "mint",
        "pinning",
        "revocation",
        "server-sessions",
        "sessions",
        "tickets",
        "verified",
      ],
      stderr,
    );
  });
});

describe("The node resumes with a server", needs("openssl", "nginx-light"), () => {
  let pki: Pki;
  let web: Nginx;
  let node: TestNode;
  let sharing: TestNode;
  let never: TestNode;

  before(async () => {
    pki = await makePki();
    web = await nginx(pki.server.ecdsa, REUSED);
    const options = { trust: [pki.root.certificate], forwards: { web: web.port } };
    const of = (resumption: object) => startNode({ ...options, config: { workers: 1, resumption } });
    node = await of({});
    sharing = await of({ shareServers: true });
    never = await of({ servers: false });
  });
  after(async () => {
    for (const one of [node, sharing, never]) await one?.stop();
    await web?.process.stop();
  });

  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    const visitFrom = async (at: TestNode, name: string, from: string) => {
      const visited = {
        node: at,
        port: at.forward("web"),
        version,
        session: join(scratch(), "none"),
        from,
        input: ASK,
      };
      const { page } = await visit(false, { ...visited, name });
      const reused = /^resumed: (.) (\S+)/m.exec(page);
      assert.equal(reused?.[2], version);
      return reused?.[1] === "r";
    };

    test(`It resumes with ${version}, and judges the certificate as before`, async () => {
      const { name } = fresh("server");
      assert.equal(await visitFrom(node, name, "127.0.0.1"), false);
      for (let times = 0; times < 3; times += 1) assert.equal(await visitFrom(node, name, "127.0.0.1"), true);
      const records = await recordsOf(node, name, 4);
      assert.deepEqual(records.map(({ serverLeg }) => serverLeg.resumed).sort(), [false, true, true, true]);
      const judged = records.map(({ certificate, presented, verdict }) =>
        JSON.stringify([certificate, presented, verdict]),
      );
      assert.equal(new Set(judged).size, 1);
      assert.equal(records[0]?.verdict, "decrypt");
    });

    test(`It does not resume with ${version} for another client, unless it is asked to`, async () => {
      const { name } = fresh("server");
      await visitFrom(node, name, "127.0.0.1");
      assert.equal(await visitFrom(node, name, "127.0.0.9"), false);
      await visitFrom(sharing, name, "127.0.0.1");
      assert.equal(await visitFrom(sharing, name, "127.0.0.9"), true);
    });

    test(`It does not resume with ${version} as another host`, async () => {
      await visitFrom(node, fresh("server").name, "127.0.0.1");
      assert.equal(await visitFrom(node, fresh("server").name, "127.0.0.1"), false);
    });

    test(`It does not resume with ${version} when the configuration turns it off`, async () => {
      const { name } = fresh("server");
      await visitFrom(never, name, "127.0.0.1");
      assert.equal(await visitFrom(never, name, "127.0.0.1"), false);
    });
  }
});

/** How servers with unusual session caches, or devices in front of servers, answer a resumption. */
const BREAKS: readonly (readonly [string, (socket: net.Socket) => void])[] = [
  ["answers with an alert", (socket) => socket.end(fatalAlert(40))],
  ["resets the connection", (socket) => socket.resetAndDestroy()],
  ["answers with something else", (socket) => socket.end("HTTP/1.0 400 Bad Request\r\n\r\n")],
];

describe("A server that fails when the node resumes", needs("openssl"), () => {
  let broken: net.Server;
  let node: TestNode;
  let behave: (socket: net.Socket) => void;
  /** The ClientHellos, oldest first. */
  const asked: { readonly port: number; readonly offered: boolean }[] = [];

  before(async () => {
    const pki = await makePki();
    const honest = tls.createServer(contextOf(pki.server.ecdsa), (socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.end("HTTP/1.0 200 OK\r\n\r\nhello\n"));
    });
    broken = net.createServer(async (socket) => {
      socket.on("error", () => {});
      const { hello, bytes } = await readHello(socket);
      const ofTls13 = hello.versions.includes(0x0304);
      const session = hello.pskIdentity ?? hello.sessionTicket?.length ?? (ofTls13 ? 0 : hello.sessionId.length);
      const offered = Boolean(session);
      asked.push({ port: socket.remotePort!, offered });
      if (offered) return behave(socket);
      socket.unshift(bytes);
      honest.emit("connection", socket);
    });
    await once(broken.listen(0, "127.0.0.1"), "listening");
    const forwards = { broken: (broken.address() as net.AddressInfo).port };
    node = await startNode({ trust: [pki.root.certificate], forwards, config: { workers: 1 } });
  });
  after(async () => {
    await node?.stop();
    broken?.close();
  });

  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    for (const [how, way] of BREAKS) {
      test(`It ${how} over ${version}: the node tries again without the session, and the client does not notice`, async () => {
        behave = way;
        asked.length = 0;
        const visited = { ...fresh("breaks"), node, port: node.forward("broken"), version };
        for (const offers of [[false], [false, true, false]]) {
          assert.match((await visit(false, visited)).page, /^hello$/m);
          assert.deepEqual(
            asked.map(({ offered }) => offered),
            offers,
          );
        }
        const records = await recordsOf(node, visited.name, 2);
        const served = asked.filter(({ offered }) => !offered).map(({ port }) => port);
        assert.deepEqual(records.map(({ seenAs }) => seenAs?.port).sort(), served.sort());
        for (const { verdict, serverLeg } of records) {
          assert.deepEqual([verdict, serverLeg.version, serverLeg.resumed], ["decrypt", version, false]);
        }
      });
    }
  }
});

function contextOf({ certificate, key }: Identity): tls.TlsOptions {
  return { cert: readFileSync(certificate), key: readFileSync(key) };
}

/** The closed sessions of this host, once there are this many. */
function recordsOf(node: TestNode, name: string, atLeast = 1): Promise<readonly Session[]> {
  return until(`${atLeast} sessions of ${name}`, async () => {
    const found = (await node.sessions({ host: name })).filter(({ sni, end }) => sni === name && end !== null);
    return found.length >= atLeast && found;
  });
}

async function cacheOf(node: TestNode, name: string): Promise<CacheInfo> {
  return until(`hits of the cache ${name}`, async () => {
    const found = (await node.api<CacheInfo[]>("caches")).find((cache) => cache.name === name);
    return found && found.hits > 0 && found;
  });
}
