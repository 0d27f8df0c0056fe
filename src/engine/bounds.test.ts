import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import { type TestContext, test } from "node:test";
import { createSecureContext, TLSSocket } from "node:tls";
import koffi from "koffi";
import { inRecord, message, REPLIED, serverHello, UNKNOWN } from "../../test/unruly-servers/scripted-server.ts";
import { make } from "../pki/x509/test-chain.ts";
import { type TlsVersion, VERSIONS } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import { CONTENT_TYPES, HANDSHAKE_TYPES } from "../wire/numbers.ts";
import { record } from "../wire/record.ts";
import { searchExtensions } from "../wire/unknown-extension.ts";
import { vector16, vector24 } from "../wire/writer.ts";
import { checkEngine } from "./check.ts";
import { Context } from "./contexts.ts";
import type { End } from "./end.ts";
import { BROKEN } from "./layer.ts";
import { OpensslLayer } from "./openssl-layer.ts";
import { endAndSocket, endPair, readBytes, readToEnd, shake, writeAll, writer } from "./test-ends.ts";
import { diffieHellmanGroup } from "./test-groups.ts";

/** What a peer may have this process compute. */

checkEngine();

const rsa = await make({ subject: "CN=bounds.test", names: [["dns", "bounds.test"]], algorithm: "rsa" });
const ecdsa = await make({ subject: "CN=bounds.test", names: [["dns", "bounds.test"]] });
const COMMON = { tickets: false, sessions: false, keyLog: false, alpn: [] };

async function handshakeWithGroup(t: TestContext, version: TlsVersion, bits: number, mostGroupBits: number) {
  const [end, peer] = await endAndSocket(t);
  const [minVersion, maxVersion] = [version, version];
  const secureContext = createSecureContext({
    ...{ cert: rsa.pem, key: rsa.keyPem, minVersion, maxVersion, dhparam: diffieHellmanGroup(bits) },
    ciphers: "DHE-RSA-AES128-SHA:@SECLEVEL=0",
  });
  new TLSSocket(peer, { isServer: true, secureContext }).on("error", () => {});
  const context = new Context({
    ...{ role: "client", minVersion: VERSIONS[version], maxVersion: VERSIONS[version], ...COMMON },
    ciphers: "DHE-RSA-AES128-SHA:@SECLEVEL=0",
  });
  t.after(() => context.release());
  const layer = new OpensslLayer({ end, writer, context, mostGroupBits });
  const { agreed } = await shake(end, layer);
  return { agreed, layer };
}

for (const version of ["TLSv1", "TLSv1.1", "TLSv1.2"] as const) {
  test(`A server's Diffie-Hellman group may have as many bits as are allowed, ${version}`, async (t) => {
    const { agreed, layer } = await handshakeWithGroup(t, version, 2048, 2048);
    assert.ok("suite" in agreed, JSON.stringify(agreed));
    assert.equal(layer.failure, undefined);
  });

  test(`A larger group is refused before it is computed with, ${version}`, async (t) => {
    const { agreed, layer } = await handshakeWithGroup(t, version, 2049, 2048);
    assert.deepEqual(agreed, {
      ...{ cause: "protocol", alert: ALERTS.insufficient_security, code: "DH_GROUP_TOO_LARGE" },
      detail: "its Diffie-Hellman group has 2049 bits, above 2048",
    });
    assert.equal(layer.alertSent, ALERTS.handshake_failure);
  });
}

/** OpenSSL's functions that the engine does not call, on the SSL of a peer. */
const openssl = koffi.load(null);
const keyUpdate = openssl.func("SSL_key_update", "int", ["uintptr_t", "int"]);
const renegotiate = openssl.func("SSL_renegotiate", "int", ["uintptr_t"]);
const useCertificate = openssl.func("SSL_use_certificate_ASN1", "int", ["uintptr_t", "const uint8_t *", "int"]);
const useKey = openssl.func("SSL_use_PrivateKey_ASN1", "int", ["int", "uintptr_t", "const uint8_t *", "long"]);
const clearOptions = openssl.func("SSL_clear_options", "uint64_t", ["uintptr_t", "uint64_t"]);
const REQUESTED = 1;
const NO_RENEGOTIATION = 0x40000000;
const EVP_PKEY_EC = 408;

