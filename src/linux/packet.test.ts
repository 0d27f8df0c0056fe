import assert from "node:assert/strict";
import { SocketAddress } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { readIpHeader, readSyn, readSynAck } from "./packet.ts";

const flags = { syn: 2, synAck: 0x12, ack: 0x10, rst: 4, finSyn: 3, synEcn: 0xc2 };

function tcp(source: number, destination: number, sequence: number, flag: number): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(source, 0);
  header.writeUInt16BE(destination, 2);
  header.writeUInt32BE(sequence, 4);
  header[12] = 0x50;
  header[13] = flag;
  return header;
}

function v4(source: Uint8Array, destination: Uint8Array, options: Uint8Array, payload: Buffer): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x40 | (5 + options.length / 4);
  // With ECN, which is no part of it.
  header[1] = 0xb8 | 1;
  header[8] = 63;
  header[9] = 6;
  header.set(source, 12);
  header.set(destination, 16);
  return Buffer.concat([header, options, payload]);
}

function v6(source: Uint8Array, destination: Uint8Array, next: number, ...payload: Buffer[]): Buffer {
  const header = Buffer.alloc(40);
  header.writeUInt32BE(0x62_91_23_45, 0);
  header[7] = 62;
  header[6] = next;
  header.set(source, 8);
  header.set(destination, 24);
  return Buffer.concat([header, ...payload]);
}

/** An extension header of this many 8-byte units behind its first. */
function extension(next: number, units: number): Buffer {
  const header = Buffer.alloc(8 + 8 * units);
  header[0] = next;
  header[1] = units;
  return header;
}

const A4 = Buffer.from([10, 1, 0, 2]);
const B4 = Buffer.from([10, 2, 0, 2]);
const A6 = Buffer.from("fd000001000000000000000000000002", "hex");
const B6 = Buffer.from("fd000002000000000000000000000002", "hex");
const SYN = tcp(40000, 443, 0xdeadbeef, flags.syn);
const EXPECTED_V4 = {
  family: 4,
  header: { hopLimit: 63, trafficClass: 0xb8 },
  source: { address: "10.1.0.2", port: 40000 },
  destination: { address: "10.2.0.2", port: 443 },
  sequence: 0xdeadbeef,
};
const EXPECTED_V6 = {
  family: 6,
  header: { hopLimit: 62, trafficClass: 0x28 },
  source: { address: "fd00:1::2", port: 40000 },
  destination: { address: "fd00:2::2", port: 443 },
  sequence: 0xdeadbeef,
};

test("An IPv4 SYN gives both ends, with and without IP options", () => {
  assert.deepEqual(readSyn(v4(A4, B4, Buffer.alloc(0), SYN)), EXPECTED_V4);
  assert.deepEqual(readSyn(v4(A4, B4, Buffer.alloc(40, 1), SYN)), EXPECTED_V4);
});

test("An IPv6 SYN gives both ends behind any of the extension headers", () => {
  assert.deepEqual(readSyn(v6(A6, B6, 6, SYN)), EXPECTED_V6);
  assert.deepEqual(readSyn(v6(A6, B6, 0, extension(43, 2), extension(60, 0), extension(6, 1), SYN)), EXPECTED_V6);
  assert.deepEqual(readSyn(v6(A6, B6, 44, extension(6, 0), SYN)), EXPECTED_V6, "an atomic fragment: RFC 6946");
  const authentication = Buffer.alloc(24);
  authentication.set([6, 4]);
  assert.deepEqual(readSyn(v6(A6, B6, 51, authentication, SYN)), EXPECTED_V6);
});

test("A SYN that asks for ECN is a SYN", () => {
  assert.deepEqual(readSyn(v4(A4, B4, Buffer.alloc(0), tcp(40000, 443, 0xdeadbeef, flags.synEcn))), EXPECTED_V4);
});

