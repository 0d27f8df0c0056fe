import assert from "node:assert/strict";
import { test } from "node:test";
import { RECORDED } from "../../test/recorded/client-hello/recorded.ts";
import type { ClientHello } from "./client-hello.ts";
import { createClientHelloReader } from "./client-hello-reader.ts";
import { fingerprints, ja3, ja3sText, ja3Text, ja4 } from "./fingerprint.ts";

function recorded(client: string): ClientHello {
  const sighting = createClientHelloReader().push(RECORDED[client]!);
  assert.equal(sighting.kind, "hello");
  return (sighting as { hello: ClientHello }).hello;
}

/** The fingerprints that Wireshark 4.0 computes from the same bytes. */
const JA3: Readonly<Record<string, string>> = {
  chromium: "6cc8d2029e715dce1ff7287ad4051faa",
  curl: "0149f47eabf9a20d0893e2a44e5a6323",
  gnutls: "f35ce21b44ac0b87d3266294bb1b0e20",
  go: "3fed133de60c35724739b913924b6c24",
  "jsse-17": "adbab9d5752f7c834ec405ec92e46415",
  "node-26": "d67b094811e5145139d7cea5f014309f",
  "openssl-3.0": "6dfd110ecec56cf3479112379fa202ad",
  "openssl-tls1.0": "c6dbf3152a545382a95425e390e2d2e8",
  python: "93c7d42c0df602fb91589311534831f5",
};
for (const [client, expected] of Object.entries(JA3)) {
  test(`ja3 of ${client} is what Wireshark computes`, () => assert.equal(ja3(recorded(client)), expected));
}

const list = (text: string): number[] => text.split(",").map((value) => Number.parseInt(value, 16));

test("The text of ja3 has what is hashed, and that of ja3s the version, the suite and the extensions", () => {
  assert.match(ja3Text(recorded("curl")), /^771,[\d-]+,[\d-]+,[\d-]+,[\d-]+$/);
  const hello = { legacyVersion: 769, version: 769, suite: 47, extensions: [65281, 0, 11, 35, 5, 16] };
  const text = ja3sText({ ...hello, retry: false, group: undefined, preShared: false });
  assert.equal(text, "769,47,65281-0-11-35-5-16");
});

/** A published fingerprint of Chrome, with the hello that it was made of. */
const CHROME: ClientHello = {
  ...recorded("chromium"),
  legacyVersion: 0x0303,
  versions: [0x0304, 0x0303],
  cipherSuites: list("1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"),
  extensions: list("002d,0033,0010,fe0d,0017,44cd,0000,000b,000a,002b,ff01,0023,0012,0005,000d,001b"),
  supportedGroups: [4588, 29, 23, 24],
  ecPointFormats: [0],
  signatureAlgorithms: list("0403,0804,0401,0503,0805,0501,0806,0601"),
  alpnProtocols: ["h2", "http/1.1"],
};

test("The ja3 and ja4 of Chrome are the published ones", () => {
  assert.equal(ja3(CHROME), "98487aa16281980e7d1120d399efb6a4");
  assert.equal(ja4(CHROME), "t13d1516h2_8daaf6152771_d8a2da3f94cd");
});

test("The ja4 of the specification's example is the one in the specification", () => {
  const extensions = list("001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015");
  assert.equal(ja4({ ...CHROME, extensions }), "t13d1516h2_8daaf6152771_e5627efa2ab1");
});

test("ja4 does not change with the order of suites and extensions", () => {
  const shuffled = { cipherSuites: CHROME.cipherSuites.toReversed(), extensions: CHROME.extensions.toReversed() };
  assert.equal(ja4({ ...CHROME, ...shuffled }), ja4(CHROME));
});

test("ja4 has zeros for empty lists and counts up to 99", () => {
  const bare = { cipherSuites: [], extensions: [], signatureAlgorithms: [], alpnProtocols: [], legacyVersion: 0x0301 };
  assert.equal(ja4({ ...CHROME, ...bare }), "t10i000000_000000000000_000000000000");
  const many = Array.from({ length: 120 }, (_, index) => index + 100);
  assert.match(ja4({ ...CHROME, cipherSuites: many }), /^t13d9916h2_/);
});

test("ja4 without signature algorithms hashes the extensions alone", () => {
  assert.match(ja4({ ...CHROME, extensions: [0x0005, 0x000a], signatureAlgorithms: [] }), /^t12i1502h2_8daaf6152771_/);
});

const ALPN: [string, string][] = [
  ["http/1.1", "h1"],
  ["h", "hh"],
  ["\u00ab", "ab"],
  ["\u00ab\u00cd", "ad"],
  ["0\u00ab", "3b"],
  ["0\u00abd", "0d"],
];
for (const [protocol, code] of ALPN) {
  test(`ja4 abbreviates the ALPN ${JSON.stringify(protocol)} to ${code}`, () => {
    assert.equal(ja4({ ...CHROME, alpnProtocols: [protocol] }).slice(8, 10), code);
  });
}

test("A hello that differs from an earlier one in anything that is hashed has fingerprints of its own", () => {
  const first = recorded("chromium");
  const { signatureAlgorithms, cipherSuites, extensions, versions, supportedGroups } = first;
  const others: readonly Partial<ClientHello>[] = [
    { signatureAlgorithms: signatureAlgorithms.slice(1) },
    { cipherSuites: cipherSuites.slice(1) },
    { extensions: extensions.slice(1) },
    { versions: versions.slice(1) },
    { supportedGroups: supportedGroups.slice(1) },
    { alpnProtocols: [] },
    { alpnProtocols: ["http/1.1"] },
  ];
  // Twice: made, and remembered.
  for (const change of [{}, ...others, {}, ...others]) {
    const hello = { ...first, ...change };
    assert.deepEqual(fingerprints(hello), { ja3: ja3(hello), ja4: ja4(hello) });
  }
});
