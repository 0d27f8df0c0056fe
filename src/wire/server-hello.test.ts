import "reflect-metadata";
import assert from "node:assert/strict";
import { KeyObject, randomBytes, webcrypto } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect } from "node:net";
import { test } from "node:test";
import tls from "node:tls";
import { X509CertificateGenerator } from "@peculiar/x509";
import fc from "fast-check";
import { PeerError } from "../errors.ts";
import { ALERTS, fatalAlert, nameAlert } from "./alert.ts";
import { createClientHelloReader } from "./client-hello-reader.ts";
import { type Probe, writeProbe } from "./probe.ts";
import { createServerFlightReader, type ServerFlight } from "./server-hello.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
const certificate = await X509CertificateGenerator.createSelfSigned(
  { name: "CN=probe.example", keys, signingAlgorithm: ALGORITHM },
  webcrypto,
);
const identity = {
  cert: certificate.toString("pem"),
  key: KeyObject.from(keys.privateKey).export({ type: "pkcs8", format: "pem" }),
};

const PROBE: Probe = {
  maxVersion: 0x0303,
  suites: [0xc02b, 0xc02f],
  groups: [0x001d, 0x0017],
  signatureAlgorithms: [0x0403, 0x0804],
  serverName: "probe.example",
  alpn: ["h2", "http/1.1"],
  random: randomBytes(32),
};

