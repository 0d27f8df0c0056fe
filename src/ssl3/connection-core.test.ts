import assert from "node:assert/strict";
import { constants, publicEncrypt, randomBytes } from "node:crypto";
import { test } from "node:test";
import {
  clientOf,
  dataOf,
  ECDSA,
  establishedOf,
  hear,
  RSA,
  seeded,
  serverOf,
  sessionMap,
  talk,
} from "../../test/recorded/ssl3/sides.ts";
import { ALERTS } from "../wire/alert.ts";
import { HANDSHAKE_TYPES, SIGNALLING_SUITES } from "../wire/numbers.ts";
import { record } from "../wire/record.ts";
import { u8, u16, u16s, vector8, vector16 } from "../wire/writer.ts";
import type { Connection } from "./connection.ts";
import { writeKeys } from "./derivation.ts";
import { decryptPremaster, encryptPremaster } from "./key-exchange.ts";
import { frame, type MessageName } from "./messages.ts";
import { RecordWriter } from "./record-layer.ts";
import { advance, type Move, type State } from "./states.ts";
import { suitesFor } from "./suites.ts";

const HANDSHAKE = 22;
const message = (name: MessageName, body: Uint8Array) => record(HANDSHAKE, 0x0300, frame(name, body));
/** Level and description of the plaintext alert in these bytes. */
const alertIn = (bytes: Buffer) => (bytes[0] === 21 ? [...bytes.subarray(5, 7)] : undefined);

function hello(suites: readonly number[], version = 0x0300, compression: readonly number[] = [0]): Buffer {
  const parts = [
    u16(version),
    Buffer.alloc(32, 9),
    vector8(),
    vector16(u16s(suites)),
    vector8(Buffer.from(compression)),
  ];
  return message("client_hello", Buffer.concat(parts));
}

for (const suite of suitesFor("all")) {
  test(`Both sides agree on ${suite.name}, carry data, resume, and close`, () => {
    const sessions = sessionMap();
    const open = (session?: Parameters<typeof sessions.keep>[0], piece?: number) => {
      const [client, server] = [clientOf({ suites: [suite.id], session }), serverOf({ find: sessions.find })];
      const { client: c, server: s } = talk(client, server, piece);
      const [mine, theirs] = [establishedOf(c), establishedOf(s)];
      assert.equal(mine?.suite.name, suite.name);
      assert.equal(theirs?.suite.name, suite.name);
      assert.equal(mine.resumed, session !== undefined);
      assert.equal(theirs.resumed, session !== undefined);
      assert.deepEqual(mine.session?.master, theirs.session?.master);
      assert.deepEqual(mine.certificates, (suite.auth === "rsa" ? RSA : ECDSA).chain);
      sessions.keep(theirs.session!);

      const [there, back] = [randomBytes(20_000), randomBytes(17_000)];
      client.send(there);
      server.send(back);
      client.close();
      const spoken = talk(client, server, piece);
      assert.deepEqual(dataOf(spoken.server), there);
      assert.deepEqual(dataOf(spoken.client), back);
      assert.equal(spoken.server.events.at(-1)?.kind, "end");
      // The server may still send after the client's close_notify.
      server.send(Buffer.from("after"));
      server.close();
      const last = talk(client, server);
      assert.equal(dataOf(last.client).toString(), "after");
      assert.equal(last.client.events.at(-1)?.kind, "end");
      return mine.session!;
    };
    open(open(), 61);
  });
}

