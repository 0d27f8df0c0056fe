import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClientHello } from "../../wire/client-hello.ts";
import { chooseLeaf } from "./key-type.ts";
import type { LeafKeyType } from "./leaf-kind.ts";

const BROWSER: ClientHello = {
  format: "tls",
  legacyVersion: 0x0303,
  versions: [0x0304, 0x0303],
  random: Buffer.alloc(32),
  sessionId: Buffer.alloc(0),
  cipherSuites: [0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0x002f],
  compressionMethods: [0],
  extensions: [0, 10, 11, 13, 43, 51],
  serverName: "www.example.com",
  serverAddress: undefined,
  supportedGroups: [0x11ec, 0x001d, 0x0017, 0x0018],
  keyShareGroups: [0x11ec, 0x001d],
  signatureAlgorithms: [0x0403, 0x0804, 0x0401],
  certificateSignatures: undefined,
  alpnProtocols: ["h2", "http/1.1"],
  ecPointFormats: [0],
  statusRequest: true,
  earlyData: false,
  sessionTicket: undefined,
  pskIdentity: undefined,
  ech: undefined,
  fallback: false,
} as ClientHello;

const CASES: readonly (readonly [string, Partial<ClientHello>, LeafKeyType])[] = [
  ["a browser gets ECDSA", {}, "ecdsa"],
  [
    "TLS 1.3 alone with the signature scheme gets ECDSA",
    { versions: [0x0304], cipherSuites: [0x1301], supportedGroups: [0x001d] },
    "ecdsa",
  ],
  ["TLS 1.3 without the scheme gets RSA", { versions: [0x0304], signatureAlgorithms: [0x0804, 0x0503] }, "rsa"],
  ["a client that takes only RSA's signatures in certificates gets RSA", { certificateSignatures: [0x0401] }, "rsa"],
  ["a client that takes ECDSA's signatures there too gets ECDSA", { certificateSignatures: [0x0401, 0x0403] }, "ecdsa"],
  ["TLS 1.3 with only RSA suites for TLS 1.2 gets RSA", { cipherSuites: [0x1301, 0xc02f] }, "rsa"],
  ["TLS 1.2 with an ECDSA suite gets ECDSA", { versions: [0x0303] }, "ecdsa"],
  ["TLS 1.2 without an ECDSA suite gets RSA", { versions: [0x0303], cipherSuites: [0xc02f, 0x002f] }, "rsa"],
  ["TLS 1.2 without P-256 gets RSA", { versions: [0x0303], supportedGroups: [0x001d, 0x0018] }, "rsa"],
  ["TLS 1.2 without groups gets RSA", { versions: [0x0303], supportedGroups: [] }, "rsa"],
  ["TLS 1.2 without signature algorithms gets RSA", { versions: [0x0303], signatureAlgorithms: [] }, "rsa"],
  [
    "TLS 1.2 with only ECDSA suites gets ECDSA without groups and signature algorithms",
    {
      versions: [0x0303],
      extensions: [0],
      signatureAlgorithms: [],
      supportedGroups: [],
      cipherSuites: [0xc02b, 0x00ff],
    },
    "ecdsa",
  ],
  ["TLS 1.2 with compressed points only gets RSA", { versions: [0x0303], ecPointFormats: [1] }, "rsa"],
  ["TLS 1.2 without point formats gets ECDSA", { versions: [0x0303], ecPointFormats: [] }, "ecdsa"],
  [
    "TLS 1.0 with an ECDSA suite gets ECDSA without signature algorithms",
    { versions: [0x0301], signatureAlgorithms: [], cipherSuites: [0xc009] },
    "ecdsa",
  ],
  ["TLS 1.0 with an ECDSA suite of TLS 1.2 gets RSA", { versions: [0x0301], cipherSuites: [0xc02b, 0x002f] }, "rsa"],
  [
    "versions below TLS 1.2 do not matter to a TLS 1.2 client",
    { versions: [0x0303, 0x0302, 0x0301, 0x0300], cipherSuites: [0xc02b] },
    "ecdsa",
  ],
  ["SSL 3.0 with an RSA suite gets RSA", { versions: [0x0300], cipherSuites: [0xc009, 0x002f] }, "rsa"],
  [
    "SSL 3.0 with ECDSA suites only gets ECDSA",
    { versions: [0x0300], cipherSuites: [0xc008, 0xc007, 0x00ff] },
    "ecdsa",
  ],
  ["a client without a version gets RSA", { versions: [] }, "rsa"],
  [
    "a client that verifies only P-384 gets that",
    { signatureAlgorithms: [0x0503], supportedGroups: [0x0018] },
    "ecdsa-p384",
  ],
  ["TLS 1.3 alone with P-521 gets that", { versions: [0x0304], signatureAlgorithms: [0x0603] }, "ecdsa-p521"],
  [
    "TLS 1.2 with P-384 among its groups, but not P-256, and no RSA gets P-384",
    { versions: [0x0303], supportedGroups: [0x0018], cipherSuites: [0xc02b, 0xc02c] },
    "ecdsa-p384",
  ],
  ["Ed25519 alone gets that", { signatureAlgorithms: [0x0807] }, "ed25519"],
  ["Ed448 alone gets that", { versions: [0x0304], signatureAlgorithms: [0x0808] }, "ed448"],
  [
    "a brainpool curve of TLS 1.3 gets that",
    { versions: [0x0304], signatureAlgorithms: [0x081b] },
    "ecdsa-brainpool384",
  ],
  ["RSASSA-PSS keys alone get one", { signatureAlgorithms: [0x080a] }, "rsa-pss-sha384"],
  ["ML-DSA alone gets that", { versions: [0x0304], signatureAlgorithms: [0x0905, 0x0904] }, "ml-dsa-44"],
  ["ML-DSA beside P-256 gets P-256", { signatureAlgorithms: [0x0905, 0x0403] }, "ecdsa"],
  [
    "what TLS 1.3 verifies counts before what only TLS 1.2 does",
    { signatureAlgorithms: [0x0503, 0x0401], cipherSuites: [0x1302, 0xc02f, 0x002f] },
    "ecdsa-p384",
  ],
];
for (const [title, change, expected] of CASES) {
  test(`chooseLeaf(): ${title}`, () => assert.equal(chooseLeaf({ ...BROWSER, ...change }).keyType, expected));
}

