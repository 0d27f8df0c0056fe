import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { pino } from "pino";
import { until } from "../../test/processes.ts";
import { feedCompliance, SESSION } from "./feed-compliance.ts";
import { createPcapngFeed, type PcapngOptions } from "./pcapng.ts";
import { connectionsIn, readPacket, readPcapng, readPcapngBlocks } from "./test-packets.ts";
import { occupyThreads } from "./test-threads.ts";

let directory: string;
let log: string[];
beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), "clearline-pcapng-")), "captures");
  log = [];
});
afterEach(() => rmSync(join(directory, ".."), { recursive: true, force: true }));

const MIB = 2 ** 20;

function make(options: Partial<PcapngOptions> = {}) {
  const lines = pino({ base: null }, { write: (line) => log.push(JSON.parse(line).msg) });
  return createPcapngFeed({
    name: "archive",
    directory,
    rotate: 100 * MIB,
    keep: 10,
    worker: 0,
    workers: 1,
    flows: ["decrypted"],
    ports: {},
    segment: "mtu",
    log: lines,
    ...options,
  });
}

const names = () => readdirSync(directory).sort();
const files = () => names().map((name) => readFileSync(join(directory, name)));
const packetsNow = () => files().flatMap(readPcapng);

for (const segment of ["mtu", "offload"] as const) {
  feedCompliance(`pcapng, segment: ${segment}`, async () => {
    const feed = await make({ segment });
    return {
      feed,
      ...(segment === "offload" && { checksums: segment }),
      async finish() {
        await feed.close();
        return readdirSync(directory).length === 0 ? [] : packetsNow().map(({ bytes }) => bytes);
      },
    };
  });
}

/** All packets but the handshakes that are made up in a file for sessions that began in an earlier one. */
const ownPackets = () =>
  packetsNow()
    .filter(({ comment }) => comment?.includes("Made up by Clearline") !== true)
    .map(({ bytes }) => bytes);

test("With offloading, packets have whole segments of up to 64 KiB, and the ends name the MTU of Ethernet", async () => {
  const feed = await make({ segment: "offload" });
  const flow = feed.open(SESSION, Date.now());
  flow.data("server", Buffer.alloc(131_072, "x"));
  flow.close();
  await feed.close();
  const packets = packetsNow().map(({ bytes }) => readPacket(bytes, "offload"));
  const sizes = packets.map(({ payload }) => payload.length).filter((length) => length > 0);
  assert.deepEqual(sizes, [64_240, 64_240, 2592]);
  assert.equal(packetsNow()[0]!.bytes.readUInt16BE(42), 1460);
});

test("Packets stay small in small files, with offloading too", async () => {
  const feed = await make({ segment: "offload", rotate: 40_000, keep: 100 });
  const flow = feed.open(SESSION, Date.now());
  flow.data("server", Buffer.alloc(131_072, "x"));
  flow.close();
  await feed.close();
  assert.ok(files().every((file) => file.length <= 40_000));
  const packets = ownPackets();
  assert.ok(Math.max(...packets.map(({ length }) => length)) > 8_000);
  assert.equal(connectionsIn(packets, "offload")[0]?.server.length, 131_072);
});

test("Only the owner can read the files, whose names have the feed, the time and the worker", async () => {
  const feed = await make({ worker: 3, workers: 4 });
  feed.open(SESSION, Date.now()).close();
  const place = feed.place!;
  await feed.close();
  assert.equal(statSync(directory).mode & 0o777, 0o700);
  assert.equal(statSync(place).mode & 0o777, 0o600);
  assert.match(names()[0]!, /^archive-\d{8}T\d{6}\.\d{3}Z-w3\.pcapng$/);
});

test("A session's first packet names it, without control characters of the peer", async () => {
  const feed = await make();
  feed.open({ ...SESSION, host: "a\r\n\u001b[31mb" }, 1_700_000_000_000).close();
  await feed.close();
  const [first, ...rest] = packetsNow();
  assert.equal(
    first?.comment,
    "Clearline session 01JDEMO: a???[31mb; 192.0.2.10 port 50123 to 198.51.100.20 port 443; decrypt by default; TLSv1.3, TLS_AES_128_GCM_SHA256, http/1.1; Community ID 1:DtaCkwNmyoml7Joo2fdSEvFKxGY=",
  );
  assert.equal(first?.time, 1_700_000_000_000_000);
  assert.ok(rest.every(({ comment }) => comment === undefined));
});