test("The server chooses the client's first suite that is allowed and that it has a key for", () => {
  const chosen = (suites: readonly number[], identities = [RSA, ECDSA], choice: "all" | "rc4" = "all") => {
    const server = serverOf({ identities, suites: choice });
    const { error } = hear(server, hello(suites));
    return error ? error.alert : server.take().readUInt16BE(5 + 4 + 2 + 32 + 1);
  };
  const nothing = ALERTS.handshake_failure;
  assert.equal(chosen([0xfefe, 0x0005, 0x002f]), 0x0005);
  assert.equal(chosen([0xc00a, 0x002f], [RSA]), 0x002f);
  assert.equal(chosen([0x002f, 0xc00a], [ECDSA]), 0xc00a);
  assert.equal(chosen([0x002f, 0x0005], [RSA], "rc4"), 0x0005);
  assert.equal(chosen([0x002f, 0x000a], [RSA], "rc4"), nothing);
  // NULL, export, DES, anonymous, DSS, static DH, GCM.
  assert.equal(
    chosen([0, 1, 2, 3, 6, 8, 9, 0x0b, 0x11, 0x12, 0x13, 0x0e, 0x17, 0x18, 0x1a, 0x1b, 0x9c, 0xc016, 0x32]),
    nothing,
  );
});

test("Compression is never chosen, and a server that chooses it is refused", () => {
  const server = serverOf();
  hear(server, hello([0x002f], 0x0300, [1, 0]));
  assert.equal(server.take()[5 + 4 + 2 + 32 + 1 + 2], 0);
  const client = clientOf({ suites: [0x002f] });
  const chosen = Buffer.concat([u16(0x0300), Buffer.alloc(32), vector8(), u16(0x002f), u8(1)]);
  assert.equal(hear(client, message("server_hello", chosen)).error?.alert, ALERTS.illegal_parameter);
});

test("A server that chooses a suite or a version that was not offered is refused", () => {
  const choose = (version: number, suite: number) => {
    const chosen = Buffer.concat([u16(version), Buffer.alloc(32), vector8(), u16(suite), u8(0)]);
    return hear(clientOf({ suites: [0x0005] }), message("server_hello", chosen)).error?.alert;
  };
  assert.equal(choose(0x0300, 0x002f), ALERTS.illegal_parameter);
  assert.equal(choose(0x0300, 0x0001), ALERTS.illegal_parameter);
  assert.equal(choose(0x0301, 0x0005), ALERTS.protocol_version);
  assert.equal(choose(0x0300, 0x0005), undefined);
});

test("A client that fell back is refused when the node speaks a newer version", () => {
  const fallenBack = serverOf({ highest: 0x0304 });
  assert.equal(
    hear(fallenBack, hello([0x002f, SIGNALLING_SUITES.fallback])).error?.alert,
    ALERTS.inappropriate_fallback,
  );
  assert.deepEqual(alertIn(fallenBack.take()), [2, ALERTS.inappropriate_fallback]);
  assert.equal(hear(serverOf({ highest: 0x0304 }), hello([0x002f])).error, undefined);
  assert.equal(hear(serverOf({ highest: 0x0300 }), hello([0x002f, SIGNALLING_SUITES.fallback])).error, undefined);
  const client = clientOf({ fallback: true });
  assert.ok(client.take().includes(u16(SIGNALLING_SUITES.fallback)));
});

test("A client that does not offer SSL 3.0 is refused with an alert of SSL 3.0", () => {
  const versions = Buffer.concat([u16(43), vector16(vector8(u16(0x0304)))]);
  const body = [u16(0x0303), Buffer.alloc(32), vector8(), vector16(u16(0x002f)), vector8(u8(0)), vector16(versions)];
  const server = serverOf();
  assert.equal(hear(server, message("client_hello", Buffer.concat(body))).error?.alert, ALERTS.protocol_version);
  assert.deepEqual(alertIn(server.take()), [2, ALERTS.handshake_failure]);
});

test("An SSLv2-format hello is answered and hashed correctly", () => {
  // Only the ClientHello has the old format; the client's other messages are the same.
  const client = clientOf({ suites: [0x002f] });
  const own = client.take();
  const random = own.subarray(11, 43);
  const body = Buffer.concat([u8(1), u16(0x0300), u16(3), u16(0), u16(32), Buffer.from([0, 0, 0x2f]), random]);
  const server = serverOf();
  const heard = hear(server, Buffer.concat([u16(0x8000 | body.length), body]));
  assert.equal(heard.error, undefined);
  const { error } = hear(client, server.take());
  assert.equal(error, undefined);
  // The client has hashed its own hello, so its Finished does not match.
  assert.equal(hear(server, client.take()).error?.alert, ALERTS.handshake_failure);
});

