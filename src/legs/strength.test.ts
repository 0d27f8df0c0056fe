import assert from "node:assert/strict";
import { getDiffieHellman } from "node:crypto";
import { test } from "node:test";
import { createSecureContext, type SecureContextOptions, TLSSocket } from "node:tls";
import { endAndSocket } from "../engine/test-ends.ts";
import { encode, TAG } from "../pki/x509/der.ts";
import { toPem } from "../pki/x509/pem.ts";
import { make } from "../pki/x509/test-chain.ts";
import { ALERTS } from "../wire/alert.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import type { VersionRange } from "./offer.ts";
import { openServerLeg } from "./server-leg.ts";
import { leniencyFor } from "./strength.ts";
import { COMMON, nodesHello } from "./test-pairs.ts";

const identity = await make({ subject: "CN=leg.test", names: [["dns", "leg.test"]], algorithm: "rsa" });
const HELLO = await nodesHello({ minVersion: "TLSv1", ciphers: "ALL:@SECLEVEL=0" });

/** Node's client, offering less. */
const ONLY_DHE = HELLO.cipherSuites.filter((id) => [0x009e, 0x009f, 0x0033, 0x0039, 0x0067, 0x006b].includes(id));
const OLD_HASHES = [0x0201, 0x0203];
const LENIENT: VersionRange = { min: "TLSv1", max: "TLSv1.3", weakTls12: true };
const OLD: VersionRange = { min: "TLSv1", max: "TLSv1.3" };
const USUAL: VersionRange = { min: "TLSv1.2", max: "TLSv1.3" };

/** RFC 2409, section 6.2 and RFC 3526: the groups of 1,024 and 2,048 bits. */
function groupOf(name: "modp2" | "modp14"): string {
  const prime = Buffer.concat([Buffer.alloc(1), getDiffieHellman(name).getPrime()]);
  const parameters = encode(TAG.sequence, encode(TAG.integer, prime), encode(TAG.integer, Buffer.from([2])));
  return toPem(parameters, "DH PARAMETERS");
}

const DHE = "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-SHA:@SECLEVEL=0";
const SMALL = { dhparam: groupOf("modp2"), ciphers: DHE };
const LARGE = { dhparam: groupOf("modp14"), ciphers: DHE };
const SHA1 = { sigalgs: "RSA+SHA1", ciphers: "ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0" };

const CASES: [
  title: string,
  server: SecureContextOptions,
  versions: VersionRange,
  hello: Partial<ClientHello>,
  isUp: boolean,
][] = [
  ["A group of 1,024 bits", SMALL, OLD, {}, false],
  ["A group of 1,024 bits, by default", SMALL, USUAL, {}, false],
  ["A group of 1,024 bits for a client that offers better, though policy allows it", SMALL, LENIENT, {}, false],
  ["A group of 1,024 bits for a client that offers no better", SMALL, OLD, { cipherSuites: ONLY_DHE }, false],
  ["A group of 1,024 bits for such a client where policy allows it", SMALL, LENIENT, { cipherSuites: ONLY_DHE }, true],
  ["A group of 1,024 bits in TLS 1.1", { ...SMALL, maxVersion: "TLSv1.1" }, OLD, {}, true],
  ["A group of 2,048 bits", LARGE, OLD, {}, true],
  ["A signature with SHA-1", SHA1, OLD, {}, false],
  [
    "A signature with SHA-1 for a client that verifies no better",
    SHA1,
    OLD,
    { signatureAlgorithms: OLD_HASHES },
    false,
  ],
  [
    "A signature with SHA-1 for such a client where policy allows it",
    SHA1,
    LENIENT,
    { signatureAlgorithms: OLD_HASHES },
    true,
  ],
];

for (const [title, server, versions, changes, isUp] of CASES) {
  test(`${title} is ${isUp ? "accepted" : "refused"}`, async (t) => {
    const [near, socket] = await endAndSocket(t);
    const options: SecureContextOptions = {
      cert: identity.pem,
      key: identity.keyPem,
      maxVersion: "TLSv1.2",
      ...server,
    };
    const secureContext = createSecureContext({ minVersion: "TLSv1", ...options });
    new TLSSocket(socket, { isServer: true, secureContext }).on("error", () => {});
    const leg = await openServerLeg(near, { ...HELLO, ...changes }, { ...COMMON, versions });
    assert.equal(leg.kind, isUp ? "up" : "failed", JSON.stringify(leg));
  });
}

test("What is too weak is refused with insufficient_security, and says what it was", async (t) => {
  const [near, socket] = await endAndSocket(t);
  const secureContext = createSecureContext({
    ...{ cert: identity.pem, key: identity.keyPem, minVersion: "TLSv1", maxVersion: "TLSv1.2" },
    ...SMALL,
  });
  new TLSSocket(socket, { isServer: true, secureContext }).on("error", () => {});
  const leg = await openServerLeg(near, HELLO, { ...COMMON, versions: OLD });
  assert.ok(leg.kind === "failed");
  assert.equal(leg.alert, ALERTS.insufficient_security);
  assert.match(leg.reason, /Diffie-Hellman group of 1024 bits, below 2048 in TLS 1\.2$/);
});

test("Only what the client offers nothing better for may be weak, and only where policy allows it", () => {
  const client = (changes: Partial<ClientHello>) => ({ ...HELLO, ...changes });
  assert.deepEqual(leniencyFor(client({ cipherSuites: ONLY_DHE, signatureAlgorithms: [] }), false), {
    ...{ dh: false, hash: false },
  });
  assert.deepEqual(leniencyFor(client({}), true), { dh: false, hash: false });
  assert.deepEqual(leniencyFor(client({ cipherSuites: ONLY_DHE }), true), { dh: true, hash: false });
  assert.deepEqual(leniencyFor(client({ cipherSuites: [0x1301] }), true), { dh: false, hash: false });
  // Without the extension, TLS 1.2 stands for SHA-1.
  assert.deepEqual(leniencyFor(client({ signatureAlgorithms: [] }), true), { dh: false, hash: true });
});
