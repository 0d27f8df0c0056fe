import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import fc from "fast-check";
import { RECORDED } from "../../test/recorded/client-hello/recorded.ts";
import { endAndSocket } from "../engine/test-ends.ts";
import { VERSIONS, type Version } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { isGrease } from "../wire/grease.ts";
import { GROUPS } from "../wire/groups.ts";
import { SIGNATURE_SCHEMES } from "../wire/signature-schemes.ts";
import { SUITES } from "../wire/suites.ts";
import { allowsTls, highestShared, type Offer, offerFor, offerOfNode, type VersionRange } from "./offer.ts";
import { openServerLeg } from "./server-leg.ts";
import { Cleanup, COMMON, helloOf } from "./test-pairs.ts";

const ALL: VersionRange = { min: "SSLv3", max: "TLSv1.3" };
const USUAL: VersionRange = { min: "TLSv1.2", max: "TLSv1.3" };
/** RFC 5746 and RFC 7507: they say something about the hello and choose nothing. */
const SIGNALS = [0x00ff, 0x5600];

const OPENSSL = helloOf(RECORDED["openssl-3.0"]!);

function hello(changes: Partial<ClientHello>): ClientHello {
  return { ...OPENSSL, serverName: "offer.test", ...changes };
}

function offered(changes: Partial<ClientHello>, allowed = ALL): Offer {
  const offer = offerFor(hello(changes), allowed, 4096);
  assert.equal(offer.kind, "offer", JSON.stringify(offer));
  return offer as Offer;
}

function refused(changes: Partial<ClientHello>, allowed = ALL): number {
  const offer = offerFor(hello(changes), allowed, 4096);
  assert.equal(offer.kind, "failed", JSON.stringify(offer));
  return (offer as { alert: number }).alert;
}

test("Only versions that both the client and the policy have are offered", () => {
  const { minVersion, maxVersion } = offered({ versions: [0x0304, 0x0303, 0x0302] }, USUAL);
  assert.deepEqual([minVersion, maxVersion], ["TLSv1.2", "TLSv1.3"]);
});

test("A gap in the client's versions is not bridged: the highest run counts", () => {
  const { minVersion, maxVersion } = offered({ versions: [0x0304, 0x0302, 0x0301] });
  assert.deepEqual([minVersion, maxVersion], ["TLSv1.3", "TLSv1.3"]);
  assert.equal(offered({ versions: [0x0303, 0x0301] }).minVersion, "TLSv1.2");
});

test("No version in common is refused with protocol_version", () => {
  assert.equal(refused({ versions: [0x0302, 0x0301] }, USUAL), ALERTS.protocol_version);
  assert.equal(refused({ versions: [0x0305] }), ALERTS.protocol_version);
  assert.equal(refused({ versions: [0x0300] }), ALERTS.protocol_version);
});

test("A client with more key shares than OpenSSL sends is offered all of its groups, with as many shares", () => {
  const supportedGroups = [0x0017, 0x0018, 0x0019, 0x001d, 0x001e];
  const { ecdhCurve } = offered({ versions: [0x0304], supportedGroups, keyShareGroups: supportedGroups });
  assert.equal(ecdhCurve, "*P-256:*P-384:*P-521:*X25519:X448");
});

test("A group over integers that is larger than allowed is not offered", () => {
  const wanted = { ...{ versions: [0x0304], cipherSuites: [0x1301] }, supportedGroups: [0x0104, 0x0102] };
  assert.equal(offered({ ...wanted, keyShareGroups: [0x0104] }).ecdhCurve, "ffdhe4096");
  assert.equal(refused({ ...wanted, supportedGroups: [0x0104] }), ALERTS.handshake_failure);
});

test("Suites of TLS 1.3 alone do not open TLS 1.2, nor the other way round", () => {
  const modern = offered({ versions: [0x0304, 0x0303], cipherSuites: [0x1301, 0x1302] });
  assert.deepEqual([modern.minVersion, modern.maxVersion], ["TLSv1.3", "TLSv1.3"]);
  const old = offered({ versions: [0x0304, 0x0303], cipherSuites: [0xc02f] });
  assert.deepEqual([old.minVersion, old.maxVersion], ["TLSv1.2", "TLSv1.2"]);
});

test("Suites of TLS 1.3 alone under a maximum of TLS 1.2 are nothing", () => {
  const limits = { min: "TLSv1.2", max: "TLSv1.2" } as const;
  assert.equal(refused({ versions: [0x0304, 0x0303], cipherSuites: [0x1301] }, limits), ALERTS.handshake_failure);
});

test("Suites, groups and signature algorithms that nobody knows are nothing", () => {
  assert.equal(refused({ cipherSuites: [0xfefe, 0x00ff] }), ALERTS.handshake_failure);
  assert.equal(refused({ versions: [0x0304], supportedGroups: [0xfefe] }), ALERTS.handshake_failure);
  assert.equal(refused({ signatureAlgorithms: [0xfefe] }), ALERTS.handshake_failure);
});

test("NULL, anonymous, export and RC4 suites are never offered on", () => {
  assert.equal(refused({ cipherSuites: [0x0001, 0x0002, 0x0005, 0x0018, 0x001b, 0x0003] }), ALERTS.handshake_failure);
});