test("The server's answer is the same for every fault of a premaster secret", () => {
  const key = RSA.key;
  const answers = new Set<string>();
  for (const wrong of WRONG_PREMASTERS) {
    const server = serverOf();
    hear(server, hello([0x002f]));
    server.take();
    const heard = hear(server, message("client_key_exchange", wrong()));
    assert.deepEqual(heard, { events: [], error: undefined });
    assert.equal(server.take().length, 0);
    hear(server, record(20, 0x0300, Buffer.from([1])));
    const { error } = hear(server, record(HANDSHAKE, 0x0300, Buffer.alloc(64, 5)));
    answers.add(`${error?.alert} ${server.take().toString("hex")}`);
  }
  assert.deepEqual([...answers], [`${ALERTS.bad_record_mac} 15030000020214`]);
  // Only the holder of the right secret sees a difference.
  const { premaster, message: encrypted } = encryptPremaster(key, 0x0300, seeded("premaster"));
  assert.deepEqual(decryptPremaster(key, encrypted, 0x0300, seeded("other")), premaster);
});

/** PKCS #1 blocks for a modulus of 256 bytes, each with one fault, and bytes that are not a block. */
const WRONG_PREMASTERS: readonly (() => Buffer)[] = [
  ...[
    (block: Buffer) => block.writeUInt8(1, 0),
    (block: Buffer) => block.writeUInt8(1, 1),
    (block: Buffer) => block.writeUInt8(0, 2),
    (block: Buffer) => block.writeUInt8(0, 100),
    (block: Buffer) => block.writeUInt8(7, 256 - 49),
    (block: Buffer) => block.writeUInt16BE(0x0301, 256 - 48),
    (block: Buffer) => block.writeUInt16BE(0x0002, 256 - 48),
    (block: Buffer) => block.fill(0),
  ].map((spoil) => () => {
    const block = Buffer.concat([
      Buffer.from([0, 2]),
      Buffer.alloc(205, 0xaa),
      u8(0),
      u16(0x0300),
      Buffer.alloc(46, 3),
    ]);
    spoil(block);
    return publicEncrypt({ key: RSA.key, padding: constants.RSA_NO_PADDING }, block);
  }),
  () => Buffer.alloc(256, 0xff),
  () => Buffer.alloc(255, 1),
  () => Buffer.alloc(0),
];

test("A wrong premaster secret is replaced by a random one, a correct one is not", () => {
  for (const wrong of WRONG_PREMASTERS) {
    assert.deepEqual(decryptPremaster(RSA.key, wrong(), 0x0300, seeded("x")), seeded("x")(48));
  }
  const tls = encryptPremaster(RSA.key, 0x0303, seeded("a"));
  assert.deepEqual(decryptPremaster(RSA.key, tls.message, 0x0303, seeded("x")), tls.premaster);
  // The version of a hello that an attacker has lowered.
  assert.deepEqual(decryptPremaster(RSA.key, tls.message, 0x0300, seeded("x")), seeded("x")(48));
});

/** Two sides that have completed a handshake. */
function opened(suite = 0x002f): { client: Connection; server: Connection } {
  const pair = { client: clientOf({ suites: [suite] }), server: serverOf() };
  talk(pair.client, pair.server);
  return pair;
}

/** The same, with writers that have each side's keys and can write records that the engine never would. */
function openedWithKeys() {
  const pair = { client: clientOf({ suites: [0x0005] }), server: serverOf({ find: () => undefined }) };
  const { suite, session } = establishedOf(talk(pair.client, pair.server).client)!;
  const randoms = { client: seeded("client")(32), server: seeded("server")(32) };
  const keys = writeKeys(session!.master, randoms, suite);
  const writerOf = (side: "client" | "server") => {
    const writer = new RecordWriter();
    writer.protect(suite, keys[side]);
    // As long as a Finished, so that RC4 and the record number continue correctly.
    writer.write(HANDSHAKE, Buffer.alloc(40));
    return (contentType: number, content: Uint8Array) => Buffer.concat(writer.write(contentType, content));
  };
  return { ...pair, asClient: writerOf("client"), asServer: writerOf("server") };
}