const isSupported = openssl.func("SSL_extension_supported", "int", ["unsigned int"]);

test("Of a server's extensions those count as known that OpenSSL checks itself", () => {
  const before = Buffer.concat([Buffer.from([2, 0, 0, 44]), Buffer.alloc(34), Buffer.from([0, 0, 0, 0, 0, 4])]);
  const differences = Array.from({ length: 0x10000 }, (_, type) => type).filter((type) => {
    const hello = Buffer.concat([before, Buffer.from([type >> 8, type & 0xff, 0, 0])]);
    return (searchExtensions(hello).unknown === undefined) !== (isSupported(type) === 1);
  });
  // signature_algorithms_cert and CryptoPro's, which this function of OpenSSL's leaves out.
  assert.deepEqual(differences, [50, 0xfde8]);
});

test("What a server says before the ClientHello is sent is looked at like the rest", async (t) => {
  const flights = {
    hello: inRecord(serverHello({ extensions: [REPLIED, UNKNOWN] })),
    group: Buffer.concat([inRecord(serverHello({ suite: 0x0033, extensions: [REPLIED] })), ...dheFlight(2049)]),
  };
  const failures = [];
  for (const flight of Object.values(flights)) {
    const [end, peer] = await endAndSocket(t);
    peer.on("error", () => {});
    await new Promise((resolve) => peer.write(flight, resolve));
    const context = new Context({
      ...{ role: "client", minVersion: 0x0303, maxVersion: 0x0303, ...COMMON },
      ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256:DHE-RSA-AES128-SHA:@SECLEVEL=0",
    });
    t.after(() => context.release());
    const { agreed } = await shake(end, new OpensslLayer({ end, writer, context, mostGroupBits: 2048 }));
    failures.push("detail" in agreed ? agreed.detail : agreed);
  }
  assert.deepEqual(failures, [
    "it sent extension 15, which was not offered",
    "its Diffie-Hellman group has 2049 bits, above 2048",
  ]);
});

test("HelloRequests during the handshake hide nothing behind them, and do not come without end", async (t) => {
  const [asked, hello] = [inRecord(message(HANDSHAKE_TYPES.hello_request)), serverHello({ extensions: [REPLIED] })];
  const flights = {
    behind: Buffer.concat([asked, inRecord(serverHello({ extensions: [REPLIED, UNKNOWN] }))]),
    first: Buffer.concat(Array.from({ length: 21 }, () => asked)),
    after: Buffer.concat([inRecord(hello), ...Array.from({ length: 21 }, () => asked)]),
    inOneRecord: inRecord(hello, Buffer.alloc(4 * 21)),
  };
  for (const [where, flight] of Object.entries(flights)) {
    const [end, peer] = await endAndSocket(t);
    peer.on("error", () => {});
    peer.write(flight);
    const versions = { minVersion: VERSIONS["TLSv1.2"], maxVersion: VERSIONS["TLSv1.2"] };
    const ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
    const context = new Context({ role: "client", ...versions, ...COMMON, ciphers });
    t.after(() => context.release());
    const { agreed } = await shake(end, new OpensslLayer({ end, writer, context }));
    const detail =
      where === "behind"
        ? "it sent extension 15, which was not offered"
        : "it sent too many HelloRequests during the handshake";
    assert.equal("detail" in agreed && agreed.detail, detail, where);
  }
});

