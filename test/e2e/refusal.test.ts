import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { opensslClient } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Origin, opensslServer, type TlsVersion } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";

/** The server's restriction, the client's offer, and the server's alert. */
const REFUSALS: readonly (readonly [string, TlsVersion, readonly string[], readonly string[], RegExp])[] = [
  [
    "no suite in common",
    "TLSv1.2",
    ["-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
    ["-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
    /alert handshake failure/,
  ],
  ["no protocol in common", "TLSv1.3", ["-alpn", "h2"], ["-alpn", "http/1.1"], /alert no application protocol/],
  ["no group in common", "TLSv1.3", ["-groups", "P-521"], ["-groups", "X25519"], /alert handshake failure/],
  [
    "a name that it does not know",
    "TLSv1.3",
    ["-servername", "elsewhere.test", "-servername_fatal"],
    [],
    /unrecognized name/,
  ],
];

describe("A server that refuses", needs("openssl"), () => {
  let pki: Pki;
  let node: TestNode;
  const origins = new Map<string, Origin>();

  before(async () => {
    pki = await makePki();
    for (const [at, [, version, more]] of REFUSALS.entries()) {
      const second = ["-cert2", pki.server.ecdsa.certificate, "-key2", pki.server.ecdsa.key];
      const options = more.includes("-servername") ? [...more, ...second] : more;
      origins.set(`refusal-${at}`, await opensslServer(pki.server.ecdsa, { version, more: options }));
    }
    const demand = ["-Verify", "1", "-verify_return_error", "-CAfile", pki.root.certificate];
    origins.set("demands-old", await opensslServer(pki.server.ecdsa, { version: "TLSv1.2", more: demand }));
    origins.set("demands-new", await opensslServer(pki.server.ecdsa, { version: "TLSv1.3", more: demand }));
    origins.set("ancient", await opensslServer(pki.server.ecdsa, { version: "TLSv1" }));
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: Object.fromEntries([...origins].map(([name, { port }]) => [name, port])),
    });
  });
  after(async () => {
    await node?.stop();
    for (const { process } of origins.values()) await process.stop();
  });

  for (const [at, [title, version, , more, alert]] of REFUSALS.entries()) {
    for (const way of ["explicit", "forward"]) {
      test(`The client sees the server's own alert for ${title}, ${way}`, async () => {
        const name = `refusal-${at}-${way}.${DOMAIN}`;
        const target = origins.get(`refusal-${at}`)!.port;
        const path = way === "explicit" ? { proxy: node.proxy, target } : { port: node.forward(`refusal-${at}`) };
        const { code, stderr } = await opensslClient({ way: path, name, roots: node.primary, version, more });
        assert.notEqual(code, 0);
        assert.match(stderr, alert);
        const session = await node.session(name);
        assert.equal(session.presented, null);
        assert.match(session.closeReason ?? "", /server/i);
      });
    }
  }

  for (const [listener, version] of [
    ["demands-old", "TLSv1.2"],
    ["demands-new", "TLSv1.3"],
  ] as const) {
    for (const way of ["explicit", "forward"]) {
      test(`A server that demands a client certificate is bypassed from then on, ${version}, ${way}`, async () => {
        const name = `${listener}-${way}.${DOMAIN}`;
        const target = origins.get(listener)!.port;
        const path = way === "explicit" ? { proxy: node.proxy, target } : { port: node.forward(listener) };
        const more = ["-cert", pki.client.certificate, "-key", pki.client.key];
        // With TLS 1.3 the demand is only known after the handshake with the client (RFC 8446, section 4.4.2.4).
        const roots = version === "TLSv1.3" ? node.primary : pki.root.certificate;
        const first = await opensslClient({ way: path, name, roots, version, more });
        if (version === "TLSv1.2") assert.equal(first.code, 0, first.stderr);
        else assert.doesNotMatch(first.stdout, /<pre>/);
        await node.session(name);

        const { code, stdout, stderr } = await opensslClient({
          way: path,
          name,
          roots: pki.root.certificate,
          version,
          more,
        });
        assert.equal(code, 0, stderr);
        assert.match(stdout, /<pre>[\s\S]*Subject: CN=client\.clearline\.test/);
        const newest = (await node.sessions({ host: name })).filter(({ sni }) => sni === name)[0];
        assert.deepEqual([newest?.verdict, newest?.rule], ["bypass", "client certificate"]);
        assert.match(newest?.reason ?? "", /client certificate/);
      });
    }
  }

  test("A server below the minimum version is bypassed, and the record says why", async () => {
    const name = `ancient.${DOMAIN}`;
    const more = ["-min_protocol", "TLSv1"];
    const way = { port: node.forward("ancient") };
    const { code, stderr, stdout } = await opensslClient({ way, name, roots: pki.root.certificate, more });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /Protocol *: TLSv1$/m);
    const session = await node.session(name);
    assert.deepEqual([session.verdict, session.rule], ["bypass", "versions"]);
  });
});