test("Renegotiation is refused: a ClientHello ends the connection, a HelloRequest is ignored", () => {
  const { client, server, asClient, asServer } = openedWithKeys();
  const heard = hear(
    client,
    Buffer.concat([asServer(HANDSHAKE, frame("hello_request", Buffer.alloc(0))), asServer(23, u8(7))]),
  );
  assert.deepEqual([heard.error, dataOf(heard)], [undefined, Buffer.from([7])]);
  assert.equal(client.take().length, 0);
  const again = frame("client_hello", BODIES.client_hello);
  assert.equal(hear(server, asClient(HANDSHAKE, again)).error?.alert, ALERTS.unexpected_message);
});

test("Once open, handshake messages and a second ChangeCipherSpec are errors", () => {
  for (const name of Object.keys(BODIES) as MessageName[]) {
    const { client, server, asClient, asServer } = openedWithKeys();
    const framed = frame(name, BODIES[name]);
    assert.equal(hear(server, asClient(HANDSHAKE, framed)).error?.alert, ALERTS.unexpected_message, `client: ${name}`);
    if (name === "hello_request") continue;
    assert.equal(hear(client, asServer(HANDSHAKE, framed)).error?.alert, ALERTS.unexpected_message, `server: ${name}`);
  }
  const { server, asClient } = openedWithKeys();
  assert.equal(hear(server, asClient(20, u8(1))).error?.alert, ALERTS.unexpected_message);
});

test("Nothing may follow a close_notify", () => {
  const { server, asClient } = openedWithKeys();
  const heard = hear(server, Buffer.concat([asClient(21, Buffer.from([1, 0])), asClient(23, Buffer.from("late"))]));
  assert.deepEqual(heard.events, [{ kind: "end" }]);
  assert.equal(heard.error?.alert, ALERTS.unexpected_message);
});

test("After a fatal alert nothing is read or sent", () => {
  const { client, server } = opened();
  server.take();
  assert.deepEqual(hear(clientOf(), record(21, 0x0300, Buffer.from([2, 40]))).events, [
    { kind: "alert", description: 40 },
  ]);
  assert.equal(hear(client, record(23, 0x0300, Buffer.alloc(32))).error?.alert, ALERTS.bad_record_mac);
  const alert = client.take();
  assert.ok(alert.length > 0);
  assert.deepEqual(hear(server, alert).events, [{ kind: "alert", description: ALERTS.bad_record_mac }]);
  for (const side of [client, server]) {
    side.send(Buffer.from("more"));
    side.close();
    assert.equal(side.take().length, 0);
    assert.deepEqual(hear(side, Buffer.from("anything")), { events: [], error: undefined });
  }
});

test("Only a few warnings in a row are ignored", () => {
  const client = clientOf();
  const warning = record(21, 0x0300, Buffer.from([1, 112]));
  for (let count = 0; count < 5; count += 1) assert.deepEqual(hear(client, warning).events, []);
  assert.equal(hear(client, warning).error?.alert, ALERTS.unexpected_message);
});

test("Only a few HelloRequests are ignored", () => {
  const client = clientOf();
  const request = record(HANDSHAKE, 0x0300, Buffer.alloc(4));
  for (let count = 0; count < 20; count += 1) assert.deepEqual(hear(client, request).events, []);
  assert.equal(hear(client, request).error?.alert, ALERTS.unexpected_message);
});

