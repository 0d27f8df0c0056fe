import assert from "node:assert/strict";
import { openTls } from "../../../src/detect/tls.ts";
import { PeerError } from "../../../src/errors.ts";
import { createClientHelloReader } from "../../../src/wire/client-hello-reader.ts";
import { ja3, ja4 } from "../../../src/wire/fingerprint.ts";
import { findHandshake } from "../../../src/wire/handshake-search.ts";
import { HelloExchange } from "../../../src/wire/hello-exchange.ts";
import { PlaintextRecords } from "../../../src/wire/plaintext-records.ts";
import { readServerHello } from "../../../src/wire/server-hello.ts";
import { EMPTY, HELLO_12, HELLO_13, record } from "../../odd-hellos/hello.ts";
import { RECORDED } from "../../recorded/client-hello/recorded.ts";
import type { Dice } from "../damage.ts";
import { conversation, type Parser, pieces, turnsOf } from "../parser.ts";

const HELLOS = [...Object.values(RECORDED), HELLO_12, HELLO_13, Buffer.concat([EMPTY, HELLO_13])];
const RANDOM = Buffer.alloc(32, 7);
const RETRY = Buffer.from("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c", "hex");

/** A ServerHello's body: of TLS 1.2, of TLS 1.3, and a HelloRetryRequest. */
const BODIES = [
  Buffer.concat([Buffer.from("0303", "hex"), RANDOM, Buffer.from("00c02f00000900170000ff01000100", "hex")]),
  Buffer.concat([
    Buffer.from("0303", "hex"),
    RANDOM,
    Buffer.from("0013010000 0a002b0002030400330000".replaceAll(" ", ""), "hex"),
  ]),
  Buffer.concat([Buffer.from("0303", "hex"), RETRY, Buffer.from("00130100000c002b00020304003300020017", "hex")]),
];
const message = (type: number, body: Buffer) =>
  Buffer.concat([Buffer.of(type, body.length >> 16, (body.length >> 8) & 255, body.length & 255), body]);
const ANSWERS = BODIES.map((body) => record(22, message(2, body), 0x0303));
const CERTIFICATE = record(22, message(11, Buffer.from("00000600000300000000".slice(0, 18), "hex")), 0x0303);
const ALERT = Buffer.from("15030300020228", "hex");
const CHANGE = Buffer.from("140303000101", "hex");

/** The hello, or why there is none: the same however the bytes are cut. */
function helloOf(all: Iterable<Buffer>): string {
  const reader = createClientHelloReader();
  try {
    for (const bytes of all) {
      const sighting = reader.push(bytes);
      if (sighting.kind === "hello") return JSON.stringify([sighting.hello, ja3(sighting.hello), ja4(sighting.hello)]);
      if (sighting.kind === "no") return "no";
    }
    return "more";
  } catch (error) {
    if (error instanceof PeerError) return `alert ${error.alert}`;
    throw error;
  }
}

function readHello(bytes: Buffer, dice: Dice): void {
  if (bytes.length === 0) return;
  const whole = helloOf([bytes]);
  assert.equal(helloOf(pieces(bytes, dice)), whole, "cutting the bytes changes the answer");
  if (whole.startsWith("alert")) throw new PeerError(whole, 0);
}

function followHellos(input: Buffer, dice: Dice): void {
  const sighting = createClientHelloReader().push(HELLOS[dice(HELLOS.length)]!);
  assert.ok(sighting.kind === "hello");
  const exchange = new HelloExchange({
    hello: sighting.hello,
    ...(dice(2) === 0 && { isForbidden: (version: number) => version === 0x0304 }),
    ...(dice(2) === 0 && { beyondNode: true }),
    ...(dice(2) === 0 && { certificate: dice(2) === 0 ? ("must" as const) : ("may" as const) }),
  });
  // What did not pass comes again, in front of the next.
  const held = { client: Buffer.alloc(0), server: Buffer.alloc(0) };
  for (const [side, bytes] of turnsOf(input)) {
    const given = Buffer.concat([held[side], bytes]);
    const passed = exchange.feed(side, given);
    assert.ok(passed >= 0 && passed <= given.length, "more passes than came");
    held[side] = given.subarray(passed);
    if (exchange.certificates) exchange.accept();
  }
}

function readRecords(bytes: Buffer, dice: Dice): void {
  const records = new PlaintextRecords();
  for (const piece of pieces(bytes, dice)) for (const item of records.read(piece)) assert.ok(item.kind);
}

export const TLS_PARSERS: readonly Parser[] = [
  { name: "client-hello", of: "clients: the ClientHello, SSLv2's form too", seeds: HELLOS, read: readHello, every: 2 },
  {
    name: "first-bytes",
    of: "both peers: is it TLS?",
    seeds: HELLOS.map((hello) => conversation(["client", hello])).concat(
      conversation(["server", ANSWERS[0]!], ["client", HELLO_13]),
    ),
    read(input) {
      const opening = openTls();
      for (const [side, bytes] of turnsOf(input))
        if (bytes.length > 0 && opening.feed(side, bytes).kind !== "more") return;
    },
  },
  { name: "server-hello", of: "servers: the ServerHello", seeds: BODIES, read: (bytes) => readServerHello(bytes) },
  {
    name: "records",
    of: "both peers: plaintext records, alerts, handshake messages",
    seeds: [...ANSWERS, Buffer.concat([ANSWERS[0]!, CERTIFICATE, ALERT]), Buffer.concat([CHANGE, ALERT, HELLO_12])],
    read: readRecords,
  },
  {
    name: "hello-exchange",
    of: "both peers of a bypassed session: hellos, certificate",
    seeds: [
      conversation(["server", ANSWERS[0]!], ["server", CERTIFICATE]),
      conversation(["server", ANSWERS[1]!], ["client", CHANGE]),
      conversation(["server", ANSWERS[2]!], ["client", HELLO_13], ["server", ANSWERS[1]!]),
      conversation(["server", ALERT]),
    ],
    read: followHellos,
    every: 2,
  },
  {
    name: "tls-search",
    of: "both peers: the first bytes of TLS in anything",
    seeds: [Buffer.concat([Buffer.from("220 ready\r\n"), HELLO_12]), ANSWERS[1]!, ...HELLOS.slice(0, 4)],
    read(bytes) {
      const found = findHandshake(bytes);
      if (found) assert.ok(found.at >= 0 && found.at < bytes.length, "TLS is found outside of the bytes");
    },
  },
];
