import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { TopList, TroubleList } from "../../src/control/api.ts";
import { curl, opensslClient, type Way } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { until } from "../processes.ts";

/** How sessions end, and what is shown of it. */
describe("Outcomes", needs("openssl", "curl", "nginx-light"), () => {
  let pki: Pki;
  let web: Nginx;
  let node: TestNode;
  const way = (): Way => ({ port: node.forward("web") });

  before(async () => {
    pki = await makePki();
    web = await nginx(pki.server.ecdsa);
    const policy = { rules: [{ name: "ads", match: { host: [`ads.${DOMAIN}`] }, action: "drop" }] };
    // Nothing listens on port 1.
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: web.port, closed: 1 },
      config: { policy },
    });
  });
  after(async () => {
    await node?.stop();
    await web?.process.stop();
  });

  const result = (name: string) =>
    until(`the end of ${name}`, async () => {
      const [session] = await node.sessions({ sni: `${name}.${DOMAIN}` });
      return session && session.end !== null && `${session.outcome} ${session.cause ?? "-"} ${session.blame ?? "-"}`;
    });
  const get = (name: string, roots: string, ...more: readonly string[]) =>
    curl(way(), roots, [...more, `https://${name}.${DOMAIN}/negotiated`]);

  for (const version of ["1.2", "1.3"]) {
    const tag = version.replace(".", "");
    test(`A client says that it does not trust the CA, or leaves at the certificate or behind the handshake, TLS ${version}`, async () => {
      const only = ["--tls-max", version, "--tlsv1.2"];
      assert.notEqual((await get(`strict${tag}`, pki.root.certificate, ...only)).code, 0);
      assert.equal(await result(`strict${tag}`), "clientRefusedCertificate unknown_ca client");
      const pin = `sha256//${"A".repeat(43)}=`;
      assert.notEqual((await get(`pinning${tag}`, node.primary, ...only, "--pinnedpubkey", pin)).code, 0);
      assert.match(await result(`pinning${tag}`), /^clientRefusedCertificate leftA\w+ client$/);
      assert.equal((await get(`good${tag}`, node.primary, ...only)).code, 0);
      assert.equal(await result(`good${tag}`), "decrypted - -");
    });
  }

  test("What policy drops, and a server that nobody reaches", async () => {
    assert.notEqual((await get("ads", node.primary)).code, 0);
    assert.equal(await result("ads"), "dropped rule -");
    await opensslClient({ way: { port: node.forward("closed") }, name: `closed.${DOMAIN}`, roots: node.primary });
    const [session] = await until("the unreachable server", async () => {
      const found = await node.sessions({ outcome: "serverUnreachable" });
      return found.length > 0 && found;
    });
    assert.deepEqual([session!.cause, session!.blame], ["refused", "server"]);
  });

  test("`explain` says what was decided about a session that is over, and what a policy of today would", async () => {
    const [session] = await node.sessions({ sni: `strict13.${DOMAIN}` });
    const before = await node.command("explain", session!.id);
    assert.match(before.stdout, /^Then, .*: decrypt, in the certificate phase, by default\n/);
    assert.match(before.stdout, /\nIt ended clientRefusedCertificate: unknown_ca, by the client\n/);
    assert.match(before.stdout, /\nToday's policy decides the same\.\n[\s\S]*ALPN offered +h2, http\/1\.1\n/);
    const rules = [{ name: "pinned", match: { host: [`strict13.${DOMAIN}`] }, action: "bypass" }];
    node.rewrite({ policy: { rules } });
    assert.equal((await node.command("reload")).code, 0);
    const { stdout } = await node.command("explain", session!.id);
    assert.match(stdout, /\nToday: bypass, in the sni phase, by pinned\n/);
  });

  test("`trouble` names who does not trust the CA and what to do, and `top` what most sessions have in common", async () => {
    const host = `strict13.${DOMAIN}`;
    const { troubles } = await node.api<TroubleList>("trouble");
    const found = troubles.find((one) => one.host === host);
    assert.deepEqual([found?.sessions, found?.clients, found?.cause], [1, 1, "unknown_ca"]);
    assert.equal(found?.remedy, `1 client does not trust the CA: see trust.md, or bypass ${host}.`);
    assert.ok(!troubles.some((one) => one.host === `good13.${DOMAIN}` || one.host === `ads.${DOMAIN}`));
    const { stdout } = await node.command("trouble", "--since", "1h", "--host", host);
    assert.match(stdout, /clientRefusedCertificate +unknown_ca/);
    assert.match(stdout, /1 client does not trust the CA/);
    const top = await node.api<TopList>("top?by=client");
    assert.equal(top.rows[0]?.key, "127.0.0.1");
    assert.ok(top.rows[0]!.failed >= 5);
    assert.match((await node.command("top", "--by", "version")).stdout, /TLSv1\.3/);
    const picture = await node.command("series", "--since", "1h");
    assert.match(picture.stdout, /^live .* 0\nsessions .*\/min\n/m);
  });
});