test("A message may not be cut into records without end", () => {
  const server = serverOf();
  const whole = hello(Array.from({ length: 15_000 }, () => 0x002f)).subarray(5);
  const empty = record(HANDSHAKE, 0x0300, Buffer.alloc(0));
  const pieces = Buffer.concat(
    Array.from(whole, (byte) => Buffer.concat([record(HANDSHAKE, 0x0300, Buffer.of(byte)), ...Array(5).fill(empty)])),
  );
  const { error } = hear(server, pieces);
  assert.equal(error?.alert, ALERTS.unexpected_message);
  assert.match(error.message, /more than 150000 records without data$/);
});

test("A handshake message may not be interrupted, nor span a change of keys", () => {
  const interrupted = clientOf();
  hear(interrupted, record(HANDSHAKE, 0x0300, Buffer.from([2, 0])));
  assert.equal(hear(interrupted, record(20, 0x0300, Buffer.from([1]))).error?.alert, ALERTS.unexpected_message);
  const server = serverOf();
  hear(server, hello([0x002f]));
  const exchange = frame("client_key_exchange", encryptPremaster(RSA.key, 0x0300, seeded("p")).message);
  const early = Buffer.from([HANDSHAKE_TYPES.finished, 0]);
  assert.equal(hear(server, record(HANDSHAKE, 0x0300, Buffer.concat([exchange, early]))).error, undefined);
  assert.equal(hear(server, record(20, 0x0300, Buffer.from([1]))).error?.alert, ALERTS.unexpected_message);
});

/** A valid body for each message, so that only its place can be wrong. */
const BODIES: Readonly<Record<MessageName, Buffer>> = {
  hello_request: Buffer.alloc(0),
  client_hello: hello([0x002f]).subarray(9),
  server_hello: Buffer.concat([u16(0x0300), Buffer.alloc(32), vector8(), u16(0x002f), u8(0)]),
  certificate: Buffer.concat([Buffer.from([0, 0, 3 + 1, 0, 0, 1, 0])]),
  server_key_exchange: Buffer.alloc(10),
  certificate_request: Buffer.from([1, 1, 0, 0]),
  server_hello_done: Buffer.alloc(0),
  certificate_verify: Buffer.alloc(36),
  client_key_exchange: Buffer.alloc(256),
  finished: Buffer.alloc(36),
};

test("In every state before the keys change, other messages than the expected are errors", () => {
  const flight = (suite: number) => {
    const server = serverOf();
    hear(server, clientOf({ suites: [suite] }).take());
    return recordsIn(server.take());
  };
  for (const suite of [0x002f, 0x0033]) {
    const said = flight(suite);
    for (let heard = 0; heard <= said.length; heard += 1) {
      for (const name of Object.keys(BODIES) as MessageName[]) {
        const client = clientOf({ suites: [suite] });
        hear(client, Buffer.concat(said.slice(0, heard)));
        const isNext = said[heard]?.[5] === HANDSHAKE_TYPES[name];
        const mayCome =
          isNext ||
          (name === "hello_request" && heard === 0) ||
          (name === "certificate_request" && said[heard]?.[5] === HANDSHAKE_TYPES.server_hello_done);
        const { error } = hear(client, message(name, BODIES[name]));
        if (!mayCome) assert.equal(error?.alert, ALERTS.unexpected_message, `${name} after ${heard} messages`);
        else if (!isNext) assert.equal(error, undefined, `${name} after ${heard} messages`);
      }
    }
  }
  for (const name of Object.keys(BODIES) as MessageName[]) {
    if (name !== "client_hello") assert.equal(hear(serverOf(), message(name, BODIES[name])).error?.alert, 10, name);
    const server = serverOf();
    hear(server, hello([0x002f]));
    if (name !== "client_key_exchange") assert.equal(hear(server, message(name, BODIES[name])).error?.alert, 10, name);
  }
  for (const contentType of [20, 23]) {
    assert.equal(
      hear(serverOf(), record(contentType, 0x0300, Buffer.from([1]))).error?.alert,
      ALERTS.unexpected_message,
    );
    assert.equal(
      hear(clientOf(), record(contentType, 0x0300, Buffer.from([1]))).error?.alert,
      ALERTS.unexpected_message,
    );
  }
});

