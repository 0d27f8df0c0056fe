import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { seeded } from "../../test/recorded/ssl3/sides.ts";
import { PeerError } from "../errors.ts";
import { ALERTS } from "../wire/alert.ts";
import { HANDSHAKE_TYPES } from "../wire/numbers.ts";
import { Reader } from "../wire/reader.ts";
import { asSsl3Alert } from "./alerts.ts";
import { answerCurve, answerPrime } from "./ephemeral.ts";
import {
  checkCertificateRequest,
  frame,
  LIMITS,
  MessageJoiner,
  type MessageName,
  readCertificate,
  readServerHello,
  writeCertificate,
  writeServerHello,
} from "./messages.ts";

const random = seeded("messages");
const READERS: Readonly<Record<string, (body: Buffer) => unknown>> = {
  ServerHello: readServerHello,
  Certificate: readCertificate,
  CertificateRequest: checkCertificateRequest,
  "ServerKeyExchange of a curve": (body) => answerCurve(new Reader(body, "it"), random),
  "ServerKeyExchange of a prime": (body) => answerPrime(new Reader(body, "it"), random, 4096),
};

for (const [name, read] of Object.entries(READERS)) {
  test(`The reader of a ${name} gives a value or a PeerError`, () => {
    // Vectors with correct lengths get further than random bytes.
    const vector = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from([0, bytes.length, ...bytes]));
    const likely = fc.array(vector, { maxLength: 5 }).map((all) => Buffer.concat(all));
    const curve = fc.uint8Array({ maxLength: 70 }).map((bytes) => Buffer.from([3, 0, 0x17, bytes.length, ...bytes]));
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      likely,
      curve,
    );
    const property = fc.property(body, (bytes) => {
      try {
        read(bytes);
      } catch (error) {
        assert.ok(error instanceof PeerError, String(error));
      }
    });
    fc.assert(property, { numRuns: 500 });
  });
}

test("A ServerHello and a Certificate are read as they were written", () => {
  const hello = fc.record({
    random: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes)),
    sessionId: fc.uint8Array({ maxLength: 32 }).map((bytes) => Buffer.from(bytes)),
    suite: fc.nat(0xffff),
    secureRenegotiation: fc.boolean(),
  });
  fc.assert(fc.property(hello, (one) => assert.deepEqual(readServerHello(writeServerHello(one)), { ...one })));
  const chain = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 5 });
  const same = (certificates: Uint8Array[]) =>
    assert.deepEqual(
      readCertificate(writeCertificate(certificates)),
      certificates.map((one) => Buffer.from(one)),
    );
  fc.assert(fc.property(chain, same));
});

test("Messages are joined correctly wherever they are cut into records", () => {
  const names = fc.constantFrom(...(Object.keys(LIMITS) as MessageName[]));
  const messages = fc.array(fc.tuple(names, fc.uint8Array({ maxLength: 36 })), { maxLength: 5 });
  const property = fc.property(messages, fc.array(fc.nat(), { maxLength: 10 }), (said, places) => {
    const framed = said.map(([name, body]) =>
      frame(name, name === "hello_request" || name === "server_hello_done" ? Buffer.alloc(0) : body),
    );
    const all = Buffer.concat(framed);
    const cuts = [...places.map((place) => place % (all.length + 1)).sort((a, b) => a - b), all.length];
    const joiner = new MessageJoiner();
    const heard: Buffer[] = [];
    let at = 0;
    for (const cut of cuts) {
      joiner.push(all.subarray(at, cut));
      for (let message = joiner.next(); message; message = joiner.next()) heard.push(message.framed);
      at = cut;
    }
    assert.deepEqual(heard, framed);
    assert.equal(joiner.isIncomplete, false);
  });
  fc.assert(property);
});

test("A message is refused for its type or length before its body arrives", () => {
  const refused = (...bytes: number[]) => {
    const joiner = new MessageJoiner();
    joiner.push(Buffer.from(bytes));
    try {
      joiner.next();
    } catch (error) {
      return (error as PeerError).alert;
    }
    return undefined;
  };
  assert.equal(refused(99), ALERTS.unexpected_message);
  assert.equal(refused(HANDSHAKE_TYPES.finished, 0, 0, 37), ALERTS.illegal_parameter);
  assert.equal(refused(HANDSHAKE_TYPES.certificate, 4, 0, 1), ALERTS.illegal_parameter);
  assert.equal(refused(HANDSHAKE_TYPES.certificate, 4, 0, 0), undefined);
});

test("Every alert of TLS becomes an alert that a peer of SSL 3.0 knows", () => {
  const known = new Set([0, 10, 20, 30, 40, 41, 42, 43, 44, 45, 46, 47, ALERTS.inappropriate_fallback]);
  for (let description = 0; description < 256; description += 1) {
    const said = asSsl3Alert(description);
    assert.ok(known.has(said), `${description} became ${said}`);
    if (known.has(description)) assert.equal(said, description);
  }
});
