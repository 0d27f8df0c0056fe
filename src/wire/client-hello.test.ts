import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type HelloParts, helloMessage, inRecords, serverNames } from "../../test/recorded/client-hello/build.ts";
import { RECORDED } from "../../test/recorded/client-hello/recorded.ts";
import { PeerError } from "../errors.ts";
import { ALERTS } from "./alert.ts";
import type { ClientHello } from "./client-hello.ts";
import { createClientHelloReader } from "./client-hello-reader.ts";
import { u16, u16s, vector8, vector16 } from "./writer.ts";

/** The answer to these bytes in pieces of one size, with the alert's number when it is a PeerError. */
function answer(bytes: Uint8Array, piece = bytes.length || 1): { kind: string; hello?: ClientHello; alert?: number } {
  const reader = createClientHelloReader();
  try {
    for (let at = 0; at < bytes.length; at += piece) {
      const sighting = reader.push(bytes.subarray(at, at + piece));
      if (sighting.kind !== "more") return sighting;
    }
    return { kind: "more" };
  } catch (error) {
    if (error instanceof PeerError) return { kind: "PeerError", alert: error.alert };
    throw error;
  }
}

function helloOf(bytes: Uint8Array, piece?: number): ClientHello {
  const { kind, hello } = answer(bytes, piece);
  assert.equal(kind, "hello");
  return hello!;
}

function built(parts: HelloParts): ClientHello {
  return helloOf(inRecords(helloMessage(parts)));
}

const EXPECTED: Readonly<Record<string, Partial<ClientHello>>> = {
  chromium: {
    serverName: "www.example.com",
    versions: [0x0304, 0x0303],
    ech: "outer",
    alpnProtocols: ["h2", "http/1.1"],
  },
  curl: { serverName: "www.example.com", statusRequest: false, alpnProtocols: ["h2", "http/1.1"] },
  "curl-address": { serverName: undefined, serverAddress: undefined, ech: undefined },
  gnutls: { serverName: "www.example.com", statusRequest: true, keyShareGroups: [0x0017, 0x001d] },
  go: { serverName: "www.example.com", versions: [0x0304, 0x0303], supportedGroups: [0x001d, 0x0017, 0x0018, 0x0019] },
  "jsse-17": { serverName: "www.example.com", versions: [0x0304, 0x0303], statusRequest: true },
  "jsse-17-sslv2-format": { format: "sslv2", serverName: undefined, versions: [0x0301, 0x0300], extensions: [] },
  "node-26": { serverName: "www.example.com", keyShareGroups: [0x11ec, 0x001d], alpnProtocols: ["h2"] },
  "openssl-3.0": { serverName: "www.example.com", statusRequest: true, alpnProtocols: ["h2", "http/1.1"] },
  "openssl-tls1.0": { serverName: "www.example.com", versions: [0x0301, 0x0300], signatureAlgorithms: [] },
  python: { serverName: "www.example.com", versions: [0x0304, 0x0303], ecPointFormats: [0, 1, 2] },
};

test("Every recorded client has an expectation", () => {
  assert.deepEqual(Object.keys(RECORDED).sort(), Object.keys(EXPECTED).sort());
});

for (const [client, expected] of Object.entries(EXPECTED)) {
  test(`The hello of ${client} says what that client offered`, () => {
    const hello = helloOf(RECORDED[client]!);
    for (const [field, value] of Object.entries(expected)) assert.deepEqual(hello[field as keyof ClientHello], value);
  });

  test(`The hello of ${client} reads the same in 1-byte segments`, () => {
    assert.deepEqual(helloOf(RECORDED[client]!, 1), helloOf(RECORDED[client]!));
  });
}

test("Chromium's post-quantum share is read, and its GREASE is left out of every list", () => {
  const hello = helloOf(RECORDED["chromium"]!);
  assert.ok(hello.keyShareGroups.includes(0x11ec));
  const lists = [hello.cipherSuites, hello.extensions, hello.supportedGroups, hello.keyShareGroups, hello.versions];
  for (const value of lists.flat()) assert.notEqual(value & 0x0f0f, 0x0a0a);
});

