import assert from "node:assert/strict";
import { createDecipheriv } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { PeerError } from "../errors.ts";
import { ALERTS } from "../wire/alert.ts";
import { record } from "../wire/record.ts";
import { CIPHERS, createEncryptor } from "./bulk-cipher.ts";
import { type WriteKeys, writeKeys } from "./derivation.ts";
import { createMac, lackingBytes, MACS } from "./mac.ts";
import { type Content, RecordReader, RecordWriter } from "./record-layer.ts";
import { type Suite, suitesFor } from "./suites.ts";

const RANDOMS = { client: Buffer.alloc(32, 1), server: Buffer.alloc(32, 2) };
const keysOf = (suite: Suite): WriteKeys => writeKeys(Buffer.alloc(48, 3), RANDOMS, suite).client;
/** One suite for each way of protecting records. */
const WAYS = [0x0035, 0x002f, 0x000a, 0x0005, 0x0004].map((id) => suitesFor("all").find((suite) => suite.id === id)!);
const BLOCKS = WAYS.filter(({ cipher }) => cipher !== "rc4");
const DATA = 23;

function writerFor(suite: Suite): RecordWriter {
  const writer = new RecordWriter();
  writer.protect(suite, keysOf(suite));
  return writer;
}

function readerFor(suite: Suite): RecordReader {
  const reader = new RecordReader("version");
  reader.requireSsl3();
  reader.protect(suite, keysOf(suite));
  return reader;
}

/** All records in these bytes, in pieces that end at `cuts`. The pieces are copies, because the reader decrypts in place. */
function readAll(reader: RecordReader, bytes: Uint8Array, cuts: readonly number[] = []): Content[] {
  const found: Content[] = [];
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  let at = 0;
  for (const end of ends) {
    reader.push(Buffer.from(bytes.subarray(at, end)));
    for (let one = reader.next(); one; one = reader.next()) {
      found.push({ contentType: one.contentType, content: Buffer.from(one.content) });
    }
    at = end;
  }
  return found;
}

function refusal(read: () => unknown): number {
  try {
    read();
  } catch (error) {
    assert.ok(error instanceof PeerError, String(error));
    return error.alert;
  }
  assert.fail("nothing was refused");
}

const way = fc.constantFrom(...WAYS);
const contents = fc.array(fc.uint8Array({ minLength: 1, maxLength: 400 }), { minLength: 1, maxLength: 6 });

test("One side reads the records of the other wherever the bytes are cut", () => {
  const property = fc.property(way, contents, fc.array(fc.nat()), (suite, written, cuts) => {
    const writer = writerFor(suite);
    const wire = Buffer.concat(written.flatMap((content) => writer.write(DATA, content)));
    const read = readAll(readerFor(suite), wire, cuts);
    assert.deepEqual(Buffer.concat(read.map(({ content }) => content)), Buffer.concat(written));
    assert.ok(read.every(({ contentType }) => contentType === DATA));
  });
  fc.assert(property);
});

test("A change of any bit of a protected record is found, except in the padding, which SSL 3.0 does not protect", () => {
  const property = fc.property(
    way,
    fc.uint8Array({ minLength: 1, maxLength: 100 }),
    fc.nat(),
    (suite, content, place) => {
      const writer = writerFor(suite);
      writer.write(DATA, content);
      const wire = Buffer.concat(writer.write(22, content));
      const bit = place % (wire.length * 8);
      wire[bit >> 3]! ^= 1 << (bit & 7);
      const reader = readerFor(suite);
      const first = writerFor(suite).write(DATA, content);
      readAll(reader, Buffer.concat(first));
      let read: Content[] = [];
      try {
        read = readAll(reader, wire);
      } catch (error) {
        assert.ok(error instanceof PeerError);
        return;
      }
      // With a larger length the reader waits for more. Otherwise only the padding was changed, as POODLE does.
      const waits = wire.readUInt16BE(3) > wire.length - 5;
      const { block } = CIPHERS[suite.cipher];
      const padded = block > 1 && (content.length + MACS[suite.mac].size) % block === 0;
      assert.ok(waits || padded, `bit ${bit} of ${wire.length} bytes`);
      if (!waits) assert.deepEqual(read[0]?.content, Buffer.from(content));
    },
  );
  fc.assert(property, { numRuns: 500 });
});

test("A wrong MAC and a wrong padding give the same error, and no byte of the record", () => {
  for (const suite of BLOCKS) {
    const { block } = CIPHERS[suite.cipher];
    const { size } = MACS[suite.mac];
    const { macSecret, key, iv } = keysOf(suite);
    const seal = (plaintext: Buffer) => record(DATA, 0x0300, createEncryptor(suite.cipher, key, iv)(plaintext));
    const content = Buffer.alloc(3 * block - size, 7);
    const mac = createMac(suite.mac, macSecret)(0, DATA, content);
    const wrongMac = Buffer.from(mac);
    wrongMac[0]! ^= 1;
    const padding = (length: number) => Buffer.concat([Buffer.alloc(block - 1), Buffer.from([length])]);
    assert.equal(readAll(readerFor(suite), seal(Buffer.concat([content, mac, padding(block - 1)]))).length, 1);
    for (const plaintext of [
      Buffer.concat([content, wrongMac, padding(block - 1)]),
      Buffer.concat([content, mac, padding(block)]),
      Buffer.concat([content, mac, padding(0)]),
      Buffer.concat([content, mac, padding(255)]),
      padding(block - 1),
    ]) {
      assert.equal(
        refusal(() => readAll(readerFor(suite), seal(plaintext))),
        ALERTS.bad_record_mac,
      );
    }
  }
});

