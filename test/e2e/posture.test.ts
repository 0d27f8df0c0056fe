import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { encode, encodeInteger, readElements, TAG } from "../../src/pki/x509/der.ts";
import { fromPem, toPem } from "../../src/pki/x509/pem.ts";
import { createClientHelloReader } from "../../src/wire/client-hello-reader.ts";
import { GET, opensslClient } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx, type Origin, opensslServer } from "../peers.ts";
import { DOMAIN, makePki } from "../pki.ts";
import { run, scratch } from "../processes.ts";
import { type Tap, tap } from "../tap.ts";

/** What scanners say of the client leg: `docs/posture.md` has the table, with the tests of the server leg. */

/** Checks of testssl.sh: what each server's key can be attacked by, within seconds. */
const CHECKS = { rsa: ["-H", "-I", "-BB", "-C", "-F"], ecdsa: ["-p", "-R", "-O", "-W"] } as const;
const KEY_TYPES = ["rsa", "ecdsa"] as const;

describe("TLS posture", needs("openssl", "nginx-light", "sslscan", "testssl.sh"), () => {
  const webs = new Map<string, Nginx>();
  let node: TestNode;
  let behind: Tap;
  let older: Origin;

  before(async () => {
    const pki = await makePki();
    for (const type of KEY_TYPES) webs.set(type, await nginx(pki.server[type], "ssl_early_data on;"));
    behind = await tap(webs.get("ecdsa")!.port);
    older = await opensslServer(pki.server.rsa, { version: "TLSv1.2" });
    node = await startNode({
      trust: [pki.root.certificate],
      config: { resumption: { identifiers: true, tickets: true } },
      forwards: {
        rsa: webs.get("rsa")!.port,
        ecdsa: webs.get("ecdsa")!.port,
        early: behind.port,
        older: older.port,
      },
    });
  });
  after(async () => {
    await node?.stop();
    behind?.close();
    await older?.process.stop();
    for (const { process } of webs.values()) await process.stop();
  });

  for (const type of KEY_TYPES) {
    test(`sslscan finds nothing old and nothing weak before a server with a key of ${type}`, async () => {
      const name = `--sni-name=sslscan-${type}.${DOMAIN}`;
      const options = ["--no-colour", "--xml=-", "--no-groups", "--no-check-certificate", name];
      const { code, stdout } = await run(program("sslscan"), [...options, `127.0.0.1:${node.forward(type)}`]);
      assert.equal(code, 0, stdout);
      const enabled = [...stdout.matchAll(/<protocol type="(\w+)" version="([\d.]+)" enabled="1"/g)].map(
        (one) => one[2],
      );
      assert.deepEqual(enabled, ["1.2", "1.3"]);
      assert.match(stdout, /<renegotiation supported="0"/);
      assert.doesNotMatch(stdout, /<heartbleed [^>]*vulnerable="1"|<compression supported="1"/);
      const suites = [...stdout.matchAll(/<cipher [^>]*bits="(\d+)" cipher="([^"]+)"[^>]*strength="(\w+)"/g)];
      assert.ok(suites.length >= 4, stdout);
      for (const [, bits, suite, strength] of suites) {
        assert.ok(
          Number(bits) >= 128 && ["strong", "acceptable"].includes(strength!),
          `${suite}: ${bits} bits, ${strength}`,
        );
        assert.doesNotMatch(suite!, /RC4|3DES|DES-|NULL|EXP|anon|MD5/);
      }
    });

    test(`testssl.sh finds no vulnerability before a server with a key of ${type}`, async () => {
      const file = join(scratch(), "found.json");
      const quiet = [
        "--quiet",
        "--color",
        "0",
        "--warnings",
        "off",
        "--nodns",
        "none",
        "--ip",
        "127.0.0.1",
        "--jsonfile",
        file,
      ];
      const url = `testssl-${type}.${DOMAIN}:${node.forward(type)}`;
      const { stdout } = await run(program("testssl.sh"), [...quiet, ...CHECKS[type], url], { within: 240_000 });
      const found = JSON.parse(readFileSync(file, "utf8")) as { id: string; severity: string; finding: string }[];
      const bad = found.filter(({ severity }) => ["LOW", "MEDIUM", "HIGH", "CRITICAL"].includes(severity));
      assert.deepEqual(bad, [], stdout);
      // Each check has looked at something, and said so.
      const good = found.filter(({ severity }) => severity === "OK").map(({ id }) => id);
      const wanted =
        type === "rsa" ? ["heartbleed", "CCS", "ROBOT", "CRIME_TLS", "FREAK"] : ["SSLv3", "TLS1_3", "POODLE_SSL"];
      assert.deepEqual(
        wanted.filter((id) => !good.includes(id)),
        [],
        stdout,
      );
    });
  }

  test("Both legs have the extended master secret of RFC 7627", async () => {
    const way = { port: node.forward("older") };
    const name = `extended.${DOMAIN}`;
    const { code, stdout, stderr } = await opensslClient({ way, name, roots: node.primary, version: "TLSv1.2" });
    assert.equal(code, 0, stderr);
    // What the client says of its session, and the server's page of its own.
    assert.deepEqual(stdout.match(/Extended master secret: \w+/g), Array(2).fill("Extended master secret: yes"));
  });

  test("Early data with a valid ticket is not read, and the node neither invites nor sends any", async () => {
    const folder = scratch();
    const [kept, changed, early] = ["kept.pem", "changed.pem", "early"].map((file) => join(folder, file));
    const way = { port: node.forward("early") };
    const open = (more: readonly string[], name: string) =>
      opensslClient({ way, name, roots: node.primary, version: "TLSv1.3", input: GET, more });
    const first = await open(["-sess_out", kept!], `early.${DOMAIN}`);
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stdout, /Max Early Data: 0/);

    // OpenSSL's client sends early data only if its ticket invites it: so the ticket is made to.
    writeFileSync(changed!, inviting(readFileSync(kept!, "utf8")));
    writeFileSync(early!, "GET /early HTTP/1.0\r\n\r\n");
    const second = await open(["-sess_in", changed!, "-early_data", early!], `early.${DOMAIN}`);
    assert.equal(second.code, 0, second.stderr);
    assert.match(second.stdout, /Early data was rejected/);
    assert.match(second.stdout, /^Reused, TLSv1\.3/m);

    const hellos = behind.connections.map(({ fromClient }) => createClientHelloReader().push(fromClient));
    assert.ok(hellos.length >= 2);
    for (const hello of hellos) assert.ok(hello.kind === "hello" && !hello.hello.earlyData);
  });
});

/** A saved session of OpenSSL's whose ticket invites early data: field 15 of its SSL_SESSION_ASN1. */
function inviting(pem: string): string {
  const LABEL = "SSL SESSION PARAMETERS";
  const [session] = readElements(fromPem(pem, LABEL));
  const fields = readElements(session!.content).map(({ tag, whole }) => ({ tag, whole }));
  const at = fields.findIndex(({ tag }) => tag >= 0xaf);
  const invitation = { tag: 0xaf, whole: encode(0xaf, encodeInteger(Buffer.from([0x40, 0]))) };
  fields.splice(at < 0 ? fields.length : at, fields[at]?.tag === 0xaf ? 1 : 0, invitation);
  return toPem(encode(TAG.sequence, ...fields.map(({ whole }) => whole)), LABEL);
}
