import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import type { CacheInfo, Session } from "../../src/control/api.ts";
import { writeOcspResponse } from "../../src/pki/revocation/test-answers.ts";
import { opensslClient } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { nginx, type Origin, opensslServer } from "../peers.ts";
import { DOMAIN, type Identity, makePki } from "../pki.ts";
import { freePort, scratch, until } from "../processes.ts";
import { type Gate, gate, RevokingCa, webServer } from "../revocation.ts";

/** How many clients connect at once. */
const CROWD = 20;

describe("Whether a server's certificate was revoked", needs("openssl", "nginx-light"), () => {
  let ca: RevokingCa;
  let responder: Origin;
  let crowd: Gate;
  let soft: TestNode;
  let hard: TestNode;
  let web: Awaited<ReturnType<typeof webServer>>;
  const identities = new Map<string, Identity>();
  const origins = new Map<string, Origin>();

  before(async () => {
    const pki = await makePki();
    ca = await RevokingCa.create(pki, "Revoking CA");
    const stranger = await RevokingCa.create(pki, "Stranger CA");
    const [answering, nobody] = [await freePort(), await freePort()];
    crowd = await gate(answering);
    let list = "";
    web = await webServer({ "/list.crl": () => list });
    const asked = `authorityInfoAccess=OCSP;URI:http://127.0.0.1:${answering}`;
    const unreachable = `authorityInfoAccess=OCSP;URI:http://127.0.0.1:${nobody}`;
    const lists = `crlDistributionPoints=URI:http://127.0.0.1:${web.port}/list.crl`;
    const WANTED = [
      ["good", asked],
      ["revoked", asked],
      ["excused", asked],
      ["later", asked],
      ["down", unreachable],
      ["silent", `${unreachable}\ntlsfeature=status_request`],
      ["crowded", `authorityInfoAccess=OCSP;URI:http://127.0.0.1:${crowd.port}/`],
      ["stapled-good", unreachable],
      ["stapled-revoked", unreachable],
      ["stapled-stale", asked],
      ["stapled-strange", unreachable],
      ["unlisted", lists],
      ["listed", lists],
    ] as const;
    for (const [name, extensions] of WANTED) identities.set(name, await ca.issue(name, extensions));
    const of = (name: string) => identities.get(name)!;
    const staples = new Map([
      ["stapled-good", await ca.answer(of("stapled-good"), "-nmin", "5")],
      ["stapled-stale", staleAnswer(ca.root, of("stapled-stale"))],
      ["stapled-strange", strangeAnswer(ca.root, stranger.root, of("stapled-strange"))],
    ]);
    for (const name of ["revoked", "excused", "stapled-stale", "listed"]) await ca.revoke(of(name), "keyCompromise");
    await ca.revoke(of("stapled-revoked"), "superseded");
    staples.set("stapled-revoked", await ca.answer(of("stapled-revoked"), "-nmin", "5"));
    list = await ca.list();
    responder = await ca.responder(answering);

    for (const [name, identity] of identities) {
      const staple = staples.get(name);
      const more = staple === undefined ? [] : ["-status_file", staple];
      origins.set(name, name === "crowded" ? await nginx(identity) : await opensslServer(identity, { more }));
    }
    const forwards = Object.fromEntries([...origins].map(([name, { port }]) => [name, port]));
    const start = (revocation: object, policy: object = {}) =>
      startNode({
        trust: [ca.root.certificate],
        forwards,
        config: { workers: 1, policy: { revocation: { loopback: true, timeout: "30s", ...revocation }, ...policy } },
      });
    const excuse = { name: "excuse", match: { fault: "revoked", host: `excused.${DOMAIN}` }, action: "decrypt" };
    soft = await start({}, { rules: [excuse] });
    hard = await start({ ocsp: "hard", crl: "hard", keep: "1s" });
  });
  after(async () => {
    for (const node of [soft, hard]) await node?.stop();
    for (const { process } of [...origins.values(), responder]) await process?.stop();
    await crowd?.[Symbol.asyncDispose]();
    web?.close();
  });

  const seen = new Set<string>();
  /** Opens a session with the server of this name. Resolves with its record. */
  async function visit(node: TestNode, server: string): Promise<Session> {
    const name = `${server}.${DOMAIN}`;
    await opensslClient({ way: { port: node.forward(server) }, name, roots: node.primary, more: ["-tls1_2"] });
    const session = await until(`a closed session of ${name}`, async () => {
      const found = await node.sessions({ host: name });
      return found.find(({ id, sni, end }) => sni === name && end !== null && !seen.has(id));
    });
    seen.add(session.id);
    return session;
  }
  const statusOf = ({ certificate }: Session) => {
    const { status, from, reason } = certificate?.revocation ?? {};
    return [status, from, reason];
  };

  test("Good: the node asks the responder, decrypts the session, and records the answer", async () => {
    const session = await visit(hard, "good");
    assert.deepEqual([session.verdict, session.presented?.authority], ["decrypt", "primary"], session.reason ?? "");
    assert.deepEqual(statusOf(session), ["good", "ocsp", null]);
    assert.equal(session.certificate?.revocation?.cached, false);
    const { stdout } = await hard.command("session", session.id);
    assert.match(stdout, /Revocation +good, by OCSP, issued 20/);
  });

  for (const [server, from, reason, nodeOf] of [
    ["revoked", "ocsp", "keyCompromise", () => soft],
    ["stapled-revoked", "stapled", "superseded", () => soft],
    ["listed", "crl", "keyCompromise", () => hard],
  ] as const) {
    test(`Revoked, ${from}: dropped, with phase, rule and reason`, async () => {
      const session = await visit(nodeOf(), server);
      assert.deepEqual(statusOf(session), ["revoked", from, reason]);
      assert.deepEqual(
        [session.verdict, session.phase, session.rule, session.presented],
        ["drop", "certificate", "certificate fault", null],
      );
      assert.match(session.reason ?? "", /is revoked \(revoked\)/);
      assert.deepEqual(session.certificate?.faults, [{ fault: "revoked", code: "CERT_REVOKED" }]);
    });
  }

  test("Not in the list: decrypted", async () => {
    const session = await visit(hard, "unlisted");
    assert.deepEqual([session.verdict, ...statusOf(session)], ["decrypt", "good", "crl", null]);
  });

  test("Revoked, but a rule decrypts it: the secondary CA signs", async () => {
    const session = await visit(soft, "excused");
    assert.deepEqual([session.verdict, session.rule], ["decrypt", "excuse"]);
    assert.equal(session.presented?.authority, "secondary");
  });

  test("A stapled answer is enough when no responder can be reached", async () => {
    const session = await visit(hard, "stapled-good");
    assert.deepEqual([session.verdict, ...statusOf(session)], ["decrypt", "good", "stapled", null]);
  });

  test("An expired stapled answer is not used, and the responder is asked", async () => {
    const session = await visit(soft, "stapled-stale");
    assert.deepEqual([session.verdict, ...statusOf(session)], ["drop", "revoked", "ocsp", "keyCompromise"]);
  });

  test("A stapled response without an authorised signer is not used", async () => {
    const session = await visit(hard, "stapled-strange");
    assert.deepEqual([session.verdict, statusOf(session)[0]], ["drop", "unknown"]);
    assert.match(
      session.certificate?.revocation?.reason ?? "",
      /^The stapled response: the signer is not authorised for this issuer; OCSP: /,
    );
  });

  test("When the responder cannot be reached, soft decrypts and records the reason, and hard drops", async () => {
    const gone = await visit(soft, "down");
    assert.deepEqual([gone.verdict, gone.presented?.authority, statusOf(gone)[0]], ["decrypt", "primary", "unknown"]);
    assert.match(gone.certificate?.revocation?.reason ?? "", /ECONNREFUSED/);
    assert.deepEqual(gone.certificate?.faults, []);
    const dropped = await visit(hard, "down");
    assert.deepEqual([dropped.verdict, dropped.rule], ["drop", "certificate fault"]);
    assert.match(dropped.reason ?? "", /revocationUnknown/);
  });

  test("A certificate with must-staple makes soft behave as hard", async () => {
    const session = await visit(soft, "silent");
    assert.deepEqual([session.verdict, session.certificate?.faults[0]?.fault], ["drop", "revocationUnknown"]);
  });

  test("Concurrent clients share one request to the responder", async () => {
    const clients = Array.from({ length: CROWD }, () =>
      tls.connect({
        port: soft.forward("crowded"),
        host: "127.0.0.1",
        servername: `crowd.${DOMAIN}`,
        rejectUnauthorized: false,
      }),
    );
    const up = Promise.all(clients.map((client) => once(client, "secureConnect")));
    await until("all of them wait for the responder", async () => {
      const waiting = await soft.sessions({ host: `crowd.${DOMAIN}` });
      return (
        waiting.filter(({ sni, certificate }) => sni === `crowd.${DOMAIN}` && certificate !== null).length === CROWD
      );
    });
    assert.equal(crowd.visitors, 1);
    crowd.open();
    await up;
    for (const client of clients) client.destroy();
    assert.equal(crowd.visitors, 1);
  });

  test("The cache of answers is shown, and flushed on request", async () => {
    crowd.open();
    const row = async () => (await soft.api<CacheInfo[]>("caches")).find(({ name }) => name === "revocation");
    assert.equal((await visit(soft, "crowded")).verdict, "decrypt");
    const asked = crowd.visitors;
    const again = await visit(soft, "crowded");
    assert.deepEqual([again.certificate?.revocation?.cached, crowd.visitors], [true, asked]);
    await until("the cache's counts", async () => {
      const { size = 0, hits = 0, misses = 0 } = (await row()) ?? {};
      return size > 0 && hits > 0 && misses > 0;
    });
    const { code, stderr } = await soft.command("cache", "flush", "revocation");
    assert.equal(code, 0, stderr);
    const fresh = await visit(soft, "crowded");
    assert.deepEqual([fresh.certificate?.revocation?.cached, crowd.visitors], [false, asked + 1]);
  });

  test("A resumed server leg asks the responder again once the answer has expired", async () => {
    assert.equal((await visit(hard, "later")).verdict, "decrypt");
    await ca.revoke(identities.get("later")!, "cessationOfOperation");
    await responder.process.stop();
    responder = await ca.responder(responder.port);
    const session = await until("a session that is dropped", async () => {
      const again = await visit(hard, "later");
      assert.equal(again.serverLeg.resumed, true);
      return again.verdict === "drop" && again;
    });
    assert.deepEqual(statusOf(session), ["revoked", "ocsp", "cessationOfOperation"]);
  });
});

/** An answer that expired an hour ago. */
function staleAnswer(root: Identity, about: Identity): string {
  return writeAnswer(root, root, about, Date.now() - 7_200_000);
}

function strangeAnswer(root: Identity, stranger: Identity, about: Identity): string {
  return writeAnswer(root, stranger, about, Date.now());
}

function writeAnswer(root: Identity, signer: Identity, about: Identity, thisUpdate: number): string {
  const read = (identity: Identity) => new X509Certificate(readFileSync(identity.certificate));
  const file = join(scratch(), "answer");
  const key = createPrivateKey(readFileSync(signer.key));
  const wanted = { certificate: read(about), issuer: read(root), signer: { certificate: read(signer), key } };
  writeFileSync(file, writeOcspResponse({ ...wanted, thisUpdate, nextUpdate: thisUpdate + 3_600_000 }));
  return file;
}
