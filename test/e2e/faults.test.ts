import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { opensslClient } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Origin, opensslServer } from "../peers.ts";
import { DOMAIN, makeLeaf, makePki, type Pki } from "../pki.ts";
import { until } from "../processes.ts";

/** The faulty certificate, its faults in the record, and OpenSSL's codes for them. */
const FAULTS = [
  ["expired", "expired", /CERT_HAS_EXPIRED/],
  ["notYetValid", "expired", /CERT_NOT_YET_VALID/],
  ["selfSigned", "selfSigned", /DEPTH_ZERO_SELF_SIGNED_CERT/],
  ["unknownIssuer", "unknownIssuer", /UNABLE_TO|UNTRUSTED/],
  ["hostMismatch", "hostMismatch", /HOST|NAME/],
] as const;

/** A host for which the node holds a key that its server does not have. */
const heldFor = (kind: string) => `held-${kind}.${DOMAIN}`.toLowerCase();

describe("A server's certificate with a fault", needs("openssl"), () => {
  let pki: Pki;
  let strict: TestNode;
  let lenient: TestNode;
  const origins = new Map<string, Origin>();

  before(async () => {
    pki = await makePki();
    for (const [kind] of FAULTS) origins.set(kind, await opensslServer(pki.faulty[kind]));
    const trust = [pki.root.certificate];
    const forwards = Object.fromEntries([...origins].map(([name, { port }]) => [name, port]));
    strict = await startNode({ trust, forwards });
    const [expired, selfSigned, unknownIssuer, hostMismatch] = ["decrypt", "bypass", "decrypt", "decrypt"];
    const excused = { name: "excused", match: { host: heldFor("selfSigned"), fault: "selfSigned" }, action: "decrypt" };
    const accepting = FAULTS.map(([, fault]) => fault).filter((fault) => fault !== "hostMismatch");
    const config = {
      policy: { certificate: { expired, selfSigned, unknownIssuer, hostMismatch }, rules: [excused] },
      keys: [
        { hosts: FAULTS.map(([kind]) => heldFor(kind)), ...pki.server.ecdsa },
        { hosts: [`accepting.${DOMAIN}`], ...pki.server.rsa, acceptFaults: [...new Set(accepting)] },
        { hosts: ["127.0.0.1"], ...(await makeLeaf(pki, "address", "IP:127.0.0.1")) },
      ],
    };
    origins.set("stranger", await opensslServer(await makeLeaf(pki, "stranger-leaf", "DNS:stranger.example")));
    Object.assign(forwards, { stranger: origins.get("stranger")!.port });
    lenient = await startNode({ trust, forwards, config });
  });
  after(async () => {
    await strict?.stop();
    await lenient?.stop();
    for (const { process } of origins.values()) await process.stop();
  });

  for (const [kind, fault, code] of FAULTS) {
    for (const way of ["explicit", "forward"]) {
      test(`${kind}: dropped with an alert by default, ${way}`, async () => {
        const name = `${kind}-${way}.${DOMAIN}`.toLowerCase();
        const target = origins.get(kind)!.port;
        const path = way === "explicit" ? { proxy: strict.proxy, target } : { port: strict.forward(kind) };
        const client = await opensslClient({ way: path, name, roots: strict.primary });
        assert.notEqual(client.code, 0);
        assert.match(client.stderr, /SSL alert number \d+/);
        assert.doesNotMatch(client.stdout, /BEGIN CERTIFICATE/);

        const session = await strict.session(name);
        assert.deepEqual(
          [session.verdict, session.phase, session.rule, session.presented],
          ["drop", "certificate", "certificate fault", null],
        );
        assert.deepEqual(
          session.certificate?.faults.map((found) => found.fault),
          [fault],
        );
        assert.match(session.certificate?.faults[0]?.code ?? "", code);
      });
    }

    test(`${kind}: a server that policy decrypts is not shown under a key that the node holds for its host`, async () => {
      const way = { port: lenient.forward(kind) };
      const warned = await opensslClient({ way, name: heldFor(kind), roots: pki.root.certificate });
      assert.notEqual(warned.code, 0, "a client that trusts the real certificate must be warned");
      const { verdict, presented, deployment } = await lenient.session(heldFor(kind));
      assert.deepEqual([verdict, presented?.authority, deployment], ["decrypt", "secondary", "outbound"]);
    });

    if (kind === "selfSigned") continue;
    test(`${kind}: when policy decrypts it, the secondary CA signs`, async () => {
      const name = `${kind}-lenient.${DOMAIN}`.toLowerCase();
      const way = { port: lenient.forward(kind) };
      const warned = await opensslClient({ way, name, roots: lenient.primary });
      assert.notEqual(warned.code, 0, "a client that trusts the primary CA must be warned");
      assert.match(warned.stdout + warned.stderr, /verify error|certificate verify failed/);

      const other = `${kind}-lenient-again.${DOMAIN}`.toLowerCase();
      const {
        code: ended,
        stdout,
        stderr,
      } = await opensslClient({
        way,
        name: other,
        roots: lenient.secondary,
        // The issued certificate copies its dates and names.
        more: ["-no_check_time", ...(kind === "hostMismatch" ? ["-verify_hostname", "somewhere.else.example"] : [])],
      });
      assert.equal(ended, 0, stderr);
      assert.match(stdout, /issuer=.*[Ss]econdary/);
      const session = await lenient.session(other);
      assert.deepEqual([session.verdict, session.presented?.authority], ["decrypt", "secondary"]);
      assert.deepEqual(
        session.certificate?.faults.map((found) => found.fault),
        [fault],
      );
    });
  }

  test("selfSigned: when it is bypassed, the client sees the server's own certificate", async () => {
    const name = `self-bypassed.${DOMAIN}`;
    const way = { port: lenient.forward("selfSigned") };
    const { stdout, stderr } = await opensslClient({ way, name, roots: pki.faulty.selfSigned.certificate });
    assert.match(stdout, /subject=CN = Alone/, stderr);
    const session = await lenient.session(name);
    assert.deepEqual([session.verdict, session.phase, session.presented], ["bypass", "certificate", null]);
  });

  for (const [kind, shown] of [
    ["expired", "inbound"],
    ["unknownIssuer", "inbound"],
    ["hostMismatch", "secondary"],
  ] as const) {
    test(`${kind}: a key that accepts other faults than hostMismatch is ${shown === "inbound" ? "" : "not "}shown`, async () => {
      const since = Date.now();
      const way = { port: lenient.forward(kind) };
      const { code, stderr } = await opensslClient({ way, name: `accepting.${DOMAIN}`, roots: pki.root.certificate });
      assert.equal(code === 0, shown === "inbound", stderr);
      const found = await until("the session's end", async () =>
        (await lenient.sessions({ host: `accepting.${DOMAIN}` })).find(
          ({ start, end }) => start >= since && end !== null,
        ),
      );
      assert.equal(found.presented?.authority, shown);
    });
  }

  test("A certificate for somebody else's host is not shown under the key for the address, where no name was asked for", async () => {
    const { code } = await opensslClient({ way: { port: lenient.forward("stranger") }, roots: lenient.primary });
    assert.equal(code, 0);
    const session = await until("the session's record", async () =>
      (await lenient.sessions({ host: "stranger.example" })).find(({ presented }) => presented !== null),
    );
    assert.equal(session.presented?.authority, "primary");
  });
});
