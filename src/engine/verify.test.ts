import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { type Made, make, shake } from "../pki/x509/test-chain.ts";
import { checkEngine } from "./check.ts";
import { TrustStore } from "./verify.ts";

checkEngine();

const NAMES = [["dns", "verify.test"]] as const;
const root = await make({ subject: "CN=root", ca: true });
const stranger = await make({ subject: "CN=stranger", ca: true });
const middle = await make({ subject: "CN=middle", ca: true, issuer: root });
const weak = await make({ subject: "CN=weak root", ca: true, algorithm: "rsa-1024" });
const leaf = (more: Parameters<typeof make>[0]) => make({ subject: "CN=verify.test", names: NAMES, ...more });

const NOW = Date.now();

function verify(chain: readonly Made[], roots: readonly Made[], level = 1): string | undefined {
  return new TrustStore(roots.map(({ pem }) => pem)).verify(shown(chain.map(({ der }) => der)), level, NOW);
}

function shown(ders: readonly Buffer[]) {
  return { ders, key: ders.map((der) => der.toString("base64")).join(" ") };
}

/** What Node's TLS client says to the same chain, with the same roots and security level. */
async function nodeSays(chain: readonly Made[], roots: readonly Made[], level: number): Promise<string | undefined> {
  const server = { certificatePem: chain.map(({ pem }) => pem).join(""), keyPem: chain[0]!.keyPem };
  const { code } = await shake(
    server,
    roots.map(({ pem }) => pem),
    { ciphers: `DEFAULT@SECLEVEL=${level}` },
  );
  return code;
}

const SERVER = "1.3.6.1.5.5.7.3.1";
const CLIENT = "1.3.6.1.5.5.7.3.2";
const CASES: readonly (readonly [string, () => Promise<readonly Made[]>, string | undefined])[] = [
  ["A good chain", async () => [await leaf({ issuer: root })], undefined],
  ["A good chain with an intermediate", async () => [await leaf({ issuer: middle }), middle], undefined],
  ["A good chain whose root is sent along", async () => [await leaf({ issuer: middle }), middle, root], undefined],
  ["A certificate for servers", async () => [await leaf({ issuer: root, purposes: [SERVER] })], undefined],
  ["A chain with another certificate in it", async () => [await leaf({ issuer: root }), stranger], undefined],
  ["An expired certificate", async () => [await leaf({ issuer: root, from: -9, to: -2 })], "CERT_HAS_EXPIRED"],
  ["A certificate of the future", async () => [await leaf({ issuer: root, from: 2, to: 9 })], "CERT_NOT_YET_VALID"],
  ["A self-signed certificate", async () => [await leaf({})], "DEPTH_ZERO_SELF_SIGNED_CERT"],
  [
    "A self-signed root that nobody trusts",
    async () => [await leaf({ issuer: stranger }), stranger],
    "SELF_SIGNED_CERT_IN_CHAIN",
  ],
  ["An unknown issuer", async () => [await leaf({ issuer: stranger })], "UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
  ["A missing intermediate", async () => [await leaf({ issuer: middle })], "UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
  [
    "An issuer that is no CA",
    async () => {
      const issuer = await leaf({ subject: "CN=no CA", issuer: root });
      return [await leaf({ issuer }), issuer];
    },
    "INVALID_PURPOSE",
  ],
  [
    "A path that is too long",
    async () => {
      const short = await make({ subject: "CN=short", ca: true, issuer: root, pathLength: 0 });
      const below = await make({ subject: "CN=below", ca: true, issuer: short });
      return [await leaf({ issuer: below }), below, short];
    },
    "PATH_LENGTH_EXCEEDED",
  ],
  ["A certificate for clients", async () => [await leaf({ issuer: root, purposes: [CLIENT] })], "INVALID_PURPOSE"],
];

for (const [what, make, expected] of CASES) {
  test(`${what} is verified as Node's TLS client does: ${expected ?? "no error"}`, async () => {
    const chain = await make();
    assert.equal(verify(chain, [root]), expected);
    assert.equal(await nodeSays(chain, [root], 1), expected);
  });
}

test("A forged signature is found", async () => {
  const forger = await make({ subject: "CN=root", ca: true });
  const chain = [await leaf({ issuer: forger })];
  assert.equal(verify(chain, [root]), await nodeSays(chain, [root], 1));
  assert.equal(verify(chain, [root]), "CERT_SIGNATURE_FAILURE");
});

test("What a key must be is the security level's", async () => {
  const chain = [await leaf({ issuer: weak, algorithm: "rsa" })];
  for (const level of [0, 1, 2]) {
    // Node has no name for "CA key too weak".
    const expected = await nodeSays(chain, [weak], level);
    assert.equal(verify(chain, [weak], level), expected, `${level}`);
    assert.equal(expected === undefined, level < 2, `${level}`);
  }
});

test("An error behind the first one is found as well: the last is told, as Node does", async () => {
  const chain = [await leaf({ from: -9, to: -2 })];
  assert.equal(verify(chain, [root]), await nodeSays(chain, [root], 1));
});

test("A chain that is not X.509 is an error, and so is an empty one", () => {
  const trust = new TrustStore([root.pem]);
  for (const chain of [[], [Buffer.alloc(0)], [randomBytes(300)], [root.der.subarray(0, 100)]]) {
    assert.equal(trust.verify(shown(chain), 1, NOW), "UNSPECIFIED");
  }
});

test("What is not X.509 beside a good certificate is passed over", async () => {
  const trust = new TrustStore([root.pem]);
  const good = await leaf({ issuer: middle });
  assert.equal(trust.verify(shown([good.der, randomBytes(200), middle.der]), 1, NOW), undefined);
});

test("A root that cannot be read is left out, and no root at all trusts nothing", async () => {
  const good = shown([(await leaf({ issuer: root })).der]);
  const pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  assert.equal(new TrustStore(["", pem, root.pem]).verify(good, 1, NOW), undefined);
  assert.equal(new TrustStore([]).verify(good, 1, NOW), "UNABLE_TO_VERIFY_LEAF_SIGNATURE");
});

test("A chain is verified once in its time, for each level by itself", async () => {
  const trust = new TrustStore([weak.pem]);
  const chain = shown([(await leaf({ issuer: weak, algorithm: "rsa" })).der]);
  assert.equal(trust.verify(chain, 0, NOW), undefined);
  assert.notEqual(trust.verify(chain, 2, NOW), undefined);
  assert.equal(trust.verify(chain, 0, NOW), undefined);
});