test("A comment stays short even with a long host name", async () => {
  const feed = await make();
  feed.open({ ...SESSION, host: "\u{1f512}".repeat(20_000) }, Date.now()).close();
  await feed.close();
  assert.ok(Buffer.byteLength(packetsNow()[0]!.comment!) <= 1024);
});

test("The file of a live session can be read, and has whole packets only", async () => {
  const feed = await make();
  const flow = feed.open(SESSION, Date.now());
  flow.data("client", Buffer.alloc(100_000, "x"));
  await until("the first packets", () => feed.counters().packets > 0);
  assert.equal(packetsNow().length, feed.counters().packets);
  flow.close();
  await until("all packets", () => feed.counters().packets === packetsNow().length && packetsNow().length > 100);
  await feed.close();
  assert.equal(connectionsIn(packetsNow().map(({ bytes }) => bytes))[0]?.client.length, 100_000);
});

test("Large writes end with whole pages, and the fillers between packets keep to the file's limit", async () => {
  const feed = await make({ segment: "offload", rotate: 2 * MIB + 100_000, keep: 100 });
  const flow = feed.open(SESSION, Date.now());
  const sent: Buffer[] = [];
  for (let round = 0; round < 100; round++) {
    sent.push(Buffer.alloc(60_000 + round * 117, `${round} `));
    flow.data("server", sent.at(-1)!);
    await feed.pressure();
  }
  flow.data("client", Buffer.from("a short one"));
  flow.close();
  await feed.close();
  assert.ok(files().length > 2);
  for (const file of files().slice(0, -1)) {
    const fillers = readPcapngBlocks(file).filter(({ type }) => type >= 0x80000000);
    assert.ok(file.length <= 2 * MIB + 100_000);
    assert.ok(fillers.length > 1);
    assert.ok(fillers.every(({ end }) => end % 4096 === 0));
  }
  const [seen] = connectionsIn(ownPackets(), "offload");
  assert.deepEqual(seen?.server, Buffer.concat(sent));
  assert.equal(seen?.client.toString(), "a short one");
});

test("Reused memory shows no bytes of an earlier session", async () => {
  const feed = await make();
  for (let round = 0; round < 20; round++) {
    const flow = feed.open({ ...SESSION, client: { ...SESSION.client, port: 1000 + round } }, Date.now());
    const before = feed.counters().packets;
    flow.data("client", round < 10 ? Buffer.alloc(200_000, 0xff) : Buffer.from("a".repeat(round)));
    flow.close();
    await until("this round's packets", () => feed.counters().packets > before);
  }
  await feed.close();
  assert.equal(connectionsIn(packetsNow().map(({ bytes }) => bytes)).length, 20); // readPcapng checks the padding
});

test("No file exceeds its limit, each names its sessions, and the newest are kept", async () => {
  const feed = await make({ rotate: 20_000, keep: 3 });
  const flow = feed.open(SESSION, Date.now());
  const places = new Set<string>();
  for (let round = 0; round < 30; round++) {
    flow.data("server", Buffer.alloc(5000, "x"));
    places.add(feed.place!);
  }
  flow.close();
  await feed.close();
  assert.ok(places.size > 5);
  assert.deepEqual(
    names().map((name) => join(directory, name)),
    [...places].sort().slice(-3),
  );
  for (const file of files()) {
    assert.ok(file.length <= 20_000);
    const packets = readPcapng(file);
    assert.match(packets[0]!.comment!, /^Clearline session 01JDEMO.*\nMade up by Clearline/);
    // Each has a handshake that fits its packets.
    connectionsIn(packets.map(({ bytes }) => bytes));
  }
});

test("A new file begins at the age limit, and no file is created without packets", async () => {
  const feed = await make({ rotateAfter: 40 });
  const places = new Set<string>();
  let sessions = 0;
  await until("four files", () => {
    feed.open({ ...SESSION, client: { ...SESSION.client, port: ++sessions } }, Date.now()).close();
    places.add(feed.place!);
    return places.size === 4;
  });
  const begun = (place: string) =>
    Date.parse(place.replace(/^.*-(\d{4})(\d\d)(\d\dT\d\d)(\d\d)(\d\d\.\d{3}Z).*$/, "$1-$2-$3:$4:$5"));
  const times = [...places].map(begun);
  const ages = times.slice(1).map((time, index) => time - times[index]!);
  assert.ok(ages.every((age) => age > 39.5));
  await until("all sessions in files", () => feed.counters().packets === sessions * 7);
  // No packet comes for longer than the age limit, so the next packet begins a new file.
  const written = names().length;
  const last = begun(feed.place!);
  await until("a file that is too old", () => Date.now() - last >= 40);
  feed.open(SESSION, Date.now()).close();
  await feed.close();
  assert.equal(names().length, written + 1);
});

