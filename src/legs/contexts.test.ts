import assert from "node:assert/strict";
import { test } from "node:test";
import type { ServerContextOptions } from "../engine/contexts.ts";
import { make } from "../pki/x509/test-chain.ts";
import { createContextCache } from "./contexts.ts";

const [one, two] = [await make({ subject: "CN=one.test" }), await make({ subject: "CN=two.test" })];
const identityOf = ({ pem, keyPem }: typeof one) => ({ certificatePem: pem, keyPem });

/** A new object each time, as a session makes it. */
function options(more: Partial<ServerContextOptions> = {}): ServerContextOptions {
  return {
    ...{
      role: "server",
      minVersion: 0x0303,
      maxVersion: 0x0304,
      ciphers: "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256",
    },
    ...{ tickets: false, sessions: false, keyLog: false, sessionTimeout: 300, identities: [identityOf(one)] },
    ...more,
  };
}

test("Sessions that ask for the same share a context, and any other option is another context", () => {
  const cache = createContextCache(100);
  const first = cache.take(options());
  assert.equal(cache.take(options()), first);
  const others: Partial<ServerContextOptions>[] = [
    { identities: [identityOf(two)] },
    { identities: [identityOf(one), identityOf(two)] },
    { ciphers: "TLS_AES_128_GCM_SHA256" },
    { groups: "X25519" },
    { minVersion: 0x0304 },
    { retries: true },
    { sessions: true },
    { keyLog: true },
    { sessionTimeout: 301 },
  ];
  for (const other of others) assert.notEqual(cache.take(options(other)), first, JSON.stringify(Object.keys(other)));
  assert.equal(cache.size, others.length + 1);
  cache.flush();
});

test("Protocol names are told apart, whatever bytes are in them", () => {
  const cache = createContextCache(100);
  const { identities: _, sessionTimeout: __, ...common } = options();
  const offer = (...alpn: string[]) => cache.take({ ...common, role: "client", alpn });
  assert.equal(offer("a", "b"), offer("a", "b"));
  assert.notEqual(offer("a", "b"), offer("a\nb"));
  assert.notEqual(offer("a", "b"), offer('a","b'));
  cache.flush();
});
