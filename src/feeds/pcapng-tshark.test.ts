import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pino } from "pino";
import type { Feed } from "./feed.ts";
import { SESSION } from "./feed-compliance.ts";
import { createPcapngFeed } from "./pcapng.ts";

/** Reads the files with Wireshark. A real HTTP client and server speak through a relay that copies their bytes to the feed. */

const directory = mkdtempSync(join(tmpdir(), "clearline-tshark-"));
after(() => rmSync(directory, { recursive: true, force: true }));

const skip = spawnSync("tshark", ["--version"]).error === undefined ? false : "needs tshark";

const OPTIONS = {
  directory,
  rotate: 1e9,
  keep: 9,
  worker: 0,
  workers: 1,
  flows: ["decrypted"],
  ports: {},
  segment: "offload",
  log: pino({ level: "silent" }),
} as const;

const CHECKSUMS = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"];
/** Port 443 is TLS for Wireshark. Its HTTP dissector also knows HTTP/2 by its preface. */
const AS_HTTP = ["-d", "tcp.port==443,http"];

/** The fields of the packets that match `filter`, one row for each packet. */
function dissect(file: string, options: string[], filter: string, ...fields: string[]): string[] {
  const columns = fields.flatMap((field) => ["-e", field]);
  const args = ["-r", file, ...CHECKSUMS, ...options, "-Y", filter, "-T", "fields", ...columns];
  return execFileSync("tshark", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
    .split("\n")
    .filter((line) => line !== "");
}

/** Runs `talk` with the server through the relay, and answers the file that the feed wrote. */
async function capture(server: net.Server, name: string, talk: (origin: string) => Promise<void>): Promise<string> {
  const feed = await createPcapngFeed({ ...OPTIONS, name });
  const target = await listen(server);
  const relay = net.createServer((client) => relayInto(feed, client, target));
  const port = await listen(relay);
  await talk(`http://127.0.0.1:${port}`);
  relay.close();
  server.close();
  await once(relay, "close");
  const file = feed.place!;
  await feed.close();
  return file;
}

async function listen(server: net.Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as net.AddressInfo).port;
}

function relayInto(feed: Feed, client: net.Socket, target: number): void {
  const flow = feed.open({ ...SESSION, client: { address: "192.0.2.10", port: client.remotePort! } }, Date.now());
  const server = net.connect(target, "127.0.0.1");
  client
    .on("data", (bytes) => flow.data("client", bytes as Buffer))
    .on("end", () => flow.end("client", false))
    .pipe(server);
  server
    .on("data", (bytes) => flow.data("server", bytes as Buffer))
    .on("end", () => flow.end("server", false))
    .pipe(client);
  client.on("close", () => flow.close());
}

for (const segment of ["mtu", "offload"] as const) {
  test(`With segment: ${segment}, tshark finds nothing missing, over IPv4 and IPv6`, { skip }, async () => {
    const feed = await createPcapngFeed({ ...OPTIONS, name: `sums-${segment}`, segment });
    for (const address of ["198.51.100.20", "2001:db8::5"]) {
      const flow = feed.open({ ...SESSION, server: { address, port: 8000 } }, Date.now());
      for (let length = 0; length < 100; length++)
        flow.data(length % 3 === 0 ? "client" : "server", Buffer.alloc(length * 97, length));
      flow.data("server", Buffer.alloc(1_000_000));
      flow.end("client", false);
      flow.close();
    }
    const file = feed.place!;
    await feed.close();
    const filter = segment === "mtu" ? "tcp" : "tcp.len == 0";
    const all = dissect(file, [], filter, "tcp.checksum.status", "ip.checksum.status");
    assert.ok(all.length > 200);
    assert.deepEqual([...new Set(all)].sort(), ["1\t", "1\t1"]);
    const faults = "tcp.analysis.flags || tcp.reassembled_in || _ws.malformed";
    assert.deepEqual(dissect(file, [], faults, "frame.number", "tcp.analysis.flags"), []);
  });
}