test("With a mark, every packet of a decrypted session has its comment, and no other packet has", async () => {
  const feed = await make({ mark: { comment: "seen inside TLS" }, flows: ["decrypted", "notTls"] });
  for (const flow of ["decrypted", "notTls"] as const) feed.open({ ...SESSION, flow }, Date.now()).close();
  await feed.close();
  const comments = packetsNow().map(({ comment }) => comment);
  assert.deepEqual([...new Set(comments.slice(1, 7))], ["seen inside TLS"]);
  assert.match(comments[0]!, /^Clearline session 01JDEMO: .*; decrypt by default; .*\nseen inside TLS$/);
  assert.match(comments[7]!, /^Clearline session 01JDEMO: .*; not TLS by default; [^\n]*$/);
  assert.deepEqual([...new Set(comments.slice(8))], [undefined]);
});

test("A feed wants the sessions of its flow classes and of the rules that it names", async () => {
  const wants = async (filter: Partial<PcapngOptions>) => {
    const feed = await make(filter);
    await feed.close();
    return (
      [
        ["decrypted", "banking"],
        ["decrypted", "default"],
        ["bypassed", "bypass list"],
        ["notTls", undefined],
      ] as const
    )
      .filter(([flow, rule]) => feed.wants({ flow, rule }))
      .map(([flow, rule]) => `${flow} ${rule}`);
  };
  const all = ["decrypted banking", "decrypted default", "bypassed bypass list", "notTls undefined"];
  assert.deepEqual(await wants({ flows: ["decrypted", "bypassed", "notTls"] }), all);
  assert.deepEqual(await wants({ flows: ["notTls", "decrypted"] }), [all[0], all[1], all[3]]);
  assert.deepEqual(await wants({ flows: ["decrypted", "bypassed", "notTls"], rules: ["banking", "bypass list"] }), [
    all[0],
    all[2],
  ]);
  assert.deepEqual(await wants({ flows: ["bypassed"], rules: ["banking"] }), []);
});

test("All files together have every packet once", async () => {
  const feed = await make({ rotate: 5_000, keep: 1000 });
  const flow = feed.open(SESSION, Date.now());
  flow.data("server", Buffer.alloc(500_000, "0123456789"));
  flow.close();
  await feed.close();
  const [seen] = connectionsIn(ownPackets());
  assert.deepEqual(seen?.server, Buffer.alloc(500_000, "0123456789"));
  assert.ok(names().length > 100);
});

test("Workers share the number of kept files, and delete those of workers that no longer exist", async () => {
  mkdirSync(directory, { recursive: true });
  const foreign = [
    "archive-old-20200101T000000.000Z-w0.pcapng",
    "archive-20200101T000000.000Z-w1.pcapng",
    "archive-notes.pcapng",
  ];
  const old = ["archive-20200101T000000.000Z-w0.pcapng", "archive-20200101T000000.000Z-w6.pcapng"];
  for (const name of [...foreign, ...old]) writeFileSync(join(directory, name), "");
  const feed = await make({ keep: 2, worker: 0, workers: 2 });
  feed.open(SESSION, Date.now()).close();
  const place = feed.place!;
  await feed.close();
  assert.deepEqual(
    names().map((name) => join(directory, name)),
    [...foreign.map((name) => join(directory, name)), place].sort(),
  );
});

test("A directory that cannot be made stops the feed, not the sessions, and the feed runs once it can be made", async () => {
  writeFileSync(directory, "a file where the directory should be");
  const feed = await make({ retry: 10 });
  const { state, reason } = feed.counters();
  assert.equal(state, "stopped");
  assert.match(reason!, /\(EEXIST|ENOTDIR\)/);
  assert.equal(feed.place, undefined);
  const flow = feed.open(SESSION, Date.now());
  flow.data("client", Buffer.from("lost"));
  assert.equal(feed.pressure(), undefined);
  assert.ok(feed.counters().dropped > 0);
  await until("a feed that stops", () => log.length > 0);
  rmSync(directory);
  await until("a feed that runs again", () => feed.counters().state === "running");
  flow.data("client", Buffer.from("found"));
  flow.close();
  await feed.close();
  assert.match(packetsNow()[0]!.comment!, /^Clearline session/);
  assert.deepEqual(
    log.map((line) => line.replace(/:.*/, "")),
    ["feed stopped", "feed runs again"],
  );
});

