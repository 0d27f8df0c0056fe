import assert from "node:assert/strict";
import { test } from "node:test";
import type { Feed, FeedSession } from "./feed.ts";
import { type Checksums, connectionsIn, readPacket } from "./test-packets.ts";

export interface FeedUnderTest {
  readonly feed: Feed;
  readonly checksums?: Checksums;
  /** Closes the feed and reads every IP packet at its place, in order. */
  finish(): Promise<Buffer[]>;
}

export const SESSION: FeedSession = {
  id: "01JDEMO",
  client: { address: "192.0.2.10", port: 50123 },
  server: { address: "198.51.100.20", port: 443 },
  host: "www.example.com",
  flow: "decrypted",
  rule: "default",
  description: "TLSv1.3, TLS_AES_128_GCM_SHA256, http/1.1",
};

/** Checks everything that a feed must do, whatever its place is. */
export function feedCompliance(kind: string, make: () => Promise<FeedUnderTest>): void {
  for (const [title, check] of DUTIES) test(`${kind}: ${title}`, async () => check(await make()));
}

const DUTIES: readonly (readonly [title: string, check: (made: FeedUnderTest) => Promise<void>])[] = [
  [
    "a session's bytes are in order, between a handshake and both ends",
    async ({ feed, finish, checksums }) => {
      const flow = feed.open(SESSION, Date.now());
      flow.data("client", Buffer.from("GET / HTTP/1.1\r\n"));
      flow.data("client", Buffer.from("\r\n"));
      flow.data("server", Buffer.alloc(70_001, "answer"));
      flow.end("server", false);
      flow.data("client", Buffer.from("more"));
      flow.close();
      const [seen, ...others] = connectionsIn(await finish(), checksums);
      assert.equal(others.length, 0);
      assert.equal(seen?.client.toString(), "GET / HTTP/1.1\r\n\r\nmore");
      assert.deepEqual(seen?.server, Buffer.alloc(70_001, "answer"));
      assert.deepEqual(seen?.ends, ["FIN of server", "FIN of client"]);
    },
  ],
  [
    "sessions at the same time do not mix",
    async ({ feed, finish, checksums }) => {
      const ports = [50001, 50002, 50003];
      const flows = ports.map((port) => feed.open({ ...SESSION, client: { ...SESSION.client, port } }, Date.now()));
      for (let round = 0; round < 50; round++) {
        for (const [index, flow] of flows.entries())
          flow.data(round % 2 === 0 ? "client" : "server", Buffer.alloc(700 + round, `${index}`));
      }
      for (const flow of flows) flow.close();
      const seen = connectionsIn(await finish(), checksums);
      assert.deepEqual(
        seen.map(({ client }) => client.every((byte) => byte === client[0])),
        [true, true, true],
      );
      assert.deepEqual(seen.map(({ client }) => String.fromCharCode(client[0]!)).sort(), ["0", "1", "2"]);
      for (const { client, server } of seen) assert.equal(client.length + server.length, 50 * 700 + (49 * 50) / 2);
    },
  ],
  [
    "bytes are taken before data() returns",
    async ({ feed, finish, checksums }) => {
      const flow = feed.open(SESSION, Date.now());
      const reused = Buffer.from("first");
      flow.data("client", reused);
      reused.write("other");
      flow.close();
      assert.equal(connectionsIn(await finish(), checksums)[0]?.client.toString(), "first");
    },
  ],
  [
    "a reset is written as a reset",
    async ({ feed, finish, checksums }) => {
      const flow = feed.open(SESSION, Date.now());
      flow.reset("client");
      flow.data("server", Buffer.from("too late"));
      flow.close();
      const [seen] = connectionsIn(await finish(), checksums);
      assert.deepEqual(seen?.ends, ["RST of client"]);
      assert.equal(seen?.server.length, 0);
    },
  ],
  [
    "calls after close do nothing",
    async ({ feed, finish, checksums }) => {
      const flow = feed.open(SESSION, Date.now());
      flow.close();
      flow.data("client", Buffer.from("too late"));
      flow.reset("server");
      flow.close();
      const [seen] = connectionsIn(await finish(), checksums);
      assert.deepEqual(seen?.ends, ["FIN of client", "FIN of server"]);
      assert.equal(seen?.client.length, 0);
    },
  ],
  [
    "a session of an IPv4 client with an IPv6 server is written",
    async ({ feed, finish, checksums }) => {
      feed.open({ ...SESSION, server: { address: "2001:db8::5", port: 443 } }, Date.now()).close();
      const [syn] = (await finish()).map((packet) => readPacket(packet, checksums));
      assert.equal(syn?.to, "20010db8000000000000000000000005:443");
    },
  ],
  [
    "a session without an address leaves no packets",
    async ({ feed, finish }) => {
      const flow = feed.open({ ...SESSION, client: { address: "", port: 0 } }, Date.now());
      flow.data("client", Buffer.from("x"));
      flow.close();
      assert.equal((await finish()).length, 0);
    },
  ],
  [
    "the counters match the packets at the place",
    async ({ feed, finish }) => {
      assert.equal(feed.counters().sessions, 0);
      const flow = feed.open(SESSION, Date.now());
      assert.equal(typeof feed.place, "string");
      flow.data("client", Buffer.from("x"));
      flow.close();
      const packets = await finish();
      const { state, reason, sessions, packets: counted, dropped } = feed.counters();
      assert.deepEqual(
        { state, reason, sessions, counted, dropped },
        { state: "running", reason: undefined, sessions: 1, counted: packets.length, dropped: 0 },
      );
    },
  ],
];
