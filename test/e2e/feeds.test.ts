import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, statSync, writeFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { enterOwnNamespace, layCable, needsNamespaces } from "../../src/linux/test-network.ts";
import { curl, curlArguments } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki } from "../pki.ts";
import { freePort, must, type Program, pause, scratch, start, until } from "../processes.ts";

const MIB = 2 ** 20;
const PRIVATE = `private.${DOMAIN}`;

const skip =
  needs("openssl", "nginx-light", "curl", "tshark", "tcpdump", "iproute2").skip || needsNamespaces().skip || false;

/** In a network namespace of its own, where a cable leads from clf0, which the node feeds, to clf1, where an IDS would listen. */
describe("Feeds and their readers", { skip }, () => {
  let namespace: Disposable;
  let node: TestNode;
  let origin: Nginx;
  let overIp: number;
  let root: string;
  let probes = 0;
  const payload = randomBytes(100 * MIB);
  const folder = scratch();
  const programs: Program[] = [];

  before(async () => {
    namespace = enterOwnNamespace();
    layCable("clf0", "clf1");
    const pki = await makePki();
    root = pki.root.certificate;
    origin = await nginx(pki.server.ecdsa);
    writeFileSync(join(origin.files, "large"), payload);
    writeFileSync(join(origin.files, "small"), "small");
    overIp = await freePort();
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: origin.port },
      config: {
        policy: { rules: [{ name: "private", match: { host: PRIVATE }, action: "bypass" }] },
        feeds: [
          { name: "live", kind: "pcap-over-ip", address: `127.0.0.1:${overIp}` },
          { name: "ids", kind: "interface", interface: "clf0" },
          { name: "keys", kind: "keylog", file: "./keys/tls.log" },
          { name: "archive", kind: "pcapng", directory: "./captures", rotate: "1GiB", rules: ["default"] },
          { name: "sealed", kind: "pcapng", directory: "./sealed", flows: ["bypassed"], rules: ["private"] },
        ],
      },
    });
  });
  after(async () => {
    for (const one of programs) await one.stop("SIGKILL");
    await node?.stop();
    await origin?.process.stop();
    namespace?.[Symbol.dispose]();
  });

  const request = async (host: string, path: string, ...more: string[]) => {
    const url = `https://${host}/${path}`;
    const way = { port: node.forward("web") };
    const roots = host === PRIVATE ? root : node.primary;
    const { code, stderr } = await curl(way, roots, ["--http1.1", ...more, url]);
    assert.equal(code, 0, stderr);
    return node.session(host);
  };

  test("tshark reads the same 100 MiB from pcap-over-ip and from the interface that curl received", async () => {
    const captures = [
      await capture("live", ["-i", `TCP@127.0.0.1:${overIp}`]),
      // The buffer holds all packets: packets that the kernel drops between two reads would not be the feed's fault.
      await capture("ids", ["-i", "clf1", "-B", "192"]),
    ];
    const received = join(folder, "received");
    const host = `large.${DOMAIN}`;
    const session = await download(
      host,
      received,
      captures.map(({ file }) => file),
    );
    const wanted = sha256(payload);
    assert.equal(sha256(readFileSync(received)), wanted);
    assert.deepEqual(session.feeds["live"], `127.0.0.1:${overIp}`);
    assert.deepEqual(session.feeds["ids"], "clf0");

    // A later session in the capture shows that all packets before it have arrived.
    for (const one of captures) await one.reaches(() => request(`${one.name}-${++probes}.${DOMAIN}`, "small"));
    await Promise.all(
      captures.map(async ({ file, program }) => {
        await program.stop("SIGINT");
        assert.equal(await transferred(file, session.client.port, origin.port), wanted, file);
      }),
    );
    for (const feed of (await node.stats()).feeds) {
      assert.deepEqual([feed.name, feed.state, feed.dropped], [feed.name, "running", 0]);
      if (feed.name === "live" || feed.name === "ids") assert.ok(feed.bytes > payload.length, JSON.stringify(feed));
    }
  });

  /** Downloads with curl, which is paused while the captures are behind: the test is not about tshark's speed. */
  async function download(host: string, file: string, captures: readonly string[]) {
    const more = ["--http1.1", "--limit-rate", "16M", "-o", file, `https://${host}/large`];
    const client = start(program("curl"), curlArguments({ port: node.forward("web") }, node.primary, more));
    programs.push(client);
    let over = false;
    void client.ended.then(() => {
      over = true;
    });
    const behind = () => Math.max(0, ...captures.map((capture) => sizeOf(file) - sizeOf(capture))) > 4 * MIB;
    for (const end = Date.now() + 180_000; !over; ) {
      assert.ok(Date.now() < end, "the captures have fallen behind");
      process.kill(client.pid, behind() ? "SIGSTOP" : "SIGCONT");
      await pause(10);
    }
    assert.equal((await client.ended).code, 0);
    return node.session(host);
  }

  /** tshark, which writes all packets to a file. */
  async function capture(name: string, from: string[]) {
    const file = join(folder, `${name}.pcapng`);
    const running = start(program("tshark"), [...from, "-w", file]);
    programs.push(running);
    await running.shows(/Capturing on/);
    const reaches = async (knock: () => Promise<unknown>) => {
      await until(`a session in ${file}`, async () => {
        await knock();
        return endOf(file).includes(`Host: ${name}-`);
      });
    };
    // The capture is ready once a first session is in it.
    await reaches(() => request(`${name}-${++probes}.${DOMAIN}`, "small"));
    return { name, file, program: running, reaches };
  }

  const live = async () => (await node.stats()).feeds.find(({ name }) => name === "live")!;

  test("A reader that reads nothing loses packets, and the session does not wait for it", async () => {
    const idle = net.connect(overIp, "127.0.0.1").pause();
    await once(idle, "connect");
    // A worker may not know of the reader yet when the first session begins, and workers report their counts once a second.
    await until("1,000 packets left out", async () => {
      await request(`hasty-${++probes}.${DOMAIN}`, "large", "-o", "/dev/null");
      return (await live()).dropped > 1_000;
    });
    assert.equal((await live()).state, "running");
    idle.destroy();
  });

  test("With the key log tshark decrypts tcpdump's capture of both legs", async () => {
    const file = join(folder, "wire.pcap");
    const tcpdump = start(program("tcpdump"), ["-i", "lo", "-U", "-w", file, "tcp"]);
    await tcpdump.shows(/listening on/);
    for (const version of ["1.2", "1.3"]) {
      const host = `keys-${version.replace(".", "-")}.${DOMAIN}`;
      const session = await request(host, `small?${version}`, `--tlsv${version}`, "--tls-max", version);
      const keys = session.feeds["keys"]!;
      assert.equal(keys, join(node.folder, "keys/tls.log"));
      assert.equal(statSync(keys).mode & 0o777, 0o600);
      const ports = [node.forward("web"), origin.port];
      const seen = await until("both legs' requests, decrypted", async () => {
        const rows = await must(program("tshark"), [
          ...["-r", file, "-o", `tls.keylog_file:${keys}`],
          ...ports.flatMap((port) => ["-d", `tcp.port==${port},tls`]),
          ...["-Y", `http.request.uri contains "${version}"`, "-T", "fields", "-e", "tcp.dstport"],
        ]);
        const found = rows.trim().split("\n").filter(Boolean).map(Number).sort();
        return found.length === 2 && found;
      });
      assert.deepEqual(seen, ports.toSorted());
    }
    await tcpdump.stop();
    assert.match(node.process.output(), /feeds\[2\] WRITES THE TLS KEYS OF EVERY SESSION/);
    assert.match((await node.command("check")).stdout, /Warning: feeds\[2\] WRITES THE TLS KEYS OF EVERY SESSION/);
  });

  test("A feed of bypassed sessions has their TLS bytes, and the other feeds do not have these sessions", async () => {
    const session = await request(PRIVATE, "small");
    assert.equal(session.verdict, "bypass");
    assert.deepEqual(Object.keys(session.feeds), ["sealed"]);
    const file = session.feeds["sealed"]!;
    const names = await until("the session's packets", async () => {
      if (!existsSync(file)) return false;
      const options = ["-r", file, "-d", `tcp.port==${origin.port},tls`, "-Y", "tls.handshake.type == 1"];
      return (
        await must(program("tshark"), [...options, "-T", "fields", "-e", "tls.handshake.extensions_server_name"])
      ).trim();
    });
    assert.equal(names, PRIVATE);
    assert.match(
      readFileSync(file, "latin1"),
      new RegExp(`session ${session.id}: ${PRIVATE}; .*; bypass by private; `),
    );
  });

  test("The start, check and stats show every feed with its place", async () => {
    const [check, stats] = await Promise.all([node.command("check"), node.command("stats")]);
    for (const [name, kind, place] of [
      ["live", "pcap-over-ip", `127.0.0.1:${overIp}`],
      ["ids", "interface", "clf0"],
      ["keys", "keylog", join(node.folder, "keys/tls.log")],
      ["archive", "pcapng", node.captures],
    ]) {
      assert.ok(node.process.output().includes(`  feed      ${place}  (${name}, ${kind})\n`), node.process.output());
      assert.ok(check.stdout.includes(`${name}: ${kind}, ${place}`), check.stdout);
      assert.match(stats.stdout, new RegExp(`${name} +${kind} +running`));
    }
    assert.equal(statSync(join(node.folder, "data/feeds")).mode & 0o777, 0o700);
  });

  test("A reload that changes a feed's flows keeps its address", async () => {
    node.rewrite({
      feeds: [{ name: "live", kind: "pcap-over-ip", address: `127.0.0.1:${overIp}`, flows: ["decrypted"] }],
    });
    await node.api("reload", "POST");
    await until("the feed at its address", async () =>
      (await node.stats()).feeds.every(({ name, state }) => name === "live" && state === "running"),
    );
  });
});