test("The hash runs the same number of rounds for every length of the padding", () => {
  const rounds = (bytes: number) => Math.ceil((bytes + 9) / 64);
  for (const name of ["md5", "sha1"] as const) {
    const prefix = MACS[name].size + MACS[name].pad + 11;
    for (let longest = 0; longest < 300; longest += 1) {
      for (let padding = 0; padding <= Math.min(longest, 15); padding += 1) {
        const content = longest - padding;
        const done = rounds(prefix + content) + rounds(lackingBytes(name, content, longest));
        assert.equal(done, rounds(prefix + longest) + 1, `${name}, ${longest} bytes, padding ${padding}`);
      }
    }
  }
});

test("Records that exceed a limit are refused before their content arrives", () => {
  const header = (type: number, version: number, length: number) =>
    Buffer.from([type, version >> 8, version & 0xff, length >> 8, length & 0xff]);
  const plain = () => {
    const reader = new RecordReader("version");
    reader.requireSsl3();
    return reader;
  };
  const [suite] = WAYS;
  assert.equal(
    refusal(() => readAll(plain(), header(22, 0x0300, 0x4001))),
    ALERTS.record_overflow,
  );
  assert.equal(
    refusal(() => readAll(readerFor(suite!), header(22, 0x0300, 0x4801))),
    ALERTS.record_overflow,
  );
  assert.equal(
    refusal(() => readAll(plain(), header(24, 0x0300, 1))),
    ALERTS.unexpected_message,
  );
  assert.equal(
    refusal(() => readAll(plain(), header(22, 0x0301, 1))),
    ALERTS.illegal_parameter,
  );
  assert.equal(
    refusal(() => readAll(plain(), Buffer.from([0x80, 0x2e]))),
    ALERTS.unexpected_message,
  );
  assert.equal(
    refusal(() => readAll(new RecordReader("version"), header(22, 0x0200, 1))),
    ALERTS.illegal_parameter,
  );
});

test("Only a limited number of empty records in a row is ignored", () => {
  const empty = record(DATA, 0x0300, Buffer.alloc(0));
  const reader = new RecordReader("version");
  assert.equal(readAll(reader, Buffer.concat(Array(32).fill(empty))).length, 32);
  assert.equal(
    refusal(() => readAll(reader, empty)),
    ALERTS.unexpected_message,
  );
});

test("With block ciphers only application data begins with a record of one byte", () => {
  for (const suite of WAYS) {
    const sizes = (contentType: number, length: number) =>
      readAll(readerFor(suite), Buffer.concat(writerFor(suite).write(contentType, Buffer.alloc(length)))).map(
        ({ content }) => content.length,
      );
    const splits = suite.cipher !== "rc4";
    assert.deepEqual(sizes(DATA, 100), splits ? [1, 99] : [100]);
    assert.deepEqual(sizes(DATA, 1), [1]);
    assert.deepEqual(sizes(DATA, 40_000), splits ? [1, 16_384, 16_384, 7_231] : [16_384, 16_384, 7_232]);
    assert.deepEqual(sizes(22, 100), [100]);
  }
});

test("The IV of each record is the last block of the record before", () => {
  for (const suite of BLOCKS) {
    const { block } = CIPHERS[suite.cipher];
    const writer = writerFor(suite);
    const [, first] = writer.write(22, Buffer.from("first"));
    const [, second] = writer.write(22, Buffer.from("second"));
    const { key } = keysOf(suite);
    const cipher = createDecipheriv(suite.cipher, key, first!.subarray(-block)).setAutoPadding(false);
    assert.equal(cipher.update(second!).subarray(0, 6).toString(), "second");
  }
});

test("Any bytes give records, a wait for more or a PeerError, wherever they are cut", () => {
  const outcome = (bytes: Uint8Array, suite: Suite | undefined, cuts: readonly number[]) => {
    const reader = new RecordReader("hello");
    if (suite) reader.protect(suite, keysOf(suite));
    try {
      return readAll(reader, bytes, cuts);
    } catch (error) {
      assert.ok(error instanceof PeerError, String(error));
      return error.alert;
    }
  };
  const likely = fc
    .tuple(fc.constantFrom(20, 21, 22, 23, 0x80), fc.uint8Array({ maxLength: 80 }))
    .map(([type, content]) => record(type, 0x0300, content));
  const bytes = fc.oneof(
    fc.uint8Array(),
    fc.array(likely, { maxLength: 4 }).map((all) => Buffer.concat(all)),
  );
  const property = fc.property(bytes, fc.option(way, { nil: undefined }), fc.array(fc.nat()), (input, suite, cuts) => {
    assert.deepEqual(outcome(input, suite, cuts), outcome(input, suite, []));
  });
  fc.assert(property, { numRuns: 500 });
});
