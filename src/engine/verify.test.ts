import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { type Made, make, shake } from "../pki/x509/test-chain.ts";
import { checkEngine } from "./check.ts";
import { TrustStore, type VerifiedChain } from "./verify.ts";

checkEngine();

const NAMES = [["dns", "verify.test"]] as const;
const root = await make({ subject: "CN=root", ca: true });
const stranger = await make({ subject: "CN=stranger", ca: true });
const middle = await make({ subject: "CN=middle", ca: true, issuer: root });
const leaf = (more: Parameters<typeof make>[0]) => make({ subject: "CN=verify.test", names: NAMES, ...more });

const NOW = Date.now();

/** The error that OpenSSL's clients would report. */
function verify(chain: readonly Made[], roots: readonly Made[]): string | undefined {
  return verified(chain, roots).errors[0];
}

function verified(chain: readonly Made[], roots: readonly Made[]): VerifiedChain {
  const trust = new TrustStore(roots.map(({ pem }) => pem));
  return trust.verify(
    chain.map(({ der }) => der),
    NOW,
  );
}

const subjects = ({ path }: VerifiedChain) => path.map(({ subject }) => subject);

/** What Node's TLS client says to the same chain, with the same roots and security level. */
async function nodeSays(chain: readonly Made[], roots: readonly Made[]): Promise<string | undefined> {
  const server = { certificatePem: chain.map(({ pem }) => pem).join(""), keyPem: chain[0]!.keyPem };
  const { code } = await shake(
    server,
    roots.map(({ pem }) => pem),
  );
  return code;
}

const SERVER = "1.3.6.1.5.5.7.3.1";
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
  [
    "A path that is too long",
    async () => {
      const short = await make({ subject: "CN=short", ca: true, issuer: root, pathLength: 0 });
      const below = await make({ subject: "CN=below", ca: true, issuer: short });
      return [await leaf({ issuer: below }), below, short];
    },
    "PATH_LENGTH_EXCEEDED",
  ],
];

for (const [what, make, expected] of CASES) {
  test(`${what} is verified as Node's TLS client does: ${expected ?? "no error"}`, async () => {
    const chain = await make();
    assert.equal(verify(chain, [root]), expected);
    assert.equal(await nodeSays(chain, [root]), expected);
  });
}

test("An issuer that is not known or no CA is found", async () => {
  const server = await leaf({ subject: "CN=no CA", issuer: root });
  assert.equal(verify([await leaf({ issuer: server }), server], [root]), "INVALID_CA");
  for (const issuer of [stranger, middle]) {
    assert.equal(verify([await leaf({ issuer })], [root]), "UNABLE_TO_GET_ISSUER_CERT_LOCALLY");
  }
});

test("A forged signature is found", async () => {
  const forger = await make({ subject: "CN=root", ca: true });
  const chain = [await leaf({ issuer: forger })];
  assert.equal(verify(chain, [root]), await nodeSays(chain, [root]));
  assert.equal(verify(chain, [root]), "CERT_SIGNATURE_FAILURE");
});

test("All errors are found, and the one that Node reports comes first", async () => {
  const chain = [await leaf({ from: -9, to: -2 })];
  assert.equal(verify(chain, [root]), await nodeSays(chain, [root]));
});

test("A chain that is not X.509 is an error, and so is an empty one", () => {
  const trust = new TrustStore([root.pem]);
  for (const chain of [[], [Buffer.alloc(0)], [randomBytes(300)], [root.der.subarray(0, 100)]]) {
    assert.deepEqual(trust.verify(chain, NOW), { errors: ["UNSPECIFIED"], path: [], anchored: false });
  }
});

test("What is not X.509 beside a good certificate is passed over", async () => {
  const good = await leaf({ issuer: middle });
  assert.deepEqual(new TrustStore([root.pem]).verify([good.der, randomBytes(200), middle.der], NOW).errors, []);
});

test("A root that cannot be read is left out, and no root at all trusts nothing", async () => {
  const good = [(await leaf({ issuer: root })).der];
  const pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  assert.deepEqual(new TrustStore(["", pem, root.pem]).verify(good, NOW).errors, []);
  const { errors, anchored } = new TrustStore([]).verify(good, NOW);
  assert.deepEqual([errors[0], anchored], ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", false]);
});

test("The path goes from the server's certificate to the trusted one, whatever else was sent and in any order", async () => {
  const chain = await leaf({ issuer: middle });
  assert.deepEqual(subjects(verified([chain, stranger, root, middle], [root])), [
    "CN=verify.test",
    "CN=middle",
    "CN=root",
  ]);
  assert.equal(verified([chain, middle], [root]).anchored, true);
  assert.equal(verified([chain, middle], [stranger]).anchored, false);
});

test("An intermediate or a server's own certificate may be the trusted one", async () => {
  const chain = await leaf({ issuer: middle });
  for (const trusted of [middle, chain]) {
    const { errors, anchored } = verified([chain, middle], [trusted]);
    assert.deepEqual([errors, anchored], [[], true]);
  }
});

test("A path without errors is found beside one that has some", async () => {
  const impostor = await make({ subject: "CN=root", ca: true });
  const cross = await make({ subject: "CN=root", ca: true, keys: impostor.keys, issuer: stranger });
  const chain = await leaf({ issuer: impostor });
  // By name the trusted root seems to be the issuer; only the signature tells.
  const { errors, path } = verified([chain, cross], [root, stranger]);
  assert.deepEqual([errors, path.length], [[], 3]);
  assert.deepEqual(verified([chain, cross], [root]).anchored, false);
});