test("A 16 KiB hello in 1-byte records that come in 1-byte segments is read", () => {
  const extensions = [
    [0, serverNames([0, "big.example"])],
    [21, Buffer.alloc(16_000)],
  ] as const;
  const bytes = inRecords(helloMessage({ extensions }), 1);
  assert.equal(helloOf(bytes, 1).serverName, "big.example");
});

test("The answer comes with the hello's last byte, and later bytes are ignored", () => {
  const bytes = RECORDED["go"]!;
  assert.equal(answer(bytes.subarray(0, -1)).kind, "more");
  assert.equal(answer(Buffer.concat([bytes, Buffer.from("1403030001011703030001", "hex")])).kind, "hello");
});

test("An answer is repeated by every later push", () => {
  const reader = createClientHelloReader();
  assert.equal(reader.push(Buffer.from("GET")).kind, "no");
  assert.equal(reader.push(RECORDED["go"]!).kind, "no");
  const broken = createClientHelloReader();
  assert.throws(() => broken.push(Buffer.from("16030100010200", "hex")), PeerError);
  assert.throws(() => broken.push(Buffer.from([0])), PeerError);
});

test("A hello without extensions, as before RFC 3546, is read", () => {
  const hello = built({ version: 0x0301 });
  assert.deepEqual(hello.versions, [0x0301, 0x0300]);
  assert.deepEqual(hello.extensions, []);
});

test("legacy_version alone never means more than TLS 1.2", () => {
  assert.deepEqual(built({ version: 0x0304 }).versions, [0x0303, 0x0302, 0x0301, 0x0300]);
});

test("Only supported_versions counts when it is present: highest first, without GREASE, drafts and repetitions", () => {
  const offered = vector8(u16s([0x7a7a, 0x0303, 0x7f1c, 0x0304, 0x0303]));
  assert.deepEqual(built({ version: 0x0301, extensions: [[43, offered]] }).versions, [0x0304, 0x0303]);
});

test("Unknown extensions, signalling suites and a fallback are reported", () => {
  const hello = built({ suites: [0x2a2a, 0x1301, 0x00ff, 0x5600], extensions: [[0xabcd, Buffer.alloc(9)]] });
  assert.deepEqual(hello.cipherSuites, [0x1301, 0x00ff, 0x5600]);
  assert.deepEqual(hello.extensions, [0xabcd]);
  assert.equal(hello.fallback, true);
});

test("ECH is outer, inner or absent", () => {
  assert.equal(built({ extensions: [[0xfe0d, Buffer.from([0, 1, 2, 3])]] }).ech, "outer");
  assert.equal(built({ extensions: [[0xfe0d, Buffer.from([1])]] }).ech, "inner");
  assert.equal(built({ extensions: [] }).ech, undefined);
});

test("Early data is reported", () => {
  assert.equal(built({ extensions: [[42, Buffer.alloc(0)]] }).earlyData, true);
});

test("The session that a client wants to resume is reported: a ticket of TLS 1.2, the first identity of TLS 1.3", () => {
  const ticket = Buffer.from("a ticket of the server's");
  assert.deepEqual(built({ extensions: [[35, ticket]] }).sessionTicket, ticket);
  assert.equal(built({ extensions: [[35, Buffer.alloc(0)]] }).sessionTicket, undefined);
  const identity = (bytes: Buffer) => Buffer.concat([Buffer.from([0, bytes.length]), bytes, Buffer.alloc(4)]);
  const identities = Buffer.concat([identity(ticket), identity(Buffer.from("another"))]);
  const binders = Buffer.concat([Buffer.from([0, 33, 32]), Buffer.alloc(32)]);
  const offered = Buffer.concat([Buffer.from([0, identities.length]), identities, binders]);
  assert.deepEqual(built({ extensions: [[41, offered]] }).pskIdentity, ticket);
  assert.deepEqual([built({}).sessionTicket, built({}).pskIdentity], [undefined, undefined]);
});

