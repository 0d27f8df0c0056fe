import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { opensslClient } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Origin, opensslServer } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";

/** RFC 8737: the CA connects with this protocol alone, and the server shows a self-signed certificate. */
const ACME = "acme-tls/1";

describe("A CA that validates a domain by acme-tls/1", needs("openssl"), () => {
  let pki: Pki;
  let node: TestNode;
  let origin: Origin;

  before(async () => {
    pki = await makePki();
    origin = await opensslServer(pki.faulty.selfSigned, { more: ["-alpn", `${ACME},http/1.1`] });
    const rules = [{ name: "own", match: { alpn: "x-pinned" }, action: "bypass" }];
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: origin.port },
      config: { policy: { rules }, keys: [{ hosts: [`*.in.${DOMAIN}`], ...pki.server.ecdsa }] },
    });
  });
  after(async () => {
    await node?.stop();
    await origin?.process.stop();
  });

  const connect = (name: string, alpn: string, explicit: boolean) => {
    const way = explicit ? { proxy: node.proxy, target: origin.port } : { port: node.forward("web") };
    return opensslClient({ way, name, roots: pki.faulty.selfSigned.certificate, more: ["-alpn", alpn] });
  };

  for (const explicit of [true, false]) {
    for (const [what, domain] of [
      ["a server whose key the node holds", `in.${DOMAIN}`],
      ["any server", DOMAIN],
    ] as const) {
      test(`sees the certificate of ${what}, ${explicit ? "through the proxy" : "forwarded"}`, async () => {
        const host = `${explicit ? "proxy" : "forward"}.${domain}`;
        const { stdout } = await connect(host, ACME, explicit);
        assert.match(stdout, /subject=CN = Alone/);
        assert.match(stdout, /ALPN protocol: acme-tls\/1/);
        const { verdict, rule, presented } = await node.session(host);
        assert.deepEqual([verdict, rule, presented], ["bypass", ACME, null]);
      });
    }
  }

  test("is not imitated by a client that offers another protocol too", async () => {
    const name = `both.${DOMAIN}`;
    await connect(name, `${ACME},http/1.1`, false);
    const session = await node.session(name);
    assert.deepEqual([session.verdict, session.rule], ["drop", "certificate fault"]);
  });

  test("and a rule by alpn decides about a protocol of the user's own", async () => {
    const name = `pinned.${DOMAIN}`;
    await connect(name, "x-pinned", false);
    const session = await node.session(name);
    assert.deepEqual([session.verdict, session.phase, session.rule], ["bypass", "sni", "own"]);
  });
});
