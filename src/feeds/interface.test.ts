import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { closeSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { pino } from "pino";
import { until } from "../../test/processes.ts";
import { openPacketSocket } from "../linux/packet-socket.ts";
import { AF, bindInterface, OPTION, receive, SOCK, setOption, socket } from "../linux/syscalls.ts";
import { enterOwnNamespace, layCable, needsNamespaces } from "../linux/test-network.ts";
import type { Feed } from "./feed.ts";
import { feedCompliance, SESSION } from "./feed-compliance.ts";
import { createInterfaceFeed, type InterfaceOptions } from "./interface.ts";
import { connectionsIn } from "./test-packets.ts";

/** This process is in a namespace of its own, with a veth pair: the feed sends on clm0, and the IDS listens on clm1. */
const MIB = 2 ** 20;
let log: string[] = [];

const run = (program: string, ...args: string[]) =>
  execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
const ip = (...args: string[]) => run("ip", ...args);

function make(options: Partial<InterfaceOptions> = {}): Promise<Feed> {
  log = [];
  const lines = pino({ base: null }, { write: (line) => log.push(JSON.parse(line).msg) });
  return createInterfaceFeed({
    name: "ids",
    interface: "clm0",
    clientMac: "02:43:4c:00:00:0a",
    serverMac: "02:43:4C:00:00:0B",
    flows: ["decrypted"],
    log: lines,
    ports: {},
    retry: 20,
    ...options,
  });
}

/** Receives every frame at the other end of the pair. */
function listen() {
  const EVERY_PROTOCOL = 0x0300; // ETH_P_ALL, in network order
  const fd = socket(AF.PACKET, SOCK.RAW | SOCK.NONBLOCK, EVERY_PROTOCOL);
  setOption(fd, OPTION.RCVBUFFORCE, 256 * MIB);
  bindInterface(fd, Number(/^(\d+):/.exec(ip("-o", "link", "show", "clm1"))![1]));
  const buffer = Buffer.alloc(70_000);
  return {
    frames(): Buffer[] {
      const frames: Buffer[] = [];
      for (let length = receive(fd, buffer); length !== undefined; length = receive(fd, buffer))
        frames.push(Buffer.from(buffer.subarray(0, length)));
      return frames;
    },
    [Symbol.dispose]: () => closeSync(fd),
  };
}

const packetsIn = (frames: readonly Buffer[]) => frames.map((frame) => frame.subarray(14));

describe("A feed on an interface", needsNamespaces(), () => {
  let namespace: Disposable;
  before(() => {
    namespace = enterOwnNamespace();
    layCable("clm0", "clm1");
  });
  after(() => namespace[Symbol.dispose]());

  for (const offload of [true, false]) {
    feedCompliance(`interface, ${offload ? "the kernel" : "the feed"} cuts the segments`, async () => {
      const feed = await make({ offload });
      const listener = listen();
      return {
        feed,
        async finish() {
          await feed.close();
          using _ = listener;
          return packetsIn(listener.frames());
        },
      };
    });
  }

  test("The kernel cuts the segments on a veth, also of tagged frames and over IPv6", async () => {
    const socket = openPacketSocket("clm0", true);
    assert.equal(socket.hasOffload, true);
    socket.close();
    const payload = randomBytes(100_000);
    for (const server of [SESSION.server, { address: "2001:db8::5", port: 443 }]) {
      using listener = listen();
      const feed = await make({ mark: { vlan: 77 } });
      const flow = feed.open({ ...SESSION, server }, Date.now());
      flow.data("server", payload);
      flow.close();
      await feed.close();
      const frames = listener.frames();
      assert.deepEqual(connectionsIn(packetsIn(frames))[0]?.server, payload);
      assert.equal(Math.max(...packetsIn(frames).map(({ length }) => length)), 1500);
    }
  });

  test("Frames have the addresses of their side and the type of their packet", async () => {
    for (const [destinationMac, ends] of [
      [undefined, ["02434c00000b02434c00000a", "02434c00000a02434c00000b"]],
      ["06:00:00:00:00:01", ["06000000000102434c00000a", "06000000000102434c00000b"]],
    ] as const) {
      for (const [server, type] of [
        [SESSION.server, "0800"],
        [{ address: "2001:db8::5", port: 443 }, "86dd"],
      ] as const) {
        using listener = listen();
        const feed = await make({ destinationMac });
        feed.open({ ...SESSION, server }, Date.now()).close();
        await feed.close();
        const [syn, answer] = listener.frames().map((frame) => frame.toString("hex", 0, 14));
        assert.deepEqual(
          [syn, answer],
          ends.map((macs) => macs + type),
        );
      }
    }
  });

  test("No frame is longer than the MTU, and live sessions follow a change of it", async () => {
    using listener = listen();
    const feed = await make();
    const flow = feed.open(SESSION, Date.now());
    const longest = () => Math.max(...packetsIn(listener.frames()).map(({ length }) => length));
    const payload = randomBytes(20_000);
    flow.data("server", payload);
    assert.equal(longest(), 1500);
    ip("link", "set", "clm0", "mtu", "1280");
    await until("packets of the new size", () => {
      flow.data("server", payload);
      return longest() === 1280;
    });
    flow.close();
    await feed.close();
    ip("link", "set", "clm0", "mtu", "1500");
  });

  test("Every byte of a long transfer arrives in order", async () => {
    using listener = listen();
    const feed = await make();
    const flow = feed.open(SESSION, Date.now());
    const payload = randomBytes(32 * MIB);
    const frames: Buffer[] = [];
    for (let at = 0; at < payload.length; at += MIB / 4) {
      flow.data("server", payload.subarray(at, at + MIB / 4));
      assert.equal(feed.pressure(), undefined);
      await new Promise((resolve) => setImmediate(resolve));
      frames.push(...listener.frames());
    }
    flow.close();
    await feed.close();
    frames.push(...listener.frames());
    const hash = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
    assert.equal(hash(connectionsIn(packetsIn(frames))[0]!.server), hash(payload));
    const { packets, bytes, dropped } = feed.counters();
    assert.deepEqual(
      { packets, bytes, dropped },
      { packets: frames.length, bytes: frames.reduce((sum, { length }) => sum + length, 0), dropped: 0 },
    );
  });

  test("A slow interface misses frames, and memory stays bounded", async () => {
    // 10 Mbit/s, with a short queue.
    run("tc", ..."qdisc add dev clm0 root tbf rate 10mbit burst 10kb limit 1mb".split(" "));
    try {
      const feed = await make();
      const flow = feed.open(SESSION, Date.now());
      const chunk = Buffer.alloc(MIB);
      for (let megabyte = 0; megabyte < 40; megabyte++) {
        flow.data("server", chunk);
        assert.equal(feed.pressure(), undefined);
      }
      const { state, packets, dropped } = feed.counters();
      assert.equal(state, "running");
      assert.ok(packets > 0);
      assert.ok(dropped > 0);
      await feed.close();
    } finally {
      run("tc", "qdisc", "del", "dev", "clm0", "root");
    }
  });

  test("An interface that goes down or away stops the feed, which runs again when the interface is back", async () => {
    const feed = await make();
    const flow = feed.open(SESSION, Date.now());
    for (const [go, come, reason] of [
      [() => ip("link", "set", "clm0", "down"), () => ip("link", "set", "clm0", "up"), /the interface is down/],
      [() => ip("link", "del", "clm0"), () => layCable("clm0", "clm1"), /there is no such interface/],
    ] as const) {
      go();
      await until("a feed that says why it stopped", () => {
        flow.data("client", Buffer.from("unseen"));
        return reason.test(feed.counters().reason ?? "");
      });
      assert.equal(feed.place, undefined);
      assert.ok(feed.counters().dropped > 0);
      come();
      await until("a feed that runs again", () => feed.counters().state === "running");
      using listener = listen();
      await until("what is said then", () => {
        flow.data("client", Buffer.from("seen again"));
        return listener.frames().some((frame) => frame.includes("seen again"));
      });
    }
    await feed.close();
    assert.deepEqual(
      log.map((line) => line.replace(/:.*/, "")),
      ["feed stopped", "feed runs again", "feed stopped", "feed runs again"],
    );
  });

  test("An interface that is not Ethernet is refused", async () => {
    ip("tuntap", "add", "clm2", "mode", "tun");
    const feed = await make({ interface: "clm2" });
    assert.match(feed.counters().reason!, /^Cannot send on clm2: It is not an Ethernet interface/);
    await feed.close();
    ip("link", "del", "clm2");
  });

  const tshark = { skip: spawnSync("tshark", ["--version"]).error === undefined ? false : "needs tshark" };
  test("tshark sees the tag of decrypted sessions only, and good checksums", tshark, async () => {
    const fields = ["tcp.srcport", "vlan.id", "http.request.uri", "tcp.checksum.status", "ip.checksum.status"];
    const program = spawn(
      "tshark",
      [
        ...["-l", "-i", "clm1", "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"],
        ...["-d", "tcp.port==443,http", "-Y", "tcp.len > 0", "-T", "fields"],
        ...fields.flatMap((field) => ["-e", field]),
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    let output = "";
    let errors = "";
    program.stdout.setEncoding("utf8").on("data", (text) => (output += text));
    program.stderr.setEncoding("utf8").on("data", (text) => (errors += text));
    await until("a tshark that captures", () => errors.includes("Capturing on"));
    const feed = await make({ flows: ["decrypted", "notTls"], mark: { vlan: 77 } });
    let port = 2000;
    await until("both requests in tshark", () => {
      for (const flow of ["decrypted", "notTls"] as const) {
        const session = feed.open({ ...SESSION, flow, client: { ...SESSION.client, port: ++port } }, Date.now());
        session.data("client", Buffer.from(`GET /${flow} HTTP/1.1\r\nHost: www.example.com\r\n\r\n`));
        session.close();
      }
      return output.includes("notTls");
    });
    await feed.close();
    program.kill();
    await once(program, "close");
    const rows = output
      .trim()
      .split("\n")
      .map((row) => row.split("\t").slice(1).join(" "));
    assert.deepEqual([...new Set(rows)].sort(), [" /notTls 1 1", "77 /decrypted 1 1"]);
  });
});