test("A packet of an established connection is no SYN", () => {
  for (const flag of [flags.synAck, flags.ack, flags.rst, flags.finSyn, 0]) {
    assert.equal(readSyn(v4(A4, B4, Buffer.alloc(0), tcp(1, 2, 3, flag))), undefined);
    assert.equal(readSyn(v6(A6, B6, 6, tcp(1, 2, 3, flag))), undefined);
  }
});

test("Another protocol and a later fragment are no SYN", () => {
  const udp = v4(A4, B4, Buffer.alloc(0), SYN);
  udp[9] = 17;
  const later = v4(A4, B4, Buffer.alloc(0), SYN);
  later.writeUInt16BE(0x2001, 6);
  const laterV6 = v6(A6, B6, 44, Buffer.from([6, 0, 0, 8, 0, 0, 0, 0]), SYN);
  const notTcp = v6(A6, B6, 0, extension(58, 0), SYN);
  for (const packet of [udp, later, laterV6, notTcp]) assert.equal(readSyn(packet), undefined);
});

test("An endless chain of extension headers is no SYN", () => {
  const chain = Array.from({ length: 8 }, (_, i) => extension(i === 7 ? 6 : 60, 0));
  assert.deepEqual(readSyn(v6(A6, B6, 60, ...chain, SYN)), EXPECTED_V6);
  assert.equal(readSyn(v6(A6, B6, 60, extension(60, 0), ...chain, SYN)), undefined);
});

test("A SYN that is cut before its flags is no SYN, whatever the cut", () => {
  for (const whole of [v4(A4, B4, Buffer.alloc(8), SYN), v6(A6, B6, 60, extension(6, 3), SYN)]) {
    for (let length = 0; length < whole.length; length++) {
      const syn = readSyn(whole.subarray(0, length));
      assert.equal(syn !== undefined, length >= whole.length - 6, `cut to ${length} bytes`);
    }
  }
});

test("Any bytes give a SYN or nothing, and never throw", () => {
  const headed = fc
    .tuple(fc.constantFrom(0x40, 0x45, 0x4f, 0x60, 0x6f), fc.uint8Array({ maxLength: 300 }))
    .map(([first, rest]) => Buffer.from([first, ...rest]));
  fc.assert(
    fc.property(fc.oneof(headed, fc.uint8Array({ maxLength: 300 })), (bytes) => {
      const syn = readSyn(Buffer.from(bytes));
      assert.ok(syn === undefined || syn.family === bytes[0]! >> 4);
    }),
    { numRuns: 2000 },
  );
});

test("Addresses are written as Node writes a socket's, so that both name one flow", () => {
  const word = fc.oneof(
    { weight: 2, arbitrary: fc.constant(0) },
    fc.integer({ min: 0, max: 0xffff }),
    fc.constant(0xffff),
  );
  fc.assert(
    fc.property(fc.array(word, { minLength: 8, maxLength: 8 }), (words) => {
      const bytes = Buffer.alloc(16);
      for (const [i, value] of words.entries()) bytes.writeUInt16BE(value, 2 * i);
      const full = words.map((value) => value.toString(16)).join(":");
      const syn = readSyn(v6(bytes, B6, 6, SYN));
      assert.equal(syn?.source.address, new SocketAddress({ address: full, family: "ipv6" }).address);
    }),
    { numRuns: 1000 },
  );
});

test("The answer to a SYN is no SYN, and the other way round", () => {
  const answer = v4(B4, A4, Buffer.alloc(0), tcp(443, 40000, 7, flags.synAck));
  assert.deepEqual(readSynAck(answer)?.destination, EXPECTED_V4.source);
  assert.equal(readSyn(answer), undefined);
  assert.equal(readSynAck(v4(A4, B4, Buffer.alloc(0), SYN)), undefined);
});

test("A packet that is cut, or that is not IP, has no header", () => {
  assert.equal(readIpHeader(Buffer.alloc(0)), undefined);
  assert.equal(readIpHeader(Buffer.alloc(19, 0x45)), undefined);
  assert.equal(readIpHeader(Buffer.alloc(40, 0x50)), undefined);
});
