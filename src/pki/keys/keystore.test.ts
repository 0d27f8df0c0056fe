import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { test } from "node:test";
import { ConfigError } from "../../errors.ts";
import { type Made, make } from "../x509/test-chain.ts";
import { keyWarnings, stateOf } from "./inbound-key.ts";
import { makeSelfSigned } from "./key-request.ts";
import { checkKeys, createKeyReader, type KeySource, readKey } from "./key-source.ts";
import { byPrecedence, createKeystore } from "./keystore.ts";

const EC = await make({ subject: "CN=ec" });
const RSA = await make({ subject: "CN=rsa", algorithm: "rsa" });
const OTHER = await make({ subject: "CN=other" });

const source = (hosts: readonly string[], { pem, keyPem }: Made = EC, path = "keys[0]") => ({
  hosts,
  certificatePem: pem,
  keyPem,
  path,
});

test("find() prefers the exact host to a wildcard, a longer wildcard to a shorter one, and a name to the address", async () => {
  const made = await Promise.all(
    ["exact", "long", "short", "address", "six"].map((name) => make({ subject: `CN=${name}` })),
  );
  const hosts = [["www.example.com"], ["*.example.com"], ["*.com"], ["192.0.2.1"], ["2001:db8::1"]];
  const { find } = createKeystore(made.map((one, index) => readKey(source(hosts[index]!, one))));
  const found = (host: string | undefined, address = "198.51.100.1") =>
    find(host, address).map(({ certificatePem }) => new X509Certificate(certificatePem).subject.slice(3));
  assert.deepEqual(found("www.example.com", "192.0.2.1"), ["exact"]);
  assert.deepEqual(found("WWW.EXAMPLE.com."), ["exact"]);
  assert.deepEqual(found("a.b.example.com"), ["long"]);
  assert.deepEqual(found("example.com"), ["short"]);
  assert.deepEqual(found("com"), []);
  assert.deepEqual(found("notexample.org", "192.0.2.1"), ["address"]);
  assert.deepEqual(found(undefined, "::ffff:192.0.2.1"), ["address"]);
  assert.deepEqual(found("2001:DB8:0::1"), ["six"]);
  assert.deepEqual(found(undefined), []);
});

test("find() answers both keys of a host that has an RSA and an ECDSA key", () => {
  const { find, keys } = createKeystore([EC, RSA, OTHER].map((made) => readKey(source(["a.example"], made))));
  assert.deepEqual(
    find("a.example", "").map(({ keyType, sha256 }) => [keyType, sha256]),
    [
      ["ecdsa", keys[2]!.sha256],
      ["rsa", keys[1]!.sha256],
    ],
  );
});

test("holds() recognises the node's keys for a server in any certificate, and no other keys", async () => {
  const hosts = ["a.example", "*.b.example", "192.0.2.1"];
  const { holds } = createKeystore([readKey(source(hosts, EC)), readKey(source(["a.example"], OTHER))]);
  const renewed = await make({ subject: "CN=renewed", keys: EC.keys });
  const none = "198.51.100.1";
  assert.ok(holds(new X509Certificate(EC.pem), "a.example", none), "replaced by another key for the host");
  assert.ok(holds(new X509Certificate(renewed.pem), "A.example.", none));
  assert.ok(holds(new X509Certificate(EC.pem), "x.b.example", none));
  assert.ok(holds(new X509Certificate(EC.pem), undefined, "192.0.2.1"));
  assert.ok(!holds(new X509Certificate(RSA.pem), "a.example", none), "not the node's");
  assert.ok(!holds(new X509Certificate(OTHER.pem), "x.b.example", none), "the key of another server");
});

test("readKey() answers the fields that a session's record needs", () => {
  const entry = readKey(source(["a.example"], RSA));
  const certificate = new X509Certificate(RSA.pem);
  assert.equal(entry.sha256, certificate.fingerprint256.replaceAll(":", "").toLowerCase());
  assert.equal(entry.id, entry.sha256.slice(0, 16));
  assert.equal(entry.serial, certificate.serialNumber.toLowerCase());
  assert.equal(entry.notAfter, certificate.validToDate.getTime());
  assert.equal(entry.keyType, "rsa");
});

const encrypted = createPrivateKey(EC.keyPem)
  .export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "x" })
  .toString();
const old = createPrivateKey(RSA.keyPem)
  .export({ type: "pkcs1", format: "pem", cipher: "aes-256-cbc", passphrase: "x" })
  .toString();
