import assert from "node:assert/strict";
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { make } from "../pki/x509/test-chain.ts";
import { createClient } from "../ssl3/client.ts";
import { createServer } from "../ssl3/server.ts";
import { suitesFor } from "../ssl3/suites.ts";
import { VERSIONS } from "../vocabulary.ts";
import { checkEngine } from "./check.ts";
import { Context } from "./contexts.ts";
import { type End, openEnds } from "./end.ts";
import { BROKEN, END, type Layer, RESET, TRUNCATED } from "./layer.ts";
import { liveConnections, OpensslLayer } from "./openssl-layer.ts";
import { Ssl3Layer } from "./ssl3-layer.ts";
import { endAndSocket, endPair, readToEnd, shake, writeAll, writer } from "./test-ends.ts";

/** Whatever a peer sends: no crash, nothing left behind, and what went wrong is a value. */

checkEngine();

type Role = "client" | "server";
type NewLayer = (end: End, role: Role) => Layer;

const { pem, keyPem } = await make({ subject: "CN=fuzz.test" });
const SUITES = "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0";

function tls(version: number): NewLayer {
  const common = {
    ...{ minVersion: version, maxVersion: version, ciphers: SUITES, tickets: true, sessions: true, keyLog: true },
  };
  const contexts = {
    client: new Context({ role: "client", ...common, alpn: ["h2"] }),
    server: new Context({
      ...{ role: "server", ...common, sessionTimeout: 300, identities: [{ certificatePem: pem, keyPem }] },
    }),
  };
  return (end, role) =>
    new OpensslLayer({ end, writer, context: contexts[role], onKey: () => {}, onSession: () => {} });
}

const identity = { chain: [new X509Certificate(pem).raw], key: createPrivateKey(keyPem) };
const ssl3: NewLayer = (end, role) => {
  const suites = suitesFor("all").map(({ id }) => id);
  const common = { random: randomBytes, highest: VERSIONS["TLSv1.3"], find: undefined };
  const connection =
    role === "client"
      ? createClient({ random: randomBytes, suites, dhBits: 4096, fallback: false, session: undefined })
      : createServer({ ...common, identities: [identity], suites: "all" });
  return new Ssl3Layer(end.takeWire(), connection);
};

const KINDS: Readonly<Record<string, NewLayer>> = {
  "SSL 3.0": ssl3,
  "TLS 1.0": tls(VERSIONS.TLSv1),
  "TLS 1.1": tls(VERSIONS["TLSv1.1"]),
  "TLS 1.2": tls(VERSIONS["TLSv1.2"]),
  "TLS 1.3": tls(VERSIONS["TLSv1.3"]),
};

const PAYLOAD = Buffer.alloc(3_000, "payload");
const LAST: readonly number[] = [END, TRUNCATED, RESET, BROKEN];

/** One side from its handshake to its end. */
async function live(end: End, layer: Layer): Promise<void> {
  const { agreed } = await shake(end, layer);
  if ("version" in agreed) {
    await writeAll(end, PAYLOAD);
    if (!end.isBroken && end.finish()) end.fin();
    const { bytes, last } = await readToEnd(end);
    assert.ok(LAST.includes(last));
    // Nothing but what the peer said is ever taken for its words.
    assert.ok(PAYLOAD.subarray(0, bytes.length).equals(bytes));
    if (last === BROKEN) assert.equal(typeof layer.failure?.alert, "number");
  } else {
    assert.ok(["alert", "protocol", "network"].includes(agreed.cause));
    assert.ok(agreed.alert >= 0 && agreed.alert <= 255);
  }
  end.fin();
}

interface Damage {
  /** Whose bytes. */
  readonly from: Role;
  /** Where in all that this side sends. */
  readonly at: number;
  readonly how: "flip" | "cut" | "insert" | "drop" | "repeat";
  readonly value: number;
}

/** Carries what one socket says to the other, with the damage in it; behind the damage comes a FIN. */
function carry(from: Socket, to: Socket, damage: Damage | undefined): void {
  let passed = 0;
  from.on("end", () => to.end());
  from.resume().on("data", (bytes: Buffer) => {
    if (to.writableEnded) return;
    const at = damage ? damage.at - passed : bytes.length;
    passed += bytes.length;
    if (!damage || at >= bytes.length) to.write(bytes);
    else to.end(spoil(bytes, at, damage));
  });
}

function spoil(bytes: Buffer, at: number, { how, value }: Damage): Buffer {
  const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
  switch (how) {
    case "cut":
      return head;
    case "flip":
      return Buffer.concat([head, Buffer.from([tail[0]! ^ (value || 1)]), tail.subarray(1)]);
    case "insert":
      return Buffer.concat([head, Buffer.from([value]), tail]);
    case "drop":
      return Buffer.concat([head, tail.subarray(1 + value)]);
    case "repeat":
      return Buffer.concat([head, tail, tail]);
  }
}

const damages: fc.Arbitrary<Damage> = fc.record({
  from: fc.constantFrom("client", "server"),
  at: fc.oneof(fc.nat(200), fc.nat(5_000)),
  how: fc.constantFrom("flip", "cut", "insert", "drop", "repeat"),
  value: fc.nat(255),
});

/** What is to be done when one run is over. */
function cleanup() {
  const steps: (() => unknown)[] = [];
  return {
    after: (step: unknown) => void steps.push(step as () => unknown),
    close() {
      for (const step of steps) step();
    },
  };
}

for (const [name, layer] of Object.entries(KINDS)) {
  test(`${name}: damaged bytes end both sides with a value`, async () => {
    const before = [openEnds(), liveConnections()];
    const property = fc.asyncProperty(damages, async (damage) => {
      const own = cleanup();
      const [client, a] = await endAndSocket(own);
      const [server, b] = await endAndSocket(own);
      carry(a, b, damage.from === "client" ? damage : undefined);
      carry(b, a, damage.from === "server" ? damage : undefined);
      await Promise.all([live(client, layer(client, "client")), live(server, layer(server, "server"))]);
      own.close();
    });
    await fc.assert(property, { numRuns: 100 });
    assert.deepEqual([openEnds(), liveConnections()], before);
  });

  for (const role of ["client", "server"] as const) {
    test(`${name}: a ${role} that is sent anything ends with a value, inside of TLS too`, async () => {
      const before = [openEnds(), liveConnections()];
      const header = fc.constantFrom(
        [22, 3, 0],
        [22, 3, 1],
        [22, 3, 3],
        [21, 3, 3],
        [23, 3, 3],
        [20, 3, 1],
        [0x80, 0x2e, 1],
      );
      const anything = fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        fc
          .tuple(header, fc.uint8Array({ maxLength: 200 }))
          .map(([first, body]) => Uint8Array.from([...first, body.length >> 8, body.length & 255, ...body])),
      );
      const property = fc.asyncProperty(anything, fc.boolean(), async (bytes, isInside) => {
        const own = cleanup();
        const [near, far] = await endPair(own);
        const outer = KINDS["TLS 1.3"]!;
        if (isInside) await Promise.all([shake(near, outer(near, "client")), shake(far, outer(far, "server"))]);
        near.writeBytes(bytes);
        if (near.finish()) near.fin();
        await live(far, layer(far, role));
        own.close();
      });
      await fc.assert(property, { numRuns: 100 });
      assert.deepEqual([openEnds(), liveConnections()], before);
    });
  }
}