function recordsIn(bytes: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 5 + bytes.readUInt16BE(at + 3);
    found.push(bytes.subarray(at, end));
    at = end;
  }
  return found;
}

test("On every path to an open connection both sides change keys, send their Finished, and only then send data", () => {
  const ways: string[][] = [];
  const walk = (state: State, said: readonly string[]): void => {
    if (state === "open") ways.push([...said]);
    else
      for (const sender of ["client", "server"] as const)
        for (const line of MOVES) {
          const next = advance(state, sender, line);
          assert.ok(line !== "application_data" || next === undefined, `${sender} sends in state ${state}`);
          if (next !== undefined && next !== state) walk(next, [...said, `${sender} ${line}`]);
        }
  };
  walk("opening", []);
  // RSA and ephemeral keys, each with and without a CertificateRequest, and a resumed session.
  assert.equal(ways.length, 5);
  for (const said of ways) {
    for (const side of ["client", "server"]) {
      const [switched, finished] = [said.indexOf(`${side} change_cipher_spec`), said.indexOf(`${side} finished`)];
      assert.ok(switched > 0 && finished === switched + 1, said.join(", "));
    }
  }
});

const MOVES: readonly Move[] = [
  ...(["client_hello", "certificate", "server_key_exchange", "certificate_request", "server_hello_done"] as const),
  ...(["client_key_exchange", "no_certificate", "change_cipher_spec", "finished", "hello_request"] as const),
  ...(["server_hello: rsa", "server_hello: ephemeral", "server_hello: resumed"] as const),
  ...(["application_data", "close_notify"] as const),
];

test("A key exchange that the server's key did not sign is refused", () => {
  for (const suite of [0x0033, 0xc013, 0xc009]) {
    const [client, server] = [clientOf({ suites: [suite] }), serverOf()];
    hear(server, client.take());
    const said = server.take();
    const exchange = recordsIn(said).find((one) => one[5] === HANDSHAKE_TYPES.server_key_exchange)!;
    exchange[exchange.length - 1]! ^= 1;
    const { error } = hear(client, said);
    assert.equal(error?.alert, ALERTS.decrypt_error, `suite ${suite}`);
    assert.deepEqual(alertIn(client.take()), [2, ALERTS.handshake_failure]);
  }
});

test("Weak and broken groups of a server are refused", () => {
  const params = (p: Buffer, g: Buffer, y: Buffer) =>
    Buffer.concat([vector16(p), vector16(g), vector16(y), vector16(Buffer.alloc(256))]);
  const prime = Buffer.alloc(128, 0xff);
  const say = (body: Buffer) => {
    const [client, server] = [clientOf({ suites: [0x0033] }), serverOf()];
    hear(server, client.take());
    const said = recordsIn(server.take());
    hear(client, Buffer.concat(said.slice(0, 2)));
    return hear(client, message("server_key_exchange", body)).error?.alert;
  };
  assert.equal(say(params(Buffer.alloc(64, 0xff), u8(2), u8(3))), ALERTS.insufficient_security);
  assert.equal(say(params(Buffer.alloc(2048, 0xff), u8(2), u8(3))), ALERTS.insufficient_security);
  for (const [g, y] of [
    [0, 3],
    [2, 0],
    [2, 1],
  ] as const)
    assert.equal(say(params(prime, u8(g), u8(y))), ALERTS.illegal_parameter);
  assert.equal(say(params(prime, u8(2), prime)), ALERTS.illegal_parameter);
});

test("A server that asks for a certificate is told that there is none, and may go on", () => {
  // The engine's server never asks, so the test inserts the request into its flight.
  const [client, server] = [clientOf({ suites: [0x002f] }), serverOf()];
  hear(server, client.take());
  const said = recordsIn(server.take());
  said.splice(-1, 0, message("certificate_request", BODIES.certificate_request));
  assert.equal(hear(client, Buffer.concat(said)).error, undefined);
  assert.equal(client.certificateRequested, true);
  assert.deepEqual(alertIn(client.take()), [1, ALERTS.no_certificate]);
});
