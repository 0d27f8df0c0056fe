import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Side } from "../vocabulary.ts";
import type { Block } from "./block.ts";
import { type PacketSink, Segments } from "./segments.ts";
import { follow, readPacket } from "./test-packets.ts";

const V4 = { client: { address: "192.0.2.1", port: 40000 }, server: { address: "198.51.100.7", port: 443 } };
const V6 = { client: { address: "2001:db8::1", port: 40000 }, server: { address: "2001:db8::2", port: 443 } };
const MIXED = { client: V4.client, server: V6.server };
const SEQUENCE = { client: 1000, server: 2000 };

/** Each packet in a block of its own, with other bytes before and after it. */
function collect(leaveOut: (packet: number) => boolean = () => false, mtu = 1500, begins = () => false) {
  const packets: Buffer[] = [];
  let count = 0;
  const sink: PacketSink & { block: Block } = {
    mtu,
    longest: mtu,
    leavesChecksums: false,
    madeUp: false,
    begins: () => begins(),
    block: blockOf(Buffer.alloc(0)),
    place(length) {
      count += 1;
      if (leaveOut(count)) return -1;
      const padded = Math.ceil(length / 4) * 4;
      const bytes = Buffer.from(new Uint8Array(8 + padded + 8).fill(0xa5).buffer);
      bytes.fill(0, 8 + length, 8 + padded);
      sink.block = blockOf(bytes);
      packets.push(bytes.subarray(8, 8 + length));
      return 8;
    },
  };
  return { sink, read: () => packets.map((packet) => readPacket(packet)) };
}

function blockOf(bytes: Buffer): Block {
  const { buffer, byteOffset, length } = bytes;
  return {
    bytes,
    words: new Uint32Array(buffer, byteOffset, length / 4),
    view: new DataView(buffer, byteOffset, length),
  };
}

test("A session is a handshake, its bytes with their acknowledgments, and a FIN of each side", () => {
  const { sink, read } = collect();
  const segments = new Segments({ ...V4, sequence: SEQUENCE }, sink);
  segments.open();
  segments.data("client", Buffer.from("question"));
  segments.data("server", Buffer.alloc(1460 * 3 + 1));
  segments.end("server");
  segments.end("client");
  const seen = read().map(
    ({ from, flags, payload }) => `${from.endsWith(":443") ? "server" : "client"} ${flags} ${payload.length}`,
  );
  assert.deepEqual(seen, [
    "client SYN 0",
    "server SYN ACK 0",
    "client ACK 0",
    "client PSH ACK 8",
    "server ACK 0",
    "server ACK 1460",
    "server ACK 1460",
    "client ACK 0",
    "server ACK 1460",
    "server PSH ACK 1",
    "client ACK 0",
    "server FIN ACK 0",
    "client ACK 0",
    "client FIN ACK 0",
    "server ACK 0",
  ]);
});

test("A side that may not be whole is not ended by a FIN, but by a reset at the end of the session", () => {
  const endsOf = (...acts: ((segments: Segments) => void)[]) => {
    const { sink, read } = collect();
    const segments = new Segments({ ...V4, sequence: SEQUENCE }, sink);
    for (const act of acts) act(segments);
    segments.close();
    const ends = read().filter(({ flags }) => /FIN|RST/.test(flags));
    return ends.map(({ from, flags }) => `${from.endsWith(":443") ? "server" : "client"} ${flags}`);
  };
  const says = (side: Side) => (segments: Segments) => segments.data(side, Buffer.from("something"));
  const ends = (side: Side) => (segments: Segments) => segments.end(side);
  const breaks = (side: Side) => (segments: Segments) => segments.end(side, true);
  const cutRequest = endsOf(says("client"), breaks("client"), says("client"), says("server"), ends("server"));
  assert.deepEqual(cutRequest, ["server FIN ACK", "client RST ACK"]);
  const cutAnswer = endsOf(says("client"), says("server"), breaks("server"), says("client"), ends("client"));
  assert.deepEqual(cutAnswer, ["client FIN ACK", "server RST ACK"]);
  const answered = endsOf(says("client"), says("server"), says("client"), breaks("client"), breaks("server"));
  assert.deepEqual(answered, ["client FIN ACK", "server FIN ACK"]);
});

for (const [family, ends] of Object.entries({ IPv4: V4, IPv6: V6, "IPv4 to IPv6": MIXED })) {
  test(`The bytes of both directions come back in order over ${family}, however they are cut`, () => {
    const burst = fc.record({
      side: fc.constantFrom("client" as const, "server" as const),
      bytes: fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc.integer({ min: 0, max: 9000 }).map((length) => new Uint8Array(length).fill(length)),
      ),
    });
    const start = fc.oneof(fc.constantFrom(0, 2 ** 32 - 1, 2 ** 32 - 700), fc.nat(2 ** 32 - 1));
    fc.assert(
      fc.property(fc.array(burst, { maxLength: 12 }), start, start, (bursts, client, server) => {
        const { sink, read } = collect();
        const segments = new Segments({ ...ends, sequence: { client, server } }, sink);
        segments.open();
        for (const { side, bytes } of bursts) segments.data(side, bytes);
        segments.close();
        const conversation = follow(read());
        for (const wanted of ["client", "server"] as const) {
          const sent = Buffer.concat(bursts.filter(({ side }) => side === wanted).map(({ bytes }) => bytes));
          assert.deepEqual(conversation[wanted], sent);
        }
        assert.deepEqual(conversation.ends, ["FIN of client", "FIN of server"]);
      }),
      { numRuns: 200 },
    );
  });
}