for (const role of ["client", "server"] as const) {
  test(`A peer may not cut messages of the handshake into records without end, at a ${role}'s end`, async (t) => {
    const [end, peer] = await endAndSocket(t);
    peer.on("error", () => {});
    const header = role === "client" ? Buffer.concat([serverHello({ extensions: [REPLIED] }), NEXT]) : HELLO;
    const bytes = Buffer.concat([header, Buffer.alloc(29_000)]);
    const empty = record(CONTENT_TYPES.handshake, 0x0303, Buffer.alloc(0));
    const after = Buffer.concat(Array.from({ length: 5 }, () => empty));
    const cut = (byte: number) => [record(CONTENT_TYPES.handshake, 0x0303, Buffer.of(byte)), after];
    peer.write(Buffer.concat([...bytes].flatMap(cut)));
    const versions = { minVersion: VERSIONS["TLSv1.2"], maxVersion: VERSIONS["TLSv1.2"] };
    const options = { ...versions, ...COMMON, ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256" };
    const identities = [{ certificatePem: ecdsa.pem, keyPem: ecdsa.keyPem }];
    const context = new Context(
      role === "client" ? { role, ...options } : { role, ...options, identities, sessionTimeout: 300 },
    );
    t.after(() => context.release());
    const { agreed } = await shake(end, new OpensslLayer({ end, writer, context }));
    assert.ok("detail" in agreed, JSON.stringify(agreed));
    assert.equal(agreed.detail, "it cut messages of the handshake into too many records");
  });
}

for (const [bits, isStrong] of [
  [512, false],
  [768, false],
  [1023, false],
  [1024, true],
] as const) {
  test(`A group of ${bits} bits is ${isStrong ? "strong" : "too weak"} below TLS 1.2, at OpenSSL's lowest level (Logjam)`, async (t) => {
    const [end, peer] = await endAndSocket(t);
    peer.on("error", () => {});
    const hello = serverHello({ version: VERSIONS.TLSv1, suite: 0x0033, extensions: [REPLIED] });
    for (const one of [inRecord(hello), ...dheFlight(bits, false)]) {
      one.writeUInt16BE(VERSIONS.TLSv1, 1);
      peer.write(one);
    }
    const versions = { minVersion: VERSIONS.TLSv1, maxVersion: VERSIONS.TLSv1 };
    const context = new Context({
      ...{ role: "client", ...versions, ...COMMON },
      ciphers: "DHE-RSA-AES128-SHA:@SECLEVEL=0",
    });
    t.after(() => context.release());
    const layer = new OpensslLayer({ end, writer, context, mostGroupBits: 2048 });
    await shake(end, layer);
    // What comes next is the signature.
    assert.equal(layer.alertSent, ALERTS[isStrong ? "decrypt_error" : "handshake_failure"]);
  });
}

/** The headers of a Certificate and of a ClientHello with 30,000 bytes. */
const [NEXT, HELLO] = [11, 1].map((type) => Buffer.of(type, 0, 0x75, 0x30)) as [Buffer, Buffer];

/** What follows a ServerHello with DHE, with a signature that is none. `isNamed`: its algorithm is, as in TLS 1.2. */
function dheFlight(bits: number, isNamed = true): Buffer[] {
  const prime = Buffer.alloc(Math.ceil(bits / 8), 0xff);
  prime[0] = 0xff >> ((8 - (bits % 8)) % 8);
  const params = [prime, Buffer.of(2), Buffer.alloc(prime.length, 1)].map((number) => vector16(number));
  const signature = [...(isNamed ? [Buffer.of(4, 1)] : []), vector16(Buffer.alloc(256))];
  return [
    inRecord(message(HANDSHAKE_TYPES.certificate, vector24(vector24(rsa.der)))),
    inRecord(message(HANDSHAKE_TYPES.server_key_exchange, ...params, ...signature)),
  ];
}

/** A TLS connection of two ends of ours; `pointer` is the flooding side's SSL. */
async function connection(t: TestContext, version: number, flooding: "client" | "server") {
  const [near, far] = await endPair(t);
  const common = { minVersion: version, maxVersion: version, ...COMMON };
  const ciphers = "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256";
  const identities = [{ certificatePem: ecdsa.pem, keyPem: ecdsa.keyPem }];
  const contexts = {
    client: new Context({ role: "client", ciphers, ...common }),
    server: new Context({ role: "server", ciphers, ...common, identities, sessionTimeout: 300 }),
  };
  let pointer = 0;
  const own = contexts[flooding].connection.bind(contexts[flooding]);
  contexts[flooding].connection = () => {
    pointer = own();
    return pointer;
  };
  const layers = {
    client: new OpensslLayer({ end: near, writer, context: contexts.client }),
    server: new OpensslLayer({ end: far, writer, context: contexts.server }),
  };
  t.after(() => {
    for (const context of Object.values(contexts)) context.release();
  });
  await Promise.all([shake(near, layers.client), shake(far, layers.server)]);
  const [flooder, flooded]: [End, End] = flooding === "client" ? [near, far] : [far, near];
  return { flooder, flooded, layers, pointer, layer: layers[flooding === "client" ? "server" : "client"] };
}

for (const flooding of ["client", "server"] as const) {
  test(`A ${flooding} that sends KeyUpdates without end is left`, async (t) => {
    const { flooded, layers, layer, pointer } = await connection(t, VERSIONS["TLSv1.3"], flooding);
    for (let count = 0; count < 200; count += 1) {
      assert.equal(keyUpdate(pointer, REQUESTED), 1);
      layers[flooding].handshake();
    }
    assert.deepEqual(await readToEnd(flooded), { bytes: Buffer.alloc(0), last: BROKEN });
    assert.deepEqual(layer.failure, {
      ...{ cause: "protocol", alert: ALERTS.unexpected_message, code: "TOO_MANY_HANDSHAKE_MESSAGES" },
      detail: "it sent too many messages of the handshake after the handshake",
    });
  });

  test(`A ${flooding} may send KeyUpdates between its data as long as it wants`, async (t) => {
    const { flooder, flooded, layers, layer, pointer } = await connection(t, VERSIONS["TLSv1.3"], flooding);
    for (let round = 0; round < 5; round += 1) {
      for (let count = 0; count < 20; count += 1) {
        assert.equal(keyUpdate(pointer, REQUESTED), 1);
        layers[flooding].handshake();
      }
      await writeAll(flooder, Buffer.from("data"));
      assert.equal((await readBytes(flooded, 4)).bytes.toString(), "data");
    }
    assert.equal(layer.failure, undefined);
  });
}

test("A server that asks for renegotiation without end is left, whatever it sends between", async (t) => {
  const { flooder, flooded, layers, layer, pointer } = await connection(t, VERSIONS["TLSv1.2"], "server");
  clearOptions(pointer, NO_RENEGOTIATION);
  for (let count = 0; count < 200 && !layer.failure; count += 1) {
    assert.equal(renegotiate(pointer), 1);
    layers.server.handshake();
    await writeAll(flooder, Buffer.from("data"));
    await readBytes(flooded, 4);
  }
  assert.equal(layer.failure?.code, "TOO_MANY_HANDSHAKE_MESSAGES");
});

test("A server that renegotiates to show another certificate does not get to: data goes on under the one that was judged", async (t) => {
  const { flooder, flooded, layers, layer, pointer } = await connection(t, VERSIONS["TLSv1.2"], "server");
  const judged = layer.peerChain();
  const other = await make({ subject: "CN=other.example" });
  const key = createPrivateKey(other.keyPem).export({ type: "sec1", format: "der" });
  assert.equal(useCertificate(pointer, other.der, other.der.length), 1);
  assert.equal(useKey(EVP_PKEY_EC, pointer, key, key.length), 1);
  clearOptions(pointer, NO_RENEGOTIATION);
  assert.equal(renegotiate(pointer), 1);
  layers.server.handshake();
  await writeAll(flooder, Buffer.from("data"));
  assert.equal((await readBytes(flooded, 4)).bytes.toString(), "data");
  assert.deepEqual(layer.peerChain(), judged);
});
