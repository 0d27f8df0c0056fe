import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { opensslClient } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Origin, opensslServer, type TlsVersion } from "../peers.ts";
import { DOMAIN, makeLeaf, makePki, type Pki } from "../pki.ts";
import { until } from "../processes.ts";

const MANY = Array.from({ length: 3_000 }, (_, index) => `DNS:h${index}.many.example`);

/** The certificate's names, and the verdict of a session without SNI. */
const SERVERS = {
  wildcard: ["DNS:*.exact.example", "drop", "no"],
  exact: ["DNS:www.exact.example", "drop", "no"],
  below: ["DNS:*.www.exact.example", "decrypt", "default"],
  bank: ["DNS:www.bank.example", "bypass", "bank"],
  bankAndMore: ["DNS:www.bank.example,DNS:evil.example", "decrypt", "default"],
  bankWildcard: ["DNS:*.bank.example", "decrypt", "default"],
  many: [[...MANY, "DNS:www.exact.example"].join(), "drop", "no"],
} as const;

describe("The names of a server's certificate", needs("openssl"), () => {
  let pki: Pki;
  let node: TestNode;
  const origins = new Map<string, Origin>();

  before(async () => {
    pki = await makePki();
    for (const [name, [names]] of Object.entries(SERVERS)) {
      origins.set(name, await opensslServer(await makeLeaf(pki, `names-${name}`, names)));
    }
    origins.set("claimed", await opensslServer(pki.faulty.selfSigned));
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: Object.fromEntries([...origins].map(([name, { port }]) => [name, port])),
      config: {
        policy: {
          verifyBypass: true,
          rules: [
            { name: "no", match: { host: ["www.exact.example"] }, action: "drop" },
            { name: "bank", match: { host: ["www.bank.example"] }, action: "bypass" },
            {
              name: "claimed",
              match: { host: [DOMAIN, `*.${DOMAIN}`, `*.in.${DOMAIN}`, "localhost"] },
              action: "bypass",
            },
          ],
        },
      },
    });
  });
  after(async () => {
    await node?.stop();
    for (const { process } of origins.values()) await process.stop();
  });

  const visit = async (name: string, roots: string, more: { name?: string; version?: TlsVersion } = {}) => {
    const since = Date.now();
    const { code } = await opensslClient({ way: { port: node.forward(name) }, roots, ...more });
    const session = await until("the session's end", async () =>
      (await node.sessions({})).find(({ listener, start, end }) => listener === name && start >= since && end !== null),
    );
    return { code, session };
  };

  for (const [name, [names, verdict, rule]] of Object.entries(SERVERS)) {
    test(`${names.slice(0, 60)}: ${verdict}`, async () => {
      const { code, session } = await visit(name, verdict === "bypass" ? pki.root.certificate : node.primary);
      assert.equal(code === 0, verdict !== "drop");
      assert.deepEqual([session.verdict, session.rule], [verdict, rule]);
    });
  }

  test("Of a certificate with 3,001 names all are judged, 64 are recorded, and how many it has", async () => {
    const { session } = await visit("many", node.primary);
    const { names, nameCount } = session.certificate!;
    assert.deepEqual([session.verdict, names.length, nameCount], ["drop", 64, 3_001]);
    assert.ok(Buffer.byteLength(JSON.stringify(session)) < 8_000);
    const { stdout } = await node.command("session", session.id);
    assert.match(stdout.replaceAll(/\s+/g, " "), /h63\.many\.example, and 2937 more/);
  });

  test("The names of a certificate that nobody vouches for bypass nothing", async () => {
    const { code, session } = await visit("claimed", pki.root.certificate);
    assert.notEqual(code, 0);
    assert.deepEqual([session.verdict, session.rule], ["drop", "certificate fault"]);
  });

  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    for (const [server, isVerified] of [
      ["bank", true],
      ["bankWildcard", true],
      ["exact", false],
      ["claimed", false],
    ] as const) {
      test(`A bypass for the SNI ${isVerified ? "holds" : "is dropped"} at a server for ${server}, ${version}`, async () => {
        const { code, session } = await visit(server, pki.root.certificate, { name: "www.bank.example", version });
        assert.equal(code === 0, isVerified);
        const { verdict, rule, reason, certificate } = session;
        assert.deepEqual([verdict, rule], isVerified ? ["bypass", "bank"] : ["drop", "verifyBypass"]);
        if (isVerified) return;
        assert.match(reason!, /^The server was not verified: its certificate is /);
        assert.ok(certificate!.faults.length > 0);
      });
    }
  }
});