test("chooseLeaf() considers only the versions that the node may negotiate", () => {
  const hello = { ...BROWSER, cipherSuites: [0x1301, 0xc02f] };
  assert.equal(chooseLeaf(hello, [0x0304]).keyType, "ecdsa");
  assert.equal(chooseLeaf(hello, [0x0303]).keyType, "rsa");
});

test("The CA signs with a hash that the client verifies in certificates", () => {
  const hash = (...ids: number[]) => chooseLeaf({ ...BROWSER, signatureAlgorithms: ids }).hash;
  assert.deepEqual([hash(0x0403, 0x0503), hash(0x0401), hash()], [undefined, undefined, undefined]);
  assert.deepEqual([hash(0x0503), hash(0x0805, 0x0806), hash(0x0603)], ["sha384", "sha384", "sha512"]);
  const cert = { signatureAlgorithms: [0x0403], certificateSignatures: [0x0503] };
  assert.equal(chooseLeaf({ ...BROWSER, ...cert }).hash, "sha384");
});

test("A rare key is signed by the RSA CA when the client verifies no ECDSA", () => {
  const rare = { signatureAlgorithms: [0x0905], certificateSignatures: [0x0401] };
  assert.deepEqual(chooseLeaf({ ...BROWSER, versions: [0x0304], ...rare }), { keyType: "ml-dsa-65", signer: "rsa" });
});