const NAMES: [string, string | undefined, string | undefined][] = [
  ["WWW.Example.COM.", "www.example.com", undefined],
  ["xn--bcher-kva.example", "xn--bcher-kva.example", undefined],
  ["_srv.in_house", "_srv.in_house", undefined],
  ["192.0.2.7", undefined, "192.0.2.7"],
  ["2001:DB8:0::7", undefined, "2001:db8::7"],
  ["[2001:db8::7]", undefined, "2001:db8::7"],
];
for (const [sent, serverName, serverAddress] of NAMES) {
  test(`server_name "${sent}" is ${serverName ? "a name" : "an address"}`, () => {
    const hello = built({ extensions: [[0, serverNames([0, sent])]] });
    assert.deepEqual([hello.serverName, hello.serverAddress], [serverName, serverAddress]);
  });
}

test("Entries of unknown types in server_name are ignored", () => {
  assert.equal(built({ extensions: [[0, serverNames([7, "\u0000"], [0, "a.example"])]] }).serverName, "a.example");
});

const NAME_FAULTS: [string, readonly (readonly [number, string])[]][] = [
  [
    "two host names",
    [
      [0, "a.example"],
      [0, "b.example"],
    ],
  ],
  ["a NUL", [[0, "good.example\0.evil.example"]]],
  ["a byte beyond ASCII", [[0, "b\u00fccher.example"]]],
  ["a space", [[0, "a example"]]],
];
for (const [title, names] of NAME_FAULTS) {
  test(`server_name with ${title} is refused`, () => {
    const bytes = inRecords(helloMessage({ extensions: [[0, serverNames(...names)]] }));
    assert.deepEqual(answer(bytes), { kind: "PeerError", alert: ALERTS.illegal_parameter });
  });
}

const NO_HOST_NAMES = ["a.example:443", "a..example", ".", `${"a".repeat(64)}.example`, `${"a.".repeat(127)}aa`, "*"];
for (const sent of NO_HOST_NAMES) {
  test(`server_name "${sent}" is not a host name and counts as none`, () => {
    const hello = built({ extensions: [[0, serverNames([0, sent])]] });
    assert.deepEqual([hello.serverName, hello.serverAddress], [undefined, undefined]);
  });
}

const EMPTY = Buffer.alloc(0);
const FAULTS: [string, HelloParts, number][] = [
  [
    "server_name twice",
    {
      extensions: [
        [0, serverNames([0, "a"])],
        [0, serverNames([0, "a"])],
      ],
    },
    ALERTS.illegal_parameter,
  ],
  ["an empty server_name", { extensions: [[0, EMPTY]] }, ALERTS.decode_error],
  ["a session ID of 33 bytes", { sessionId: Buffer.alloc(33) }, ALERTS.decode_error],
  ["no cipher suites", { suites: [] }, ALERTS.decode_error],
  ["no compression methods", { compression: [] }, ALERTS.decode_error],
  ["compression without null", { compression: [1] }, ALERTS.illegal_parameter],
  ["bytes after the extensions", { extensions: [], trailer: Buffer.from([0]) }, ALERTS.decode_error],
  ["a version before SSL 3.0", { version: 0x0200 }, ALERTS.protocol_version],
  ["nothing but drafts in supported_versions", { extensions: [[43, vector8(u16(0x7f1c))]] }, ALERTS.protocol_version],
  [
    "PSK identities cut short",
    { extensions: [[41, Buffer.from([0, 9, 0, 9, 1, 2, 3, 4, 5, 6, 7])]] },
    ALERTS.decode_error,
  ],
  ["an odd group list", { extensions: [[10, vector16(Buffer.alloc(3))]] }, ALERTS.decode_error],
  [
    "bytes after a group list",
    { extensions: [[10, Buffer.concat([vector16(u16(29)), EMPTY, u16(0)])]] },
    ALERTS.decode_error,
  ],
  ["an empty ALPN name", { extensions: [[16, vector16(vector8())]] }, ALERTS.decode_error],
  ["an empty key share", { extensions: [[51, vector16(u16(29), vector16())]] }, ALERTS.decode_error],
];
for (const [title, parts, alert] of FAULTS) {
  test(`A hello with ${title} is refused with alert ${alert}`, () => {
    assert.deepEqual(answer(inRecords(helloMessage(parts)), 1), { kind: "PeerError", alert });
  });
}