/** Sends a probe to an OpenSSL server with these options, and reads until the reader has its answer. */
async function askServer(options: tls.TlsOptions, probe: Probe): Promise<{ flight: ServerFlight; bytes: Buffer }> {
  const server = tls.createServer({ ...identity, ...options });
  server.on("tlsClientError", () => {});
  await once(server.listen(0, "127.0.0.1"), "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const reader = createServerFlightReader();
  const pieces: Buffer[] = [];
  let flight: ServerFlight = { kind: "more" };
  socket.write(writeProbe(probe));
  for await (const piece of socket) {
    pieces.push(piece);
    flight = reader.push(piece);
    if (flight.kind !== "more") break;
  }
  socket.destroy();
  server.close();
  return { flight, bytes: Buffer.concat(pieces) };
}

test("A server's request for a client certificate is reported", async () => {
  const { flight } = await askServer({ requestCert: true, ALPNProtocols: ["h2"] }, PROBE);
  assert.equal(flight.kind, "flight");
  assert.partialDeepStrictEqual(flight, {
    hello: { version: 0x0303, cipherSuite: 0xc02b },
    certificateRequested: true,
  });
  assert.deepEqual(flight.kind === "flight" && flight.messages, [11, 12, 13, 14]);
});

test("A server without such a request is reported", async () => {
  const { flight } = await askServer({}, PROBE);
  assert.partialDeepStrictEqual(flight, { kind: "flight", messages: [11, 12, 14], certificateRequested: false });
});

test("A probe of TLS 1.0 gets a flight of TLS 1.0", async () => {
  const old = { minVersion: "TLSv1", ciphers: "DEFAULT:@SECLEVEL=0" } as const;
  const { flight } = await askServer(old, { ...PROBE, maxVersion: 0x0301, suites: [0xc009] });
  assert.partialDeepStrictEqual(flight, { kind: "flight", hello: { version: 0x0301, cipherSuite: 0xc009 } });
});

const REFUSALS: [string, tls.TlsOptions, Partial<Probe>, number][] = [
  ["protocol_version", { minVersion: "TLSv1.3" }, {}, ALERTS.protocol_version],
  ["handshake_failure", { ciphers: "ECDHE-ECDSA-AES256-GCM-SHA384" }, {}, ALERTS.handshake_failure],
  ["no_application_protocol", { ALPNProtocols: ["h3"] }, {}, ALERTS.no_application_protocol],
];
for (const [name, options, probe, description] of REFUSALS) {
  test(`A server that refuses with ${name} is reported with that alert`, async () => {
    const { flight } = await askServer(options, { ...PROBE, ...probe });
    assert.deepEqual(flight, { kind: "alert", description });
    assert.equal(nameAlert(description), name);
  });
}

test("A probe offers what it was told to offer", () => {
  const sighting = createClientHelloReader().push(writeProbe(PROBE));
  assert.partialDeepStrictEqual(sighting, {
    kind: "hello",
    hello: {
      versions: [0x0303, 0x0302, 0x0301, 0x0300],
      cipherSuites: [0xc02b, 0xc02f, 0x00ff],
      supportedGroups: [0x001d, 0x0017],
      signatureAlgorithms: [0x0403, 0x0804],
      serverName: "probe.example",
      alpnProtocols: ["h2", "http/1.1"],
    },
  });
});

test("A probe without name, groups and ALPN leaves those extensions out", () => {
  const bare = { ...PROBE, serverName: undefined, groups: [], signatureAlgorithms: [], alpn: [] };
  const sighting = createClientHelloReader().push(writeProbe(bare));
  assert.partialDeepStrictEqual(sighting, { kind: "hello", hello: { extensions: [23] } });
});

/** The answer to these bytes in pieces of one size, with the alert's number when it is a PeerError. */
function answer(bytes: Uint8Array, piece = bytes.length || 1): ServerFlight | { kind: "PeerError"; alert: number } {
  const reader = createServerFlightReader();
  try {
    for (let at = 0; at < bytes.length; at += piece) {
      const flight = reader.push(bytes.subarray(at, at + piece));
      if (flight.kind !== "more") return flight;
    }
    return { kind: "more" };
  } catch (error) {
    if (error instanceof PeerError) return { kind: "PeerError", alert: error.alert };
    throw error;
  }
}

test("The first bytes tell that a server does not speak TLS", () => {
  for (const text of ["H", "\x17\x03\x03", "\x16\x02", "\x15H"]) {
    assert.equal(answer(Buffer.from(text, "latin1")).kind, "no");
  }
});

test("A warning does not end the flight, a close_notify does", () => {
  const unrecognizedName = Buffer.from("15030300020170", "hex");
  assert.equal(answer(unrecognizedName).kind, "more");
  assert.deepEqual(answer(Buffer.concat([unrecognizedName, fatalAlert(40)]), 1), { kind: "alert", description: 40 });
  assert.deepEqual(answer(Buffer.from("15030300020100", "hex")), { kind: "alert", description: 0 });
});

/** The body: legacy_version, random, session ID, suite, compression, extensions. */
function serverHello(extensions: string): Buffer {
  const body = Buffer.from(`0303${"07".repeat(32)}00c02b00${extensions}`, "hex");
  const message = Buffer.concat([Buffer.from([2, 0, 0, body.length]), body]);
  return Buffer.concat([Buffer.from([22, 3, 3, 0, message.length]), message]);
}

test("A ServerHello of TLS 1.3 ends the flight: the rest is encrypted", () => {
  assert.partialDeepStrictEqual(answer(serverHello("0006002b00020304"), 1), {
    kind: "flight",
    hello: { version: 0x0304 },
    messages: [],
    certificateRequested: false,
  });
});

test("The ChangeCipherSpec of a resumed session ends the flight", () => {
  const bytes = Buffer.concat([serverHello(""), Buffer.from("14030300010116", "hex")]);
  assert.partialDeepStrictEqual(answer(bytes), { kind: "flight", messages: [], certificateRequested: false });
});

const FAULTS: [string, Buffer, number][] = [
  ["another message before ServerHello", Buffer.from("16030300040b000000", "hex"), ALERTS.unexpected_message],
  [
    "application data before ServerHello",
    Buffer.from("1603030004000000001703030001", "hex"),
    ALERTS.unexpected_message,
  ],
  ["an extension twice", serverHello("00080017000000170000"), ALERTS.illegal_parameter],
  ["bytes after the extensions", serverHello("000000"), ALERTS.decode_error],
  ["an alert of one byte", Buffer.from("150303000128", "hex"), ALERTS.decode_error],
  ["a message above 256 KiB", Buffer.from("160303000402040001", "hex"), ALERTS.illegal_parameter],
];
for (const [title, bytes, alert] of FAULTS) {
  test(`A flight with ${title} is refused`, () => {
    assert.deepEqual(answer(bytes), { kind: "PeerError", alert });
    assert.deepEqual(answer(bytes, 1), { kind: "PeerError", alert });
  });
}

test("Warnings without end are refused at 256 KiB", () => {
  const warnings = Buffer.concat(Array(40_000).fill(Buffer.from("15030300020170", "hex")));
  assert.deepEqual(answer(warnings), { kind: "PeerError", alert: ALERTS.illegal_parameter });
});

test("Any bytes give an answer or a PeerError, and cutting them anywhere changes nothing", async () => {
  const { bytes: recorded } = await askServer({ requestCert: true }, PROBE);
  const hostile = fc
    .array(fc.tuple(fc.nat(recorded.length - 1), fc.nat(255)), { maxLength: 3 })
    .map((changes) => changes.reduce((bytes, [at, value]) => Buffer.from(bytes.with(at, value)), recorded));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), hostile), fc.integer({ min: 1, max: 400 }), (bytes, piece) => {
      assert.ok(["flight", "alert", "more", "no", "PeerError"].includes(answer(bytes).kind));
      assert.deepEqual(answer(bytes, piece), answer(bytes));
    }),
  );
});
