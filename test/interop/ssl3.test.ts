import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Session } from "../../src/control/api.ts";
import { dns, nameConstraints, write } from "../../src/pki/verify/test-cases/writing.ts";
import { suitesFor } from "../../src/ssl3/suites.ts";
import { writeHello } from "../hello-writer.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { buildJavaPeer, type JavaClient, javaClient, type Origin, opensslServer, ssl3Servers } from "../peers.ts";
import { DOMAIN, makePki, type Pki, saveIdentity } from "../pki.ts";
import { must, until } from "../processes.ts";

const SUITES = suitesFor("all").map(({ name }) => name);
const MIB = 2 ** 20;
/** Microsoft's Server Gated Crypto, of the time of SSL 3.0. */
const SGC = "2b0601040182370a0303";

/** The sessions that a JSSE client and its server saw. */
interface Seen {
  readonly client: Side;
  readonly server: Side;
  readonly echoed: boolean;
  readonly ended: boolean;
}

interface Side {
  readonly version: string;
  readonly suite: string;
  readonly session: string;
}

type ServerName =
  | "constrained"
  | "gated"
  | "old"
  | "oldEcdsa"
  | "demanding"
  | "proxy"
  | "faulty"
  | "TLSv1.2"
  | "TLSv1.3";

interface Case {
  readonly to: ServerName;
  readonly name?: string;
  readonly versions?: string;
  readonly suites?: readonly string[];
  readonly size?: number;
  readonly times?: number;
  /** Through the listener that forwards to `old`, not through the explicit proxy. */
  readonly forwarded?: boolean;
}