const READ_PAST: [string, HelloParts][] = [
  ["an unknown extension twice", { extensions: [...twice(0xabcd), [0, serverNames([0, "a.example"])]] }],
  ["a GREASE extension twice", { extensions: [...twice(0x0a0a), [0, serverNames([0, "a.example"])]] }],
  [
    "an ECH of unknown type",
    {
      extensions: [
        [0xfe0d, Buffer.from([2])],
        [0, serverNames([0, "a.example"])],
      ],
    },
  ],
];
for (const [title, parts] of READ_PAST) {
  test(`A hello with ${title} is read: servers read past it`, () => {
    assert.equal(built(parts).serverName, "a.example");
  });
}

function twice(type: number): [number, Buffer][] {
  return [
    [type, EMPTY],
    [type, EMPTY],
  ];
}

test("An empty name in server_name counts as none", () => {
  assert.equal(built({ extensions: [[0, serverNames([0, ""])]] }).serverName, undefined);
});

test("Up to 32 empty records in a row are read past, in front of a hello and inside of it", () => {
  const whole = inRecords(helloMessage({}));
  const empty = Buffer.from("1603010000".repeat(32), "hex");
  const [first, rest] = [whole.subarray(5, 15), whole.subarray(15)];
  const inPieces = [empty, record(first), empty, record(rest)];
  for (const bytes of [Buffer.concat([empty, whole]), Buffer.concat(inPieces)]) {
    for (const piece of [bytes.length, 1]) assert.equal(answer(bytes, piece).kind, "hello");
  }
});

function record(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([22, 3, 1]), vector16(bytes)]);
}

const RECORD_FAULTS: [string, string, number][] = [
  ["another handshake message first", "160303000402000000", ALERTS.unexpected_message],
  ["33 empty handshake records", "1603010000".repeat(33), ALERTS.unexpected_message],
  ["33 empty records inside the hello", `160301000101${"1603010000".repeat(33)}`, ALERTS.unexpected_message],
  ["an empty alert", "1603010001011503010000", ALERTS.decode_error],
  ["a record above 2^14 bytes", "1603014001", ALERTS.record_overflow],
  ["a message above 131,396 bytes", "160301000401020145", ALERTS.illegal_parameter],
  ["an alert inside the hello", "16030100010115030100020100", ALERTS.unexpected_message],
  ["application data inside the hello", "160301000101170301", ALERTS.unexpected_message],
];
for (const [title, hex, alert] of RECORD_FAULTS) {
  test(`${title} is refused with alert ${alert}`, () => {
    const bytes = Buffer.concat([Buffer.from(hex.replaceAll(" ", ""), "hex"), Buffer.alloc(8)]);
    assert.deepEqual(answer(bytes), { kind: "PeerError", alert });
    assert.deepEqual(answer(bytes, 1), { kind: "PeerError", alert });
  });
}

test("Records that never complete a hello are refused at 384 KiB", () => {
  const suites = Array.from({ length: 20_000 }, () => 0x002f);
  const bytes = inRecords(helloMessage({ suites, extensions: [[21, Buffer.alloc(60_000)]] }), 1);
  assert.deepEqual(answer(bytes), { kind: "PeerError", alert: ALERTS.illegal_parameter });
});