test("A full disk stops the feed until there is room, and the files have whole packets only", async (t) => {
  mkdirSync(directory, { recursive: true });
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=512k", "none", directory], { stdio: "ignore" });
  } catch {
    return t.skip("needs root, to mount a small disk");
  }
  try {
    const feed = await make({ retry: 20 });
    writeFileSync(join(directory, "something-else"), Buffer.alloc(200_000));
    const flow = feed.open(SESSION, Date.now());
    await until("the first packets", () => feed.counters().packets > 0);
    flow.data("server", Buffer.alloc(MIB, "x"));
    await until("a feed that stops", () => log.length > 0);
    assert.equal(log[0], "feed stopped: no space left on device (ENOSPC)");
    // Keep the next file, which the feed may have begun by now.
    readPcapng(readFileSync(join(directory, names().find((name) => name.startsWith("archive-"))!)));
    rmSync(join(directory, "something-else"));
    await until("a feed that runs again", () => feed.counters().state === "running");
    const written = feed.counters().packets;
    flow.data("server", Buffer.from("again"));
    flow.close();
    await until("more packets", () => feed.counters().packets > written);
    await feed.close();
    assert.ok(packetsNow().some(({ bytes }) => bytes.includes("again")));
  } finally {
    execFileSync("umount", [directory]);
  }
});

test("A directory that was removed is made again", async () => {
  const feed = await make();
  const flow = feed.open(SESSION, Date.now());
  await until("the first packets", () => feed.counters().packets > 0);
  rmSync(directory, { recursive: true });
  await until("a file that is missed", () => {
    flow.data("client", Buffer.from("still here"));
    return log.length > 0;
  });
  assert.equal(log[0], "the feed's file was moved or deleted; it is created again");
  flow.close();
  await feed.close();
  assert.ok(packetsNow().some(({ bytes }) => bytes.includes("still here")));
});

test("A disk that hangs holds no session: the feed stops, counts what it leaves out, and runs again", async (t) => {
  const feed = await make({ stall: 50, rotate: 1024 * MIB });
  const flow = feed.open(SESSION, Date.now());
  await until("the first packets", () => feed.counters().packets > 0);
  const hang = occupyThreads();
  t.after(hang.end);
  const chunk = Buffer.alloc(MIB);
  for (let megabyte = 0; megabyte < 6; megabyte++) flow.data("server", chunk);
  await feed.pressure();
  const { state, reason, packets } = feed.counters();
  assert.deepEqual([state, reason], ["stopped", "a write has not ended for 0.05 s"]);
  assert.equal(feed.pressure(), undefined);
  const { dropped } = feed.counters();
  assert.ok(dropped > 0);
  flow.data("client", Buffer.from("lost"));
  assert.ok(feed.counters().dropped > dropped);
  await feed.close();
  hang.end();
  await until("a feed that runs again", () => feed.counters().state === "running");
  assert.ok(feed.counters().packets > packets);
  assert.deepEqual(log, ["feed stopped: a write has not ended for 0.05 s", "feed runs again"]);
});

test("A slow disk causes pressure, and memory stays bounded when it is ignored", async () => {
  const feed = await make({ rotate: 1024 * MIB });
  const flow = feed.open(SESSION, Date.now());
  const chunk = Buffer.alloc(MIB);
  for (let megabyte = 0; megabyte < 3; megabyte++) flow.data("server", chunk);
  assert.equal(feed.pressure(), undefined);
  for (let megabyte = 0; megabyte < 10; megabyte++) flow.data("server", chunk);
  assert.ok(feed.pressure() instanceof Promise);
  assert.equal(feed.counters().dropped, 0);
  for (let megabyte = 0; megabyte < 80; megabyte++) flow.data("server", chunk);
  assert.ok(feed.counters().dropped > 0);
  await feed.pressure();
  assert.equal(feed.pressure(), undefined);
  flow.close();
  await feed.close();
  assert.ok(statSync(join(directory, names()[0]!)).size < 70 * MIB);
});
