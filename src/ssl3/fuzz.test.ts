import assert from "node:assert/strict";
import { test } from "node:test";
import { CONVERSATIONS, type Conversation, linesOf, speak } from "../../test/recorded/ssl3/recorded.ts";
import { clientOf, hear, serverOf } from "../../test/recorded/ssl3/sides.ts";
import { PeerError } from "../errors.ts";
import type { SavedSession } from "./connection.ts";
import { writeKeys } from "./derivation.ts";
import { readCertificate, readServerHello } from "./messages.ts";
import { RecordReader, RecordWriter } from "./record-layer.ts";
import { suitesFor } from "./suites.ts";

/**
 * Changes bytes of real connections. The engine must throw nothing but PeerError, and must end. `CLEARLINE_FUZZ` sets the
 * number of runs: `CLEARLINE_FUZZ=1000000 node --test src/ssl3/fuzz.test.ts`. A failure prints its seed, which
 * `CLEARLINE_FUZZ_SEED` sets.
 */
const RUNS = Number(process.env["CLEARLINE_FUZZ"] ?? 20_000);
const SEED = Number(process.env["CLEARLINE_FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/** Mulberry32, a small generator with the same numbers everywhere. */
function createDice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % sides;
  };
}

/** Ways to change bytes. A length field is changed about as often as other bytes. */
function spoil(original: Buffer, dice: (sides: number) => number): Buffer {
  let bytes = Buffer.from(original);
  for (let times = 1 + dice(4); times > 0; times -= 1) {
    const at = dice(bytes.length + 1);
    const some = Buffer.from(Array.from({ length: dice(12) }, () => dice(256)));
    const way = dice(7);
    if (way === 0 && at < bytes.length) bytes[at] = dice(256);
    if (way === 1 && at < bytes.length) bytes[at]! ^= 1 << dice(8);
    if (way === 2) bytes = bytes.subarray(0, at);
    if (way === 3) bytes = Buffer.concat([bytes.subarray(0, at), some, bytes.subarray(at)]);
    if (way === 4) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + dice(8))]);
    if (way === 5) bytes = Buffer.concat([bytes, bytes.subarray(at)]);
    if (way === 6 && at + 2 <= bytes.length) bytes.writeUInt16BE([0, 1, 0x3fff, 0x4001, 0xffff][dice(5)]!, at);
  }
  return bytes;
}

function mustBlamePeer(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof PeerError)) throw error;
  }
}

function fuzz(what: string, share: number, once: (dice: (sides: number) => number) => void): void {
  test(`${what} give nothing but a PeerError`, (t) => {
    const dice = createDice(SEED);
    const runs = Math.ceil(RUNS * share);
    for (let run = 0; run < runs; run += 1) {
      try {
        once(dice);
      } catch (error) {
        throw new Error(`run ${run} of seed ${SEED}`, { cause: error });
      }
    }
    t.diagnostic(`${runs} runs, seed ${SEED}`);
  });
}

const SUITES = suitesFor("all").filter(({ exchange }) => exchange === "rsa");
const SEALED = SUITES.map((suite) => {
  const randoms = { client: Buffer.alloc(32, 1), server: Buffer.alloc(32, 2) };
  const keys = writeKeys(Buffer.alloc(48), randoms, suite).client;
  const writer = new RecordWriter();
  writer.protect(suite, keys);
  return {
    suite,
    keys,
    wire: Buffer.concat([22, 23, 21].flatMap((type) => writer.write(type, Buffer.alloc(150, type)))),
  };
});

fuzz("Protected records", 0.5, (dice) => {
  const { suite, keys, wire } = SEALED[dice(SEALED.length)]!;
  const reader = new RecordReader("version");
  reader.protect(suite, keys);
  mustBlamePeer(() => {
    reader.push(spoil(wire, dice));
    while (reader.next());
  });
});

const PEERS = new Map(
  CONVERSATIONS.map(({ name }) => [
    name,
    linesOf(name)
      .filter(({ isPeers }) => isPeers)
      .map(({ bytes }) => bytes),
  ]),
);
const [HELLO, FLIGHT] = ["server-rsa-aes128", "client-rsa-rc4"].map((name) => Buffer.concat(PEERS.get(name)!));

fuzz("Messages", 0.3, (dice) => {
  // After the headers of the hello, and of the certificate that follows it.
  const end = 5 + FLIGHT!.readUInt16BE(3);
  const [hello, certificate] = [FLIGHT!.subarray(9, end), FLIGHT!.subarray(end + 9)];
  if (dice(2) === 0) mustBlamePeer(() => readServerHello(spoil(hello, dice)));
  else mustBlamePeer(() => readCertificate(spoil(certificate, dice)));
});

fuzz("First flights", 0.18, (dice) => {
  const side = dice(2) === 0 ? serverOf() : clientOf();
  hear(side, spoil([HELLO, FLIGHT][dice(2)]!, dice));
  side.take();
  hear(side, Buffer.from([22, 3, 0, 0, 4, 0, 0, 0, 0]));
});

/** The saved session that each recorded connection starts with. */
const SESSIONS = new Map<string, SavedSession | undefined>();
for (const conversation of CONVERSATIONS) converse(conversation, () => undefined);

function converse(conversation: Conversation, change: (line: number, bytes: Buffer) => Buffer | undefined): void {
  const { name, resumes } = conversation;
  const { connection, on, established } = speak(
    conversation,
    resumes === undefined ? undefined : SESSIONS.get(resumes),
  );
  connection.take();
  for (const [line, bytes] of PEERS.get(name)!.entries()) {
    const { events } = hear(connection, change(line, bytes) ?? bytes);
    for (const event of events) mustBlamePeer(() => on(event));
    connection.take();
  }
  if (!SESSIONS.has(name)) SESSIONS.set(name, established()?.session);
}

fuzz("Whole conversations", 0.02, (dice) => {
  const conversation = CONVERSATIONS[dice(CONVERSATIONS.length)]!;
  const spoilt = dice(PEERS.get(conversation.name)!.length);
  converse(conversation, (line, bytes) => (line === spoilt ? spoil(bytes, dice) : undefined));
});

test("The connections that the fuzz tests change complete without a change", () => {
  assert.equal([...SESSIONS.values()].filter(Boolean).length, CONVERSATIONS.length);
});