test("The client's order and its key shares are kept", () => {
  const { ciphers, ecdhCurve } = offered({
    versions: [0x0304],
    cipherSuites: [0x1303, 0x1301],
    supportedGroups: [0x0018, 0x001d, 0x0017],
    keyShareGroups: [0x001d],
  });
  assert.equal(ciphers, "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256");
  assert.equal(ecdhCurve, "P-384:*X25519:P-256");
});

for (const [name, bytes] of Object.entries(RECORDED)) {
  test(`A server sees of the hello of ${name} nothing that is not in it`, async () => {
    await seesNoMore(helloOf(bytes), ALL);
  });
}

const some = <T>(values: readonly T[], least = 0) => fc.uniqueArray(fc.constantFrom(...values), { minLength: least });
const unknown = fc.constantFrom(0xfefe, 0x0001, 0x6399, 0x0a0b);
const lists = fc.record({
  versions: some([0x0304, 0x0303, 0x0302, 0x0301, 0x0300], 1).map((list) => list.sort((a, b) => b - a)),
  cipherSuites: fc.uniqueArray(fc.oneof(fc.constantFrom(...SUITES.map(({ id }) => id)), unknown), { minLength: 1 }),
  supportedGroups: fc.uniqueArray(fc.oneof(fc.constantFrom(...GROUPS.map(({ id }) => id)), unknown)),
  signatureAlgorithms: fc.uniqueArray(fc.oneof(fc.constantFrom(...SIGNATURE_SCHEMES.map(({ id }) => id)), unknown)),
  alpnProtocols: fc.uniqueArray(
    fc
      .uint8Array({ minLength: 1, maxLength: 255 })
      .map((name) => Buffer.from(name))
      // What a client sends so that servers ignore it is not offered.
      .filter((name) => name.length !== 2 || !isGrease(name.readUInt16BE()))
      .map((name) => name.toString("latin1")),
    { maxLength: 4 },
  ),
  serverName: fc.option(fc.constantFrom("offer.test", "xn--bcher-kva.example"), { nil: undefined }),
});
const NAMES = Object.keys(VERSIONS) as Version[];
const ranges = fc
  .tuple(fc.nat(4), fc.nat(4))
  .map(([a, b]) => ({ min: NAMES[Math.min(a, b)]!, max: NAMES[Math.max(a, b)]! }));

test("What a hello offers and the policy allows is never exceeded on the wire", async () => {
  const property = fc.asyncProperty(lists, ranges, fc.nat(), async (changes, allowed, seed) => {
    const keyShareGroups = changes.supportedGroups.filter((_, at) => ((seed >> (at % 31)) & 1) === 1);
    await seesNoMore(hello({ ...changes, keyShareGroups }), allowed);
  });
  await fc.assert(property, { numRuns: 150 });
});

/** Opens a server leg to a real listener and reads the hello that arrives there. An offer that is refused sends none. */
async function seesNoMore(client: ClientHello, allowed: VersionRange): Promise<void> {
  // A client of SSL 3.0 alone has nothing to offer a server of TLS: the node's own offer stands in, and is newer.
  const isOld = highestShared(client, allowed) === 0x0300 && allowsTls(allowed);
  const original = isOld ? offerOfNode(client) : client;
  const cleanup = new Cleanup();
  const [end, socket] = await endAndSocket(cleanup);
  const arrived = Promise.race([once(socket.resume(), "data"), once(socket, "end"), once(socket, "close")]).then(
    ([bytes]) => {
      socket.destroy();
      // An alert comes instead of a hello from an OpenSSL whose suites, groups and signatures do not fit together.
      return Buffer.isBuffer(bytes) && bytes[0] === 22 ? helloOf(bytes) : undefined;
    },
  );
  const leg = await openServerLeg(end, client, { ...COMMON, versions: allowed });
  assert.equal(leg.kind, "failed");
  cleanup.close();
  const seen = await arrived;
  if (!seen) return;

  const within = (what: string, part: readonly unknown[], whole: readonly unknown[]) =>
    assert.deepEqual(
      part.filter((one) => !whole.includes(one)),
      [],
      `${what} that the client did not offer`,
    );
  const permitted = original.versions.filter(
    (version) => version >= VERSIONS[allowed.min as Version] && version <= VERSIONS[allowed.max as Version],
  );
  // Without supported_versions (43) a hello names its highest version only; what is below the minimum OpenSSL refuses itself.
  within("versions", seen.extensions.includes(43) ? seen.versions : [seen.legacyVersion], permitted);
  within("suites", seen.cipherSuites, [...original.cipherSuites, ...SIGNALS]);
  // Without the extension the client left it to the server; OpenSSL cannot.
  if (original.supportedGroups.length > 0) within("groups", seen.supportedGroups, original.supportedGroups);
  if (original.signatureAlgorithms.length > 0) {
    within("signature algorithms", seen.signatureAlgorithms, original.signatureAlgorithms);
  }
  // SSL 3.0 has no extensions.
  const named = seen.versions[0] === 0x0300 ? { alpnProtocols: [], serverName: undefined } : original;
  assert.deepEqual([seen.alpnProtocols, seen.serverName], [named.alpnProtocols, named.serverName]);
  assert.deepEqual(seen.compressionMethods, [0]);
  assert.ok(!seen.earlyData && seen.ech === undefined);
}
