import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { pino } from "pino";
import { needs, program } from "../../test/needs.ts";
import { freePort, pause, until } from "../../test/processes.ts";
import type { Feed } from "./feed.ts";
import { feedCompliance, SESSION } from "./feed-compliance.ts";
import { createPcapOverIpFeed, type PcapOverIpOptions } from "./pcap-over-ip.ts";
import { connectionsIn, readDropped, readPcap, readPcapng } from "./test-packets.ts";

let dataDir: string;
let log: string[];
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "clearline-over-ip-"));
  log = [];
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

const MIB = 2 ** 20;

async function make(port: number, options: Partial<PcapOverIpOptions> = {}): Promise<Feed> {
  const lines = pino({ base: null }, { write: (line) => log.push(JSON.parse(line).msg) });
  return createPcapOverIpFeed({
    name: "live",
    address: { host: "127.0.0.1", port },
    format: "pcapng",
    flows: ["decrypted"],
    ports: {},
    segment: "mtu",
    worker: 0,
    workers: 1,
    dataDir,
    log: lines,
    retry: 20,
    ...options,
  });
}

/** A program that reads the feed to its end. It counts as connected once it has received bytes. */
async function connect(port: number) {
  const socket = net.connect(port, "127.0.0.1");
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(socket, "data");
  const all = once(socket, "close").then(() => Buffer.concat(chunks));
  // Tests look for words in the last packets only.
  return { socket, all, has: (words: string) => Buffer.concat(chunks.slice(-8)).includes(words) };
}

const bytesOf = (stream: Buffer) => readPcapng(stream).map(({ bytes }) => bytes);

for (const segment of ["mtu", "offload"] as const) {
  feedCompliance(`pcap-over-ip, segment: ${segment}`, async () => {
    const port = await freePort();
    const feed = await make(port, { segment });
    const { all } = await connect(port);
    return {
      feed,
      ...(segment === "offload" && { checksums: segment }),
      async finish() {
        await feed.close();
        return bytesOf(await all);
      },
    };
  });
}

test("Every client gets all packets while it is connected, and the names of the sessions", async () => {
  const port = await freePort();
  const feed = await make(port);
  const first = await connect(port);
  const flow = feed.open(SESSION, Date.now());
  flow.data("client", Buffer.from("for one"));
  await until("what is for one", () => first.has("for one"));
  const second = await connect(port);
  flow.data("client", Buffer.from(" and for both"));
  flow.close();
  await feed.close();
  const [one, two] = await Promise.all([first.all, second.all]);
  assert.equal(connectionsIn(bytesOf(one))[0]?.client.toString(), "for one and for both");
  // The second has a handshake that was made up, the first only the session's own.
  assert.equal(connectionsIn(bytesOf(two))[0]?.client.toString(), " and for both");
  assert.match(readPcapng(two)[0]!.comment!, /\nMade up by Clearline/);
  assert.ok(!one.includes("Made up by Clearline"));
  assert.ok(!two.includes("for one"));
  for (const { comment } of [readPcapng(one)[0]!, readPcapng(two)[0]!]) assert.match(comment!, /session 01JDEMO/);
});