describe("OpenJDK's JSSE over SSL 3.0", needs("openssl", "openjdk-17-jdk-headless", "curl"), () => {
  let pki: Pki;
  let client: JavaClient;
  let servers: Readonly<Record<ServerName, Origin>>;
  let node: TestNode;
  let rc4Node: TestNode;
  let usualNode: TestNode;

  before(async () => {
    let classes: string;
    [pki, classes] = await Promise.all([makePki(), buildJavaPeer("Ssl3Peer.java")]);
    const { rsa, ecdsa } = pki.server;
    client = javaClient(classes, "Ssl3Peer");
    const root = write({ ca: true, subject: "Written Root" });
    const { certificate: written } = saveIdentity(pki, "written-root", [root]);
    const names = [dns("localhost"), dns(`*.${DOMAIN}`)];
    const constraints = nameConstraints({ permitted: [dns("localhost"), dns(DOMAIN)] });
    const constrained = write({ issuer: root, ca: true, subject: "Constrained", extensions: [constraints] });
    servers = await ssl3Servers<ServerName>(classes, {
      old: { identity: rsa },
      oldEcdsa: { identity: ecdsa },
      demanding: { identity: rsa, as: "need" },
      proxy: { identity: rsa, as: "tunnel" },
      constrained: { identity: saveIdentity(pki, "constrained", [write({ issuer: constrained, names }), constrained]) },
      gated: {
        identity: saveIdentity(pki, "gated", [write({ issuer: constrained, names, purposes: [SGC] }), constrained]),
      },
      faulty: { identity: pki.faulty.unknownIssuer },
      "TLSv1.2": { identity: rsa, versions: ["TLSv1.2"] },
      "TLSv1.3": { identity: rsa, versions: ["TLSv1.3"] },
    });
    const rules = [
      { name: "dropped", match: { host: [`dropped.${DOMAIN}`] }, action: "drop" },
      { name: "bypassed", match: { host: [`bypassed.${DOMAIN}`] }, action: "bypass" },
    ];
    const feeds = [{ name: "captures", kind: "pcapng", directory: "./captures" }];
    const options = (versions: object, more: object = {}) => ({
      trust: [pki.root.certificate, written],
      forwards: { old: servers.old.port, tunnel: servers.proxy.port },
      // One worker, so every session is resumed by the worker that has it.
      config: {
        workers: 1,
        policy: { versions, rules, startTls: { enabled: true } },
        keys: [{ hosts: [`*.in.${DOMAIN}`], ...pki.server.rsa }],
        ...more,
      },
    });
    node = await startNode(options({ min: "SSLv3" }));
    usualNode = await startNode(options({ belowMin: "bypass" }));
    rc4Node = await startNode(options({ min: "SSLv3", ssl3Suites: "rc4" }, { feeds }));
  });
  after(async () => {
    await node?.stop();
    await rc4Node?.stop();
    await usualNode?.stop();
    await servers?.old.process.stop();
    await client?.process.stop();
  });

  /** Connects through the explicit proxy. Resolves with what each connection saw; fails if one has failed. */
  async function get(through: TestNode, cases: readonly Case[], roots = through.primary): Promise<Seen[]> {
    return (await lines(through, cases, roots)).map((line) => {
      const [, cv, cs, ci, echoed, ended, sv, ss, si] =
        /^client (\S+) (\S+) (\S*) echoed=(\w+) ended=(\w+) server (\S+) (\S+) (\S*)$/.exec(line) ?? [];
      assert.ok(cv && cs && sv && ss, line);
      // Java's names of older suites begin with SSL.
      const side = (version: string, suite: string, session = ""): Side => {
        return { version, suite: suite.replace(/^SSL_/, "TLS_"), session };
      };
      return { client: side(cv, cs, ci), server: side(sv, ss, si), echoed: echoed === "true", ended: ended === "true" };
    });
  }

  function lines(through: TestNode, cases: readonly Case[], roots = through.primary): Promise<string[]> {
    const texts = cases.map(({ to, forwarded, ...one }) => {
      const { name = "localhost", versions = "SSLv3", suites = ["-"], size = 20_000, times = 1 } = one;
      const where = forwarded ? `127.0.0.1:${through.forward("old")}` : `localhost:${servers[to].port}`;
      const proxy = forwarded ? "-" : `127.0.0.1:${through.proxy}`;
      return [where, name, versions, suites.join("+"), size, times, proxy].join(",");
    });
    return client.get(roots, texts);
  }

  test("Every suite is spoken with a client and with a server, and resumed with both", async () => {
    const cases = SUITES.map((suite): Case => {
      return { to: suite.includes("ECDSA") ? "oldEcdsa" : "old", suites: [suite], times: 2 };
    });
    const seen = await get(node, cases);
    assert.deepEqual(
      seen.map(({ client, server, echoed, ended }) => [
        client.version,
        client.suite,
        server.version,
        server.suite,
        echoed,
        ended,
      ]),
      SUITES.flatMap((suite) => [0, 1].map(() => ["SSLv3", suite, "SSLv3", suite, true, true])),
    );
    for (const [at, suite] of SUITES.entries()) {
      const [first, second] = [seen[2 * at]!, seen[2 * at + 1]!];
      assert.equal(second.client.session, first.client.session, `the client resumed ${suite}`);
      assert.equal(second.server.session, first.server.session, `the server resumed ${suite}`);
    }
  });

  test("A hundred mebibytes pass both ways, by their hash", async () => {
    for (const suite of ["TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_RSA_WITH_RC4_128_SHA"]) {
      const [seen] = await get(node, [{ to: "old", suites: [suite], size: 100 * MIB }]);
      assert.deepEqual([seen!.client.suite, seen!.server.suite, seen!.echoed, seen!.ended], [suite, suite, true, true]);
    }
  });

  test("An SSL 3.0 client reaches servers of TLS 1.2 and 1.3, and the record says both", async () => {
    for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
      const [seen] = await get(node, [{ to: version, size: MIB }]);
      assert.deepEqual([seen!.client.version, seen!.server.version, seen!.echoed], ["SSLv3", version, true]);
      const { clientLeg, serverLeg } = await last(node, version);
      assert.deepEqual([clientLeg.version, clientLeg.suite], ["SSLv3", seen!.client.suite]);
      assert.deepEqual([serverLeg.version, serverLeg.suite], [version, seen!.server.suite]);
    }
  });

  test("Clients of TLS 1.0 to 1.3 reach an SSL 3.0 server", async () => {
    for (const version of ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]) {
      const [seen] = await get(node, [{ to: "old", versions: version, size: MIB }]);
      assert.deepEqual([seen!.client.version, seen!.server.version, seen!.echoed], [version, "SSLv3", true]);
    }
  });

  test("A client that begins with an SSLv2-format hello is served", async () => {
    const [seen] = await get(node, [{ to: "old", versions: "SSLv2Hello+SSLv3" }]);
    assert.deepEqual([seen!.client.version, seen!.server.version, seen!.echoed], ["SSLv3", "SSLv3", true]);
  });

  test("The client sees the certificate of a server whose key the node has, over SSL 3.0 too", async () => {
    const name = `ssl3.in.${DOMAIN}`;
    const [seen] = await get(node, [{ to: "old", name, forwarded: true }], pki.root.certificate);
    assert.deepEqual([seen!.client.version, seen!.server.version, seen!.echoed], ["SSLv3", "SSLv3", true]);
    assert.equal((await node.session(name)).deployment, "inbound");
  });

  test("SSL 3.0 is bypassed unless the configuration allows it", async () => {
    const [seen] = await get(usualNode, [{ to: "old" }], pki.root.certificate);
    assert.equal(seen!.client.session, seen!.server.session, "nobody stood in between");
    const { verdict, rule } = await last(usualNode, "old");
    assert.deepEqual([verdict, rule], ["bypass", "versions"]);
  });

  test("A dropped SSL 3.0 client gets an alert of its own version", async () => {
    const socket = connect(usualNode.forward("old"), "127.0.0.1");
    const hello = { maxVersion: 0x0300, suites: [0x002f], groups: [], signatureAlgorithms: [], alpn: [] };
    socket.write(writeHello({ ...hello, serverName: `dropped.${DOMAIN}`, random: Buffer.alloc(32) }));
    const answer: Buffer[] = [];
    for await (const bytes of socket) answer.push(bytes as Buffer);
    assert.equal(Buffer.concat(answer).toString("hex"), "15030000020228");
  });

  test("With ssl3Suites: rc4 only RC4 is used, whatever the peers prefer", async () => {
    const [seen] = await get(rc4Node, [{ to: "old" }]);
    for (const side of [seen!.client, seen!.server])
      assert.match(`${side.version} ${side.suite}`, /^SSLv3 \S*_WITH_RC4_128_/);
    const [refused] = await lines(rc4Node, [{ to: "old", suites: ["TLS_RSA_WITH_AES_128_CBC_SHA"] }]);
    assert.match(refused!, /^failed: /);
  });

  test("The plaintext goes to a feed, and the session is found by its host", async () => {
    const [seen] = await get(rc4Node, [{ to: "old" }]);
    const told = Buffer.from(`SSLv3 ${seen!.server.suite.replace("TLS_RSA_", "SSL_RSA_")} ${seen!.server.session}`);
    const captured = () => globSync(join(rc4Node.captures, "*")).some((file) => readFileSync(file).includes(told));
    await until("the server's line in a capture", captured);
    await until("the session by its host", async () =>
      (await rc4Node.sessions({ host: "localhost" })).some(({ clientLeg }) => clientLeg.version === "SSLv3"),
    );
  });

  test("A server that demands a client certificate over SSL 3.0 is bypassed", async () => {
    const [line] = await lines(node, [{ to: "demanding" }]);
    assert.match(line!, /^failed: /);
    const { verdict, rule } = await last(node, "demanding");
    assert.deepEqual([verdict, rule], ["bypass", "client certificate"]);
  });

  test("TLS in a tunnel through an SSL 3.0 proxy is decrypted, and bypassed late on a new connection to the proxy", async (t) => {
    const web = await opensslServer(pki.server.rsa);
    t.after(() => web.process.stop());
    const within = ["-q", "-sS", "--noproxy", "", "--proxy-cacert", node.primary];
    const through = ["-x", `https://localhost:${node.forward("tunnel")}`];
    for (const verdict of ["decrypt", "bypass"]) {
      const name = `${verdict === "bypass" ? "bypassed" : "opened"}.${DOMAIN}`;
      const to = ["--connect-to", `${name}:443:localhost:${web.port}`, `https://${name}/`];
      const roots = verdict === "bypass" ? pki.root.certificate : node.primary;
      assert.match(await must(program("curl"), [...within, ...through, "--cacert", roots, ...to]), /TLSv1\.3/);
      const session = await node.session(name);
      assert.deepEqual([session.verdict, session.phase, session.connectHost], [verdict, "certificate", "localhost"]);
    }
  });

  test("The faults of an SSL 3.0 server's certificate are found, though OpenSSL never sees it", async () => {
    const [line] = await lines(node, [{ to: "faulty" }]);
    assert.match(line!, /^failed: /);
    const session = await last(node, "faulty");
    assert.deepEqual([session.verdict, session.rule], ["drop", "certificate fault"]);
    assert.deepEqual(
      session.certificate?.faults.map(({ fault }) => fault),
      ["unknownIssuer"],
    );
  });

  test("A chain over SSL 3.0 is judged as one over TLS: by name constraints, purposes and all", async () => {
    const [seen] = await get(node, [{ to: "constrained" }]);
    assert.deepEqual([seen!.server.version, seen!.echoed], ["SSLv3", true]);
    const { presented, certificate } = await last(node, "constrained");
    assert.deepEqual([presented?.authority, certificate?.faults], ["primary", []]);

    const [line] = await lines(node, [{ to: "gated" }]);
    assert.doesNotMatch(line!, /echoed/);
    const refused = await last(node, "gated");
    assert.deepEqual([refused.verdict, refused.rule], ["drop", "certificate fault"]);
    assert.deepEqual(refused.certificate?.faults, [{ fault: "invalid", code: "INVALID_PURPOSE" }]);
  });

  /** The newest session with this server, once it has ended. */
  function last(of: TestNode, name: ServerName): Promise<Session> {
    const { port } = servers[name];
    return until(`a closed session with port ${port}`, async () => {
      const found = (await of.sessions({})).filter(({ server }) => server?.port === port);
      const newest = found.toSorted((one, other) => other.start - one.start)[0];
      return newest !== undefined && newest.end !== null && newest;
    });
  }
});
