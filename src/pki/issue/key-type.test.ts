import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClientHello } from "../../wire/client-hello.ts";
import { keyTypeFor } from "./key-type.ts";

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

const CASES: readonly (readonly [string, Partial<ClientHello>, "ecdsa" | "rsa"])[] = [
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
];
for (const [title, change, expected] of CASES) {
  test(`keyTypeFor(): ${title}`, () => assert.equal(keyTypeFor({ ...BROWSER, ...change }), expected));
}

test("keyTypeFor() considers only the versions that the node may negotiate", () => {
  const hello = { ...BROWSER, cipherSuites: [0x1301, 0xc02f] };
  assert.equal(keyTypeFor(hello, [0x0304]), "ecdsa");
  assert.equal(keyTypeFor(hello, [0x0303]), "rsa");
});
