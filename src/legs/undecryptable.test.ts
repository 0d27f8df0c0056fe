import assert from "node:assert/strict";
import { test } from "node:test";
import { RECORDED } from "../../test/recorded/client-hello/recorded.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { createClientHelloReader } from "../wire/client-hello-reader.ts";
import { leavesOut, whyUndecryptable } from "./undecryptable.ts";

const STANDARD = { versions: { min: "TLSv1.2", max: "TLSv1.3" }, dhBits: 4096 } as const;
const OLD = { versions: { min: "SSLv3", max: "TLSv1.3" }, dhBits: 4096 } as const;

function recorded(name: string): ClientHello {
  const sighting = createClientHelloReader().push(RECORDED[name]!);
  assert.ok(sighting.kind === "hello");
  return sighting.hello;
}

const GO = recorded("go");
const why = (news: Partial<ClientHello>, versions: Parameters<typeof whyUndecryptable>[1] = STANDARD) =>
  whyUndecryptable({ ...GO, ...news }, versions, false);

test("What real clients offer can be decrypted", () => {
  for (const name of Object.keys(RECORDED)) {
    const sighting = createClientHelloReader().push(RECORDED[name]!);
    if (sighting.kind !== "hello" || Math.max(...sighting.hello.versions) < 0x0303) continue;
    assert.equal(whyUndecryptable(sighting.hello, STANDARD, false), undefined, name);
  }
});

const TLS_1_2 = { versions: [0x0303] };
const TLS_1_3 = { versions: [0x0304] };
const CASES: readonly (readonly [what: string, hello: Partial<ClientHello>, reason: RegExp])[] = [
  ["3DES alone", { ...TLS_1_2, cipherSuites: [0x000a, 0xc012] }, /no cipher suite/],
  ["RC4 alone", { ...TLS_1_2, cipherSuites: [0x0004, 0x0005] }, /no cipher suite/],
  ["suites with pre-shared keys alone", { ...TLS_1_2, cipherSuites: [0x00a8, 0x008c] }, /no cipher suite/],
  ["an unknown suite of TLS 1.3", { ...TLS_1_3, cipherSuites: [0x13ff] }, /no cipher suite/],
  ["unknown groups", { ...TLS_1_2, cipherSuites: [0xc02f], supportedGroups: [0x0001] }, /no group/],
  ["unknown groups in TLS 1.3", { ...TLS_1_3, supportedGroups: [0x0015, 0x6399] }, /no group/],
  ["unknown signatures", { ...TLS_1_2, signatureAlgorithms: [0xfefe] }, /no signature algorithm/],
  ["signatures that no key makes there", { ...TLS_1_3, signatureAlgorithms: [0x0401] }, /no signature that/],
  ["the same in TLS 1.2", { ...TLS_1_2, cipherSuites: [0xc02f], signatureAlgorithms: [0x0904] }, /no signature that/],
  ["a pre-shared key alone", { ...TLS_1_3, signatureAlgorithms: [], pskIdentity: Buffer.of(1) }, /pre-shared key/],
  [
    "a pre-shared key without a group",
    { ...TLS_1_3, supportedGroups: [], keyShareGroups: [], pskIdentity: Buffer.of(1) },
    /pre-shared key/,
  ],
  ["a version to come", { versions: [0x0305] }, /no protocol version/],
];
for (const [what, hello, reason] of CASES) {
  test(`A client that offers ${what} cannot be decrypted`, () => assert.match(why(hello) ?? "", reason));
}

test("An exchange by RSA needs no signature", () => {
  assert.equal(why({ ...TLS_1_2, cipherSuites: [0x009c], signatureAlgorithms: [0x0807] }), undefined);
});

test("SSL 3.0 has 3DES and RC4 where policy allows it", () => {
  assert.equal(why({ versions: [0x0300], cipherSuites: [0x0004] }, OLD), undefined);
  assert.match(why({ versions: [0x0300], cipherSuites: [0x0003] }, OLD) ?? "", /no cipher suite/);
});

test("Where the node holds the server's key, the kind of that key is not guessed", () => {
  assert.equal(whyUndecryptable({ ...GO, ...TLS_1_3, signatureAlgorithms: [0x0807] }, STANDARD, true), undefined);
});

test("What a client offers that the node cannot is told: suites, groups and a pre-shared key", () => {
  const plain = { ...GO, pskIdentity: undefined, cipherSuites: [0x1301, 0x00ff], supportedGroups: [0x001d] };
  assert.equal(leavesOut(plain), false);
  assert.equal(leavesOut({ ...plain, cipherSuites: [0x1301, 0x000a] }), true);
  assert.equal(leavesOut({ ...plain, supportedGroups: [0x001d, 0x6399] }), true);
  assert.equal(leavesOut({ ...plain, pskIdentity: Buffer.of(1) }), true);
});