test("The first bytes tell that a client does not speak TLS", () => {
  for (const text of [
    "G",
    "SSH-2.0",
    "\x15\x04",
    "\x18\x03",
    "\x16\x02",
    "\x16G",
    "\x80\x2e\x04",
    "\x80\x2e\x01\x02",
    "\x80\x2e\x01\x00\x03",
  ]) {
    assert.equal(answer(Buffer.from(text, "latin1")).kind, "no", JSON.stringify(text));
  }
});

/** RFC 5246, appendix E.2. */
function sslV2Hello(version: number, specs: Uint8Array, challenge: Uint8Array, length?: number): Buffer {
  const body = Buffer.concat([
    Buffer.from([1]),
    u16(version),
    u16(specs.length),
    u16(0),
    u16(challenge.length),
    specs,
    challenge,
  ]);
  return Buffer.concat([u16(0x8000 | (length ?? body.length)), body]);
}

test("An SSLv2-format hello keeps its TLS suites and pads its challenge", () => {
  const hello = helloOf(sslV2Hello(0x0303, Buffer.from("01008000002f005600", "hex"), Buffer.alloc(16, 9)), 1);
  assert.deepEqual(hello.cipherSuites, [0x002f, 0x5600]);
  assert.deepEqual(hello.versions, [0x0303, 0x0302, 0x0301, 0x0300]);
  assert.deepEqual(hello.random, Buffer.concat([Buffer.alloc(16), Buffer.alloc(16, 9)]));
  assert.equal(hello.fallback, true);
});

test("A hello of SSL 2.0 offers that version alone", () => {
  assert.deepEqual(helloOf(sslV2Hello(0x0002, Buffer.from("010080", "hex"), Buffer.alloc(16))).versions, [0x0002]);
});

test("An SSLv2-format hello whose lengths do not add up is not TLS", () => {
  const specs = Buffer.from("00002f", "hex");
  for (const bytes of [
    sslV2Hello(0x0301, specs, Buffer.alloc(16), 200),
    sslV2Hello(0x0301, EMPTY, Buffer.alloc(16)),
    sslV2Hello(0x0301, Buffer.alloc(4), Buffer.alloc(16)),
  ]) {
    assert.equal(answer(bytes).kind, "no");
  }
});

test("An SSLv2-format hello with a challenge that is too short or too long is refused", () => {
  for (const length of [0, 15, 33]) {
    const bytes = sslV2Hello(0x0301, Buffer.from("00002f", "hex"), Buffer.alloc(length));
    assert.deepEqual(answer(bytes, 1), { kind: "PeerError", alert: ALERTS.illegal_parameter });
  }
});

/** Real hellos with some bytes changed. Random bytes alone would never get as far. */
const HOSTILE = fc
  .tuple(
    fc.constantFrom(...Object.values(RECORDED)),
    fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
    fc.nat(),
  )
  .map(([recorded, changes, end]) => {
    const bytes = Buffer.from(recorded);
    for (const [at, value] of changes) bytes[at % bytes.length] = value;
    return end % 3 === 0 ? bytes.subarray(0, end % bytes.length) : bytes;
  });

test("Any bytes give a hello, more, no or a PeerError", () => {
  const kinds = ["hello", "more", "no", "PeerError"];
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), HOSTILE), (bytes) => kinds.includes(answer(bytes).kind)),
  );
});

test("Cutting the bytes anywhere changes nothing", () => {
  fc.assert(
    fc.property(HOSTILE, fc.integer({ min: 1, max: 700 }), (bytes, piece) => {
      assert.deepEqual(answer(bytes, piece), answer(bytes));
    }),
  );
});

test("Cutting a hello into records anywhere changes nothing", () => {
  const message = helloMessage({ extensions: [[0, serverNames([0, "cut.example"])]] });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: message.length }), fc.integer({ min: 1, max: 90 }), (size, piece) => {
      assert.deepEqual(helloOf(inRecords(message, size), piece), helloOf(inRecords(message)));
    }),
  );
});