test("A program that ends its input goes on receiving, and makes room once the feed is full", {
  ...needs("socat"),
}, async () => {
  const port = await freePort();
  const feed = await make(port);
  // As in a service: its input is /dev/null, so it half-closes at once.
  const socat = spawn(program("socat"), ["-t", "60", "-", `TCP4:127.0.0.1:${port}`], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const chunks: Buffer[] = [];
  socat.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  const has = (words: string) => Buffer.concat(chunks).includes(words);
  await reaches(feed, { has }, "first");
  await reaches(feed, { has }, "and still");
  const others = await Promise.all(Array.from({ length: 16 }, () => connect(port)));
  await until("the end of socat, which seemed to have gone", () => socat.exitCode !== null);
  assert.ok(log.includes("a client of the feed has gone"));
  await feed.close();
  for (const { all } of others) await all;
});

test("Without a client no packet is made or counted as left out", async () => {
  const port = await freePort();
  const feed = await make(port);
  const flow = feed.open(SESSION, Date.now());
  flow.data("server", Buffer.alloc(MIB));
  const late = await connect(port);
  flow.data("server", Buffer.from("seen"));
  flow.close();
  await feed.close();
  const { packets, dropped } = feed.counters();
  assert.equal(bytesOf(await late.all).length, packets);
  assert.equal(dropped, 0);
  assert.ok(packets < 10);
});

test("A feed in the pcap format has the same packets with the same times", async () => {
  const port = await freePort();
  const feed = await make(port, { format: "pcap", mark: { comment: "left out here" } });
  const { all } = await connect(port);
  const flow = feed.open(SESSION, 1_700_000_000_123);
  flow.data("server", Buffer.alloc(100_001, "pcap"));
  flow.close();
  await feed.close();
  const packets = readPcap(await all);
  assert.equal(packets[0]?.time, 1_700_000_000_123_000);
  assert.deepEqual(connectionsIn(packets.map(({ bytes }) => bytes))[0]?.server, Buffer.alloc(100_001, "pcap"));
});

/** Resolves when packets of this feed reach the client. It sends sessions on port 9 for that, which tests ignore. */
async function reaches(feed: Feed, client: { has(words: string): boolean }, words: string): Promise<void> {
  await until(`"${words}" at the client`, () => {
    const flow = feed.open({ ...SESSION, client: { ...SESSION.client, port: 9 } }, Date.now());
    flow.data("client", Buffer.from(words));
    flow.close();
    return client.has(words);
  });
}

const notProbes = (packets: readonly Buffer[]) =>
  packets.filter((packet) => packet.readUInt16BE(20) !== 9 && packet.readUInt16BE(22) !== 9);

const hash = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

test("The clients get the packets of every worker, whichever worker starts first", async () => {
  const port = await freePort();
  const others = await Promise.all([1, 2].map((worker) => make(port, { worker, workers: 3 })));
  assert.equal(others[0]!.counters().state, "stopped");
  assert.match(others[0]!.counters().reason!, /^cannot reach worker 0/);
  const feeds = [await make(port, { workers: 3 }), ...others];
  const client = await connect(port);
  for (const [index, feed] of feeds.entries()) await reaches(feed, client, `worker ${index}`);
  assert.deepEqual(
    feeds.map((feed) => feed.counters().state),
    ["running", "running", "running"],
  );
  assert.equal(statSync(join(dataDir, "feeds")).mode & 0o777, 0o700);

  const payloads = feeds.map(() => randomBytes(3 * MIB));
  const flows = feeds.map((feed, index) =>
    feed.open({ ...SESSION, client: { ...SESSION.client, port: 1000 + index } }, Date.now()),
  );
  for (let at = 0; at < 3 * MIB; at += MIB / 8) {
    for (const [index, flow] of flows.entries()) flow.data("server", payloads[index]!.subarray(at, at + MIB / 8));
    await until("a client that reads as fast", () => client.socket.bytesRead > 3 * at - MIB);
  }
  for (const flow of flows) flow.close();
  for (const [index, feed] of feeds.entries()) await reaches(feed, client, `the end of ${index}`);
  for (const feed of feeds.toReversed()) await feed.close();
  assert.ok(!existsSync(join(dataDir, "feeds", "live.sock")));
  const seen = connectionsIn(notProbes(bytesOf(await client.all)));
  assert.deepEqual(seen.map(({ server }) => hash(server)).sort(), payloads.map(hash).sort());
});

test("The other workers find worker 0 when it starts again", async () => {
  const port = await freePort();
  const first = await make(port, { workers: 2 });
  const other = await make(port, { worker: 1, workers: 2 });
  const early = await connect(port);
  await reaches(other, early, "early");
  const known = other.open(SESSION, Date.now());
  known.data("client", Buffer.from("seen early"));
  await until("the session", () => early.has("seen early"));
  early.socket.destroy();
  await first.close();
  await until("a feed without worker 0", () => other.counters().state === "stopped");
  assert.equal(other.place, undefined);
  const second = await make(port, { workers: 2 });
  const client = await connect(port);
  await reaches(other, client, "found");
  // Sessions that were known to an earlier reader begin for this one too.
  known.data("client", Buffer.from("still there"));
  known.close();
  await until("the known session", () => client.has("still there"));
  await other.close();
  await second.close();
  const seen = connectionsIn(notProbes(bytesOf(await client.all)));
  assert.deepEqual(
    seen.map((one) => one.client.toString()),
    ["still there"],
  );
});

test("A slow client misses packets and is told how many; other clients miss none", async () => {
  const port = await freePort();
  const feed = await make(port);
  const quick = await connect(port);
  const slow = await connect(port);
  slow.socket.pause();
  const flow = feed.open(SESSION, Date.now());
  const payload = randomBytes(64 * MIB);
  for (let at = 0; at < payload.length; at += MIB / 4) {
    flow.data("server", payload.subarray(at, at + MIB / 4));
    assert.equal(feed.pressure(), undefined);
    // The fast client is in this process, and reads only while the test waits.
    await until("a quick client", () => quick.socket.bytesRead > at - 8 * MIB);
  }
  await until("all that was said", () => quick.socket.bytesRead > payload.length);
  assert.ok(feed.counters().dropped > 10_000);
  slow.socket.resume();
  await until("a slow client that catches up", () => {
    flow.data("client", Buffer.from("late"));
    return slow.has("late");
  });
  flow.close();
  await feed.close();
  assert.equal(hash(connectionsIn(bytesOf(await quick.all))[0]!.server), hash(payload));
  const { packets, dropped } = feed.counters();
  assert.equal(readPcapng(await slow.all).length + dropped, packets);
  assert.equal(readDropped(await slow.all), dropped);
});

test("A client that takes no bytes is disconnected after a time, one for which no bytes wait is not", async () => {
  const port = await freePort();
  const feed = await make(port, { stall: 1_000 });
  const idle = await connect(port);
  // A longer gap in which no bytes wait.
  await pause(1_200);
  const stuck = await connect(port);
  stuck.socket.pause();
  const flow = feed.open(SESSION, Date.now());
  for (let at = 0; at < 24 * MIB; at += MIB / 4) {
    flow.data("server", Buffer.alloc(MIB / 4));
    await until("a client that reads", () => idle.socket.bytesRead > at - MIB);
  }
  await until("the disconnection", () => log.some((line) => line.endsWith("it is disconnected")));
  flow.data("server", Buffer.from("still here"));
  flow.close();
  await until("the last words", () => idle.has("still here"));
  stuck.socket.destroy();
  await feed.close();
});

test("A feed has sixteen clients at most", async () => {
  const port = await freePort();
  const feed = await make(port);
  const clients = await Promise.all(Array.from({ length: 16 }, () => connect(port)));
  const refused = net.connect(port, "127.0.0.1");
  await once(refused, "close");
  assert.equal(refused.bytesRead, 0);
  await feed.close();
  for (const { all } of clients) assert.ok((await all).length > 0);
});

test("A data folder whose path is too long for a socket stops the feed, and the address stays free", async () => {
  const port = await freePort();
  const feed = await make(port, { workers: 2, dataDir: join(dataDir, "x".repeat(100)) });
  assert.match(feed.counters().reason!, /is longer than 107 bytes: shorten dataDir or the feed's name$/);
  await feed.close();
  const free = net.createServer().listen(port, "127.0.0.1");
  await once(free, "listening");
  free.close();
});

test("An address that is in use stops the feed, which runs when the address is free", async () => {
  const port = await freePort();
  const occupant = net.createServer().listen(port, "127.0.0.1");
  await once(occupant, "listening");
  const feed = await make(port);
  assert.equal(feed.counters().reason, "address already in use (EADDRINUSE)");
  assert.equal(feed.place, undefined);
  occupant.close();
  await until("a feed that runs", () => feed.counters().state === "running");
  assert.equal(feed.place, `127.0.0.1:${port}`);
  await feed.close();
  assert.deepEqual(log, ["feed stopped: address already in use (EADDRINUSE)", "feed runs again"]);
});

const skip = spawnSync("tshark", ["--version"]).error === undefined ? false : "needs tshark";
for (const format of ["pcapng", "pcap"] as const) {
  test(`tshark reads a feed of ${format} live`, { skip }, async () => {
    const port = await freePort();
    const feed = await make(port, { format, mark: { comment: "decrypted by Clearline" } });
    const fields = ["-T", "fields", "-e", "http.request.uri", "-e", "frame.comment"];
    const options = ["-l", "-d", "tcp.port==443,http", "-Y", "http.request", ...fields];
    const tshark = spawn("tshark", ["-i", `TCP@127.0.0.1:${port}`, ...options], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    tshark.stdout.setEncoding("utf8").on("data", (text) => (output += text));
    await until("a tshark that reads", () => log.includes("a client reads the feed"));
    let round = 0;
    await until("a request in tshark", () => {
      round += 1;
      const flow = feed.open({ ...SESSION, client: { ...SESSION.client, port: 2000 + round } }, Date.now());
      flow.data("client", Buffer.from("GET /seen HTTP/1.1\r\nHost: www.example.com\r\n\r\n"));
      flow.close();
      return output.includes("\n");
    });
    await feed.close();
    await once(tshark, "close");
    const comment = format === "pcapng" ? "decrypted by Clearline" : "";
    assert.equal(output.split("\n")[0], `/seen\t${comment}`);
  });
}