test("Of a view of a larger buffer only the view is written", () => {
  const { sink, read } = collect();
  const segments = new Segments({ ...V4, sequence: SEQUENCE }, sink);
  segments.open();
  segments.data("client", new Uint8Array(Buffer.from("..middle..")).subarray(2, 8));
  segments.close();
  assert.equal(follow(read()).client.toString(), "middle");
});

test("Sequence numbers go on from zero after four GiB", () => {
  const { sink, read } = collect();
  const segments = new Segments({ ...V4, sequence: { client: 2 ** 32 - 3, server: 5 } }, sink);
  segments.open();
  segments.data("client", Buffer.from("abcdef"));
  assert.deepEqual(
    read().map(({ sequence, acknowledgment }) => [sequence, acknowledgment]),
    [
      [2 ** 32 - 3, 0],
      [5, 2 ** 32 - 2],
      [2 ** 32 - 2, 6],
      [2 ** 32 - 2, 6],
      [6, 4],
    ],
  );
});

test("A half-closed session still carries the other direction", () => {
  const { sink, read } = collect();
  const segments = new Segments({ ...V6, sequence: SEQUENCE }, sink);
  segments.open();
  segments.end("client");
  segments.data("client", Buffer.from("too late"));
  segments.data("server", Buffer.from("still here"));
  segments.close();
  segments.close();
  const conversation = follow(read());
  assert.equal(conversation.client.length, 0);
  assert.equal(conversation.server.toString(), "still here");
  assert.deepEqual(conversation.ends, ["FIN of client", "FIN of server"]);
});

test("A reset ends both directions", () => {
  const { sink, read } = collect();
  const segments = new Segments({ ...V4, sequence: SEQUENCE }, sink);
  segments.open();
  segments.reset("server");
  segments.data("client", Buffer.from("too late"));
  segments.reset("client");
  segments.close();
  assert.deepEqual(follow(read()).ends, ["RST of server"]);
});

test("A packet that is left out leaves a gap in the sequence numbers", () => {
  const { sink, read } = collect((packet) => packet === 4);
  const segments = new Segments({ ...V4, sequence: SEQUENCE }, sink);
  segments.open();
  segments.data("client", Buffer.from("lost"));
  segments.data("client", Buffer.from("found"));
  const found = read().find(({ payload }) => payload.toString() === "found");
  assert.equal(found?.sequence, SEQUENCE.client + 1 + "lost".length);
});

test("IPv4-mapped addresses of a dual-stack socket are written as IPv4", () => {
  const { sink, read } = collect();
  const segments = new Segments(
    { client: { address: "::ffff:192.0.2.1", port: 1 }, server: V4.server, sequence: SEQUENCE },
    sink,
  );
  segments.open();
  assert.equal(read()[0]?.from, "c0000201:1");
});

test("An IPv4 client of an IPv6 server is written as an IPv4-mapped address, and a zone is left out", () => {
  const { sink, read } = collect();
  const segments = new Segments(
    { client: V4.client, server: { address: "fe80::1%eth0", port: 443 }, sequence: SEQUENCE },
    sink,
  );
  segments.open();
  const [syn] = read();
  assert.equal(syn?.from, "00000000000000000000ffffc0000201:40000");
  assert.equal(syn?.to, "fe800000000000000000000000000001:443");
});

for (const [family, ends, headers] of [
  ["IPv4", V4, 40],
  ["IPv6", V6, 60],
] as const) {
  test(`No packet over ${family} is longer than the sink's MTU, and full ones have that length`, () => {
    for (const mtu of [576, 1280, 9000, 65_535]) {
      const { sink, read } = collect(() => false, mtu);
      const segments = new Segments({ ...ends, sequence: SEQUENCE }, sink);
      segments.open();
      segments.data("server", Buffer.alloc(200_000));
      segments.close();
      assert.equal(Math.max(...read().map(({ payload }) => payload.length)), mtu - headers);
      assert.equal(follow(read()).server.length, 200_000);
    }
  });
}

test("For a reader that comes late a handshake is made up, whose numbers lead to the next packet's", () => {
  for (const ended of [[], ["client"], ["server"]] as const) {
    let late = false;
    const { sink, read } = collect(undefined, 1500, () => {
      const begins = late;
      late = false;
      return begins;
    });
    const segments = new Segments({ ...V4, sequence: { client: 0, server: 2 ** 32 - 1 } }, sink);
    segments.open();
    segments.data("client", Buffer.from("before"));
    for (const side of ended) segments.end(side);
    const before = read().length;
    late = true;
    const [from] = (["client", "server"] as const).filter((side) => side !== ended[0]);
    segments.data(from!, Buffer.from("after"));
    segments.close();
    const seen = follow(read().slice(before));
    assert.equal(seen[from!].toString(), "after");
    assert.deepEqual([...seen.ends].sort(), ["FIN of client", "FIN of server"]);
  }
});
