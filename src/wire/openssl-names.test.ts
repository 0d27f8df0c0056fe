import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import { test } from "node:test";
import tls from "node:tls";
import { hex } from "../vocabulary.ts";
import type { ClientHello } from "./client-hello.ts";
import { createClientHelloReader } from "./client-hello-reader.ts";
import { GROUPS, groupById, groupByOpenssl } from "./groups.ts";
import { SIGNALLING_SUITES } from "./numbers.ts";
import { SIGNATURE_SCHEMES, signatureSchemeById } from "./signature-schemes.ts";
import { SUITES, suiteById } from "./suites.ts";

/** The hello that OpenSSL writes with these options. Its numbers show how OpenSSL understands a name. */
function helloFrom(options: tls.ConnectionOptions): Promise<ClientHello> {
  return new Promise((resolve, reject) => {
    const reader = createClientHelloReader();
    const wire = new Duplex({
      read() {},
      write(chunk, _encoding, done) {
        const sighting = reader.push(chunk);
        if (sighting.kind === "hello") resolve(sighting.hello);
        if (sighting.kind === "no") reject(new Error("OpenSSL wrote something that is not TLS"));
        done();
      },
    });
    const client = tls.connect({ socket: wire, ...options });
    client.on("error", reject);
  });
}

const SIGNALS: readonly number[] = Object.values(SIGNALLING_SUITES);

for (const suite of SUITES) {
  test(`OpenSSL offers suite ${hex(suite.id, 4)} for the name ${suite.openssl}`, async () => {
    const [minVersion, maxVersion] =
      suite.versions === "1.3" ? (["TLSv1.3", "TLSv1.3"] as const) : (["TLSv1", "TLSv1.2"] as const);
    const ciphers = `${suite.openssl}:${suite.versions === "1.3" ? "DEFAULT:" : ""}@SECLEVEL=0`;
    const hello = await helloFrom({ ciphers, minVersion, maxVersion });
    assert.deepEqual(
      hello.cipherSuites.filter((id) => !SIGNALS.includes(id)),
      [suite.id],
    );
  });
}

test("No suite is NULL, anonymous, export, RC4, DES or pre-shared", () => {
  for (const { openssl, id } of SUITES) {
    assert.doesNotMatch(openssl, /NULL|ADH|AECDH|EXP|RC4|DES|PSK|SRP|DSS|MD5/);
    assert.equal(suiteById(id)?.openssl, openssl);
  }
  assert.equal(suiteById(0x0005), undefined);
});

for (const group of GROUPS) {
  test(`OpenSSL offers ${group.name} for the name ${group.openssl}`, async () => {
    const [minVersion, maxVersion] = {
      any: ["TLSv1.2", "TLSv1.3"] as const,
      "1.3": ["TLSv1.3", "TLSv1.3"] as const,
      "1.2-": ["TLSv1.2", "TLSv1.2"] as const,
    }[group.versions];
    const ciphers = group.versions === "1.2-" ? "ECDHE-RSA-AES128-GCM-SHA256" : "DEFAULT";
    const hello = await helloFrom({ ecdhCurve: group.openssl, ciphers, minVersion, maxVersion });
    assert.deepEqual(hello.supportedGroups, [group.id]);
    assert.equal(groupById(group.id), group);
    assert.equal(groupByOpenssl(group.openssl), group);
  });
}

test("A NIST curve is found by the name that OpenSSL reports", () => {
  const reported = ["prime256v1", "secp384r1", "secp521r1"].map((name) => groupByOpenssl(name)?.name);
  assert.deepEqual(reported, ["secp256r1", "secp384r1", "secp521r1"]);
  assert.equal(groupByOpenssl("sect163k1"), undefined);
});

for (const scheme of SIGNATURE_SCHEMES) {
  test(`OpenSSL offers ${scheme.name} for the name ${scheme.openssl}`, async () => {
    const hello = await helloFrom({ sigalgs: scheme.openssl, minVersion: "TLSv1.2", ciphers: "DEFAULT:@SECLEVEL=0" });
    assert.deepEqual(hello.signatureAlgorithms, [scheme.id]);
    assert.equal(signatureSchemeById(scheme.id), scheme);
  });
}
