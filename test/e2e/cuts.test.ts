import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import { curl } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki } from "../pki.ts";
import { until } from "../processes.ts";

/** "damage" changes one bit of one byte, and cuts nothing. */
const WAYS = ["FIN", "RST", "silence", "damage"] as const;

/** How a connection is cut, and after how many bytes from which side. */
interface Cut {
  readonly from: "client" | "server";
  readonly after: number;
  readonly how: (typeof WAYS)[number];
}

/** Offsets in the ClientHello, the handshake, the request and the answer. */
const PLACES = [0, 1, 5, 6, 44, 100, 250, 400, 517, 560, 600, 640, 700, 800, 1000, 1400, 1800, 2500, 5000, 20_000];

describe("A connection that breaks", needs("openssl", "nginx-light", "curl"), () => {
  let node: TestNode;
  let origin: Nginx;
  let behind: Cutter;
  let ca: string[];

  before(async () => {
    const pki = await makePki();
    origin = await nginx(pki.server.ecdsa, `location = /long { return 200 "${"x".repeat(3000)}"; }`);
    behind = await cutter(origin.port);
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: behind.port },
      config: {
        timeouts: { hello: "1s", handshake: "1s", idle: "2s", drain: "1s" },
        feeds: [{ name: "archive", kind: "pcapng", directory: "./captures" }],
      },
    });
    ca = readFileSync(node.primary, "utf8").split(/(?<=END CERTIFICATE-----\n)/);
  });
  after(async () => {
    await node?.stop();
    behind?.close();
    await origin?.process.stop();
  });

  for (const place of ["before the node", "behind the node"] as const) {
    for (const how of WAYS) {
      test(`${how} ${place}, from either side and at any byte, ends the session and leaves no socket`, async () => {
        const front = await cutter(node.forward("web"));
        const cuts = PLACES.flatMap((after) => [
          { from: "client", after, how } as const,
          { from: "server", after, how } as const,
        ]);
        const visit = async (cut: Cut, version: tls.SecureVersion) => {
          const cutting = place === "before the node" ? front : behind;
          await cutting.next(cut, () => request(front.port, ca, version));
        };
        for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
          await Promise.all(cuts.map((cut) => visit(cut, version)));
        }
        front.close();
        await until("an end to all sessions", async () => (await node.stats()).sessions.live === 0);
      });
    }
  }

  test("The node still serves", async () => {
    const url = `https://after.${DOMAIN}/long`;
    const { code, stdout, stderr } = await curl({ port: node.forward("web") }, node.primary, [url]);
    assert.equal(code, 0, stderr);
    assert.equal(stdout.length, 3000);
    for (const { restarts } of (await node.stats()).workers) assert.equal(restarts, 0);
  });
});

/** Sends one request, and waits for its end, however it ends. */
async function request(port: number, ca: string[], version: tls.SecureVersion): Promise<void> {
  const limits = { minVersion: version, maxVersion: version };
  const socket = tls.connect({ port, host: "127.0.0.1", servername: `cut.${DOMAIN}`, ca, ...limits });
  socket.on("error", () => undefined).resume();
  socket.write(`GET /long HTTP/1.0\r\nX: ${"x".repeat(3000)}\r\n\r\n`);
  await once(socket, "close").catch(() => undefined);
}

interface Cutter {
  readonly port: number;
  /** Cuts the next connection while `act` runs. */
  next(cut: Cut, act: () => Promise<void>): Promise<void>;
  close(): void;
}

/** A relay that applies the next cut of its queue to each new connection. */
async function cutter(target: number): Promise<Cutter> {
  const queue: Cut[] = [];
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = net.connect({ port: target, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    const cut = queue.shift();
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket)).on("error", () => undefined);
    }
    carry(client, upstream, cut?.from === "client" ? cut : undefined);
    carry(upstream, client, cut?.from === "server" ? cut : undefined);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as net.AddressInfo).port,
    async next(cut, act) {
      queue.push(cut);
      await act();
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function carry(from: net.Socket, to: net.Socket, cut: Cut | undefined): void {
  if (cut?.how === "damage") damage(from, cut.after);
  let room = cut === undefined || cut.how === "damage" ? Number.POSITIVE_INFINITY : cut.after;
  const end = () => {
    // Later bytes are lost, but a side's close is not.
    if (cut?.how === "silence") return;
    for (const socket of [from, to]) {
      if (cut?.how === "RST") socket.resetAndDestroy();
      else socket.destroySoon();
    }
  };
  from.on("data", (bytes: Buffer) => {
    const piece = bytes.subarray(0, room);
    room -= piece.length;
    if (piece.length > 0 && !to.destroyed) to.write(piece);
    if (piece.length > 0 && room === 0) end();
  });
  from.on("end", () => (to.destroyed ? undefined : to.end()));
  from.on("close", () => (from.errored === null ? to.destroySoon() : to.resetAndDestroy()));
  if (room === 0) end();
}

/** Changes the buffer in place, before the relay's own listener gets it. */
function damage(from: net.Socket, at: number): void {
  let passed = 0;
  from.on("data", (bytes: Buffer) => {
    const byte = bytes[at - passed];
    if (byte !== undefined) bytes[at - passed] = byte ^ 0x40;
    passed += bytes.length;
  });
}