/** The SHA-256 of the body that the server sent on this connection. Fails when a segment is missing or out of order. */
async function transferred(file: string, client: number, server: number): Promise<string> {
  const options = ["-o", "tcp.desegment_tcp_streams:FALSE", "--disable-protocol", "http", "--disable-protocol", "tls"];
  const filter = `tcp.srcport == ${server} && tcp.dstport == ${client} && tcp.len > 0`;
  const fields = ["-T", "fields", "-e", "tcp.seq", "-e", "tcp.payload"];
  const tshark = spawn(program("tshark"), ["-r", file, ...options, "-Y", filter, ...fields], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const hash = createHash("sha256");
  let next = 1;
  let inBody = false;
  for await (const line of createInterface({ input: tshark.stdout })) {
    const [sequence, hex = ""] = line.split("\t");
    const bytes = Buffer.from(hex, "hex");
    assert.equal(Number(sequence), next, "the next segment follows the last");
    next += bytes.length;
    const head = inBody ? 0 : bytes.indexOf("\r\n\r\n") + 4;
    inBody = true;
    hash.update(bytes.subarray(head));
  }
  if (tshark.exitCode === null) await once(tshark, "close");
  return hash.digest("hex");
}

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/** The last mebibyte of a growing file. */
function endOf(file: string): Buffer {
  if (!existsSync(file)) return Buffer.alloc(0);
  const fd = openSync(file, "r");
  const { size } = fstatSync(fd);
  const end = Buffer.alloc(Math.min(size, MIB));
  readSync(fd, end, 0, end.length, size - end.length);
  closeSync(fd);
  return end;
}