const weak = await make({ algorithm: "rsa-1024" });
const WRONG: readonly (readonly [string, KeySource, RegExp])[] = [
  [
    "a key of another certificate",
    { ...source(["a"]), keyPem: OTHER.keyPem },
    /its key does not belong to its certificate/,
  ],
  [
    "a chain in the wrong order",
    { ...source(["a"]), certificatePem: OTHER.pem + EC.pem },
    /its key belongs to certificate 2, which must be the first one/,
  ],
  ["an encrypted key", { ...source(["a"]), keyPem: encrypted }, /its key is encrypted/],
  ["an encrypted key in the older form", { ...source(["a"], RSA), keyPem: old }, /its key is encrypted/],
  ["no key", { ...source(["a"]), keyPem: EC.pem }, /it has no PEM private key/],
  [
    "a broken key",
    { ...source(["a"]), keyPem: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" },
    /its private key cannot be read/,
  ],
  ["a weak key", source(["a"], weak), /neither RSA of at least 2048 bits/],
  ["no certificate", { ...source(["a"]), certificatePem: EC.keyPem }, /it has no PEM certificate/],
  [
    "a broken certificate",
    { ...source(["a"]), certificatePem: `${EC.pem}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n` },
    /certificate 2 cannot be read/,
  ],
];
for (const [what, wrong, message] of WRONG) {
  test(`checkKeys() reports ${what} with its place in the configuration`, () => {
    const [error, ...more] = checkKeys([source(["fine"], OTHER), { ...wrong, path: "keys[1]" }]);
    assert.equal(more.length, 0);
    assert.ok(error instanceof ConfigError);
    assert.equal(error.path, "keys[1]");
    assert.match(error.message, message);
    assert.doesNotMatch(error.message, /BEGIN|MII/);
  });
}

test("checkKeys() refuses two keys of the same type for one host, and reports every error", () => {
  const sources = [
    source(["a.example", "b.example"]),
    source(["B.example."], OTHER, "keys[1]"),
    { ...source(["c"]), keyPem: "", path: "keys[2]" },
  ];
  assert.deepEqual(
    checkKeys(sources).map(({ path }) => path),
    ["keys[1]", "keys[2]"],
  );
  assert.deepEqual(checkKeys([source(["a.example"]), source(["a.example"], RSA, "keys[1]")]), []);
});

test("readKey() reads Ed25519 and both forms of encrypted PEM, and takes the certificate's names if hosts is empty", async () => {
  const { keyPem, certificatePem } = await makeSelfSigned(["own.example", "192.0.2.7"], "ed25519", 0, 4e12);
  const entry = readKey({ hosts: [], certificatePem, keyPem, path: "keys[0]" });
  assert.deepEqual([entry.keyType, entry.hosts], ["ed25519", ["own.example", "192.0.2.7"]]);
  for (const [made, locked] of [
    [EC, encrypted],
    [RSA, old],
  ] as const) {
    const opened = readKey({ ...source(["a"], made), keyPem: locked, passphrase: "x" });
    assert.equal(opened.keyPem, made.keyPem);
    assert.throws(
      () => readKey({ ...source(["a"], made), keyPem: locked, passphrase: "y" }),
      /keys\[0\]: its key cannot be decrypted: the passphrase is wrong/,
    );
  }
  assert.deepEqual(readKey(source([], EC)).hosts, ["ec"]);
  const nameless = await make({ subject: "O=No name of a host" });
  assert.throws(() => readKey(source([], nameless)), /its certificate has no host name or address; give hosts/);
});

test("A key reader reads a key once, until forget() finds it unused", () => {
  const { read, forget } = createKeyReader();
  const [first, other] = [source(["a"]), source(["a"], OTHER)];
  const entry = read(first);
  read(other);
  assert.equal(read({ ...first }), entry);
  forget();
  assert.equal(read(first), entry);
  forget();
  forget();
  assert.notEqual(read(first), entry);
  assert.deepEqual(read(first), entry);
  assert.notEqual(read({ ...first, hosts: ["b"] }), entry);
});

test("keyWarnings() reports certificates that are not valid now or expire soon, and names the first twenty", async () => {
  const [past, future] = [await make({ from: -9, to: -2 }), await make({ from: 2, to: 9 })];
  const ending = await make({ to: 29 });
  const entries = [
    source(["a"]),
    source(["b"], past, "keys[1]"),
    source(["c"], future, "keys[2]"),
    source(["d"], ending, "keys[3]"),
  ].map((one) => readKey(one));
  const soon = 29.5 * 24 * 3600 * 1000;
  const warnings = keyWarnings(entries, Date.now(), soon);
  assert.equal(warnings.length, 3);
  assert.match(warnings[0]!, /keys\[1\] \(b\) expired on/);
  assert.match(warnings[1]!, /keys\[2\] \(c\) is not valid before/);
  assert.match(warnings[2]!, /keys\[3\] \(d\) expires on/);
  assert.deepEqual(
    entries.map((entry) => stateOf(entry, Date.now(), soon)),
    ["valid", "expired", "not yet valid", "expires soon"],
  );
  const many = keyWarnings(Array(1000).fill(entries[1]), Date.now(), soon);
  assert.equal(many.length, 21);
  assert.match(many.at(-1)!, /^980 more certificates/);
});

test("byPrecedence() puts the configured keys first, and the newest certificate last", async () => {
  const [older, newer] = [await make({ from: -9 }), await make({ from: -2 })].map((made) =>
    readKey(source(["a"], made)),
  );
  const written = readKey(source(["a"], EC));
  assert.deepEqual(byPrecedence([written], [newer!, older!]), [written, older, newer]);
});