test("Every rotated file has sessions that tshark accepts, from a handshake that is marked as made up", {
  skip,
}, async () => {
  const options = { name: "rotated", rotate: 12_000, keep: 99, ports: { 443: 80 }, segment: "mtu" } as const;
  const feed = await createPcapngFeed({ ...OPTIONS, ...options });
  const flow = feed.open(SESSION, Date.now());
  for (let round = 0; round < 12; round++) {
    flow.data("client", Buffer.from(`GET /${round} HTTP/1.1\r\nHost: a.example\r\n\r\n`));
    flow.data("server", Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n${"x".repeat(3000)}`));
  }
  flow.end("client", false);
  flow.close();
  await feed.close();
  const files = readdirSync(directory).filter((name) => name.startsWith("rotated-"));
  assert.ok(files.length > 3);
  const fields = ["tcp.analysis.flags", "tcp.stream", "tcp.completeness", "http.request.uri", "frame.comment"];
  const seen = files.sort().map((name) => {
    const rows = dissect(join(directory, name), [], "tcp", ...fields).map((row) => row.split("\t"));
    assert.deepEqual([...new Set(rows.map(([flags, stream]) => `${flags} in ${stream}`))], [" in 0"]);
    // SYN, SYN-ACK and ACK: the first three bits.
    assert.equal(Number(rows.at(-1)![2]) & 7, 7);
    const isMadeUp = rows.slice(0, 3).map((row) => row[4]?.includes("Made up by Clearline") === true);
    return { isMadeUp, requests: rows.map((row) => row[3]).filter(Boolean) };
  });
  const madeUp = seen.map(({ isMadeUp }) => isMadeUp.join());
  assert.deepEqual(madeUp, ["false,false,false", ...files.slice(1).map(() => "true,true,true")]);
  const wanted = Array.from({ length: 12 }, (_, round) => `/${round}`);
  assert.deepEqual(
    seen.flatMap(({ requests }) => requests),
    wanted,
  );
});

test("tshark dissects HTTP/1.1 on port 443 without options, and shows the session's name", { skip }, async () => {
  const server = http.createServer((request, response) => response.end(`${request.url} ${"x".repeat(20_000)}`));
  const file = await capture(server, "http1", async (origin) => {
    for (const path of ["/first", "/second"])
      await (await fetch(`${origin}${path}`, { headers: { connection: "close" } })).text();
  });
  assert.deepEqual(dissect(file, [], "http.request", "http.request.uri"), ["/first", "/second"]);
  assert.deepEqual(dissect(file, [], "http.response", "http.response.code"), ["200", "200"]);
  assert.equal(dissect(file, [], 'frame.comment contains "www.example.com"', "frame.number").length, 2);
});

test("tshark dissects HTTP/2 on port 443 when it is told to decode it as HTTP", { skip }, async () => {
  const server = http2.createServer((request, response) => response.end(`${request.url} ${"x".repeat(20_000)}`));
  const file = await capture(server, "http2", async (origin) => {
    const client = http2.connect(origin);
    await Promise.all(["/first", "/second"].map((path) => read(client, path)));
    client.close();
    await once(client, "close");
  });
  const requests = dissect(file, AS_HTTP, "http2.headers.path", "http2.headers.path").join().split(",");
  assert.deepEqual(requests.sort(), ["/first", "/second"]);
  assert.deepEqual(dissect(file, AS_HTTP, "http2.headers.status", "http2.headers.status").join().split(","), [
    "200",
    "200",
  ]);
  assert.deepEqual(dissect(file, AS_HTTP, "_ws.malformed", "frame.number"), []);
});

async function read(client: http2.ClientHttp2Session, path: string): Promise<void> {
  const stream = client.request({ ":path": path });
  stream.resume().end();
  await once(stream, "end");
}
