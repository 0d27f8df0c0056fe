import assert from "node:assert/strict";
import { test } from "node:test";
import { type ConnectionOptions, connect } from "node:tls";
import { endAndSocket } from "../engine/test-ends.ts";
import { make } from "../pki/x509/test-chain.ts";
import { openClientLeg } from "./client-leg.ts";
import { COMMON, readHello } from "./test-pairs.ts";

const [ecdsa, rsa] = [
  await make({ subject: "CN=leg.test", names: [["dns", "leg.test"]] }),
  await make({ subject: "CN=leg.test", names: [["dns", "leg.test"]], algorithm: "rsa" }),
];

/** What a client below TLS 1.3 offers, weakest first, and what it gets. */
const OFFERS: readonly (readonly [offered: string, chosen: string])[] = [
  ["AES128-SHA:AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES128-SHA"],
  ["AES128-SHA:ECDHE-ECDSA-AES128-SHA:AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"],
  ["ECDHE-RSA-AES256-SHA384:DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256"],
  ["ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"],
  ["ECDHE-ECDSA-AES128-CCM8:ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"],
  ["ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"],
  ["ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-GCM-SHA384"],
];

for (const [offered, chosen] of OFFERS) {
  test(`A client of TLS 1.2 that offers ${offered} gets the strongest`, async (t) => {
    const suites = offered.split(":");
    for (const ciphers of [suites, suites.toReversed()]) {
      // A client whose first suite is ChaCha20 is slow with AES.
      const expected = ciphers[0]!.includes("CHACHA20") ? ciphers[0] : chosen;
      assert.equal(await chosenFor(t, { maxVersion: "TLSv1.2", ciphers: ciphers.join(":") }), expected);
    }
  });
}

test("A client without elliptic curves gets its first suite: it may be too old for a group of DHE", async (t) => {
  const suites = ["AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"];
  for (const ciphers of [suites, suites.toReversed()])
    assert.equal(await chosenFor(t, { maxVersion: "TLSv1.2", ciphers: ciphers.join(":") }), ciphers[0]);
});

test("In TLS 1.3, where all suites are strong, the client's first one is chosen", async (t) => {
  const suites = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"];
  for (const ciphers of [suites, suites.toReversed()])
    assert.equal(await chosenFor(t, { ciphers: ciphers.join(":") }), ciphers[0]);
});

/** The suite of a real client that offers this. */
async function chosenFor(
  t: { after(step: () => void): void },
  options: ConnectionOptions,
): Promise<string | undefined> {
  const [near, socket] = await endAndSocket(t);
  const client = connect({ socket, servername: "leg.test", rejectUnauthorized: false, ...options });
  client.on("error", () => {});
  const leg = await openClientLeg(near, await readHello(near), {
    ...COMMON,
    presented: [ecdsa, rsa].map(({ pem, keyPem }) => ({ certificatePem: pem, keyPem })),
    alpn: undefined,
    versions: { min: "TLSv1.2", max: "TLSv1.3" },
  });
  assert.equal(leg.kind, "up", JSON.stringify(leg));
  return client.getCipher().name;
}
