import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import { fatalAlert } from "../../src/wire/alert.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { DOMAIN, makePki } from "../pki.ts";
import { until } from "../processes.ts";
import { RECORDED } from "../recorded/client-hello/recorded.ts";

/** How a peer ends its connection. */
const LEAVINGS: Readonly<Record<string, (socket: net.Socket) => void>> = {
  "a FIN": (socket) => socket.end(),
  "a RST": (socket) => socket.resetAndDestroy(),
  "a full close": (socket) => socket.destroy(),
  silence: () => undefined,
};

/** Where a session is cut: inside a record's header, a ServerHello, a certificate, a Finished, the first data. */
const CUTS = [0, 1, 4, 5, 6, 60, 127, 128, 700, 1_500, 2_000, 2_300, 2_700];

/** Answers of a server that are not TLS, or broken TLS. */
const ANSWERS: readonly Buffer[] = [
  Buffer.alloc(0),
  Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"),
  Buffer.from([0x16, 0x03, 0x03]),
  Buffer.from([0x16, 0x03, 0x03, 0xff, 0xff, ...Buffer.alloc(70_000)]),
  Buffer.from([0x16, 0x03, 0x03, 0x00, 0x04, 0x0e, 0x00, 0x00, 0x00]),
  Buffer.from([0x17, 0x03, 0x03, 0x00, 0x10, ...Buffer.alloc(16)]),
  fatalAlert(40),
  fatalAlert(116),
  fatalAlert(121),
  fatalAlert(200),
  Buffer.alloc(100_000, 0x41),
];

describe("Hostile and broken peers", needs("openssl"), () => {
  let node: TestNode;
  let honest: tls.Server;
  let cutting: Cutting;
  let answering: net.Server;
  let behaviour: (socket: net.Socket) => void = () => undefined;
  let workers: readonly { readonly pid: number; readonly restarts: number }[];
  let sockets: number;
  const random = generator(20_261_123);

  before(async () => {
    const pki = await makePki();
    const identity = { cert: readFileSync(pki.server.rsa.certificate), key: readFileSync(pki.server.rsa.key) };
    honest = tls.createServer(identity, (socket) => socket.on("error", () => undefined).pipe(socket));
    honest.on("tlsClientError", () => undefined);
    await once(honest.listen(0, "127.0.0.1"), "listening");
    cutting = await cut((honest.address() as net.AddressInfo).port);
    answering = net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => undefined);
      behaviour(socket);
    });
    await once(answering.listen(0, "127.0.0.1"), "listening");
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { cutting: cutting.port, answering: (answering.address() as net.AddressInfo).port },
      config: {
        timeouts: { connect: "1s", hello: "300ms", handshake: "400ms", idle: "500ms", drain: "100ms" },
        feeds: [{ name: "all", kind: "pcapng", directory: "./captures" }],
        policy: { clientCertificate: { action: "drop", for: "1s" } },
      },
    });
    workers = (await node.stats()).workers.map(({ pid, restarts }) => ({ pid, restarts }));
    await served();
    await quiet();
    sockets = openSockets();
  });
  after(async () => {
    await node?.stop();
    cutting?.close();
    answering?.close();
    honest?.close();
  });

  const openSockets = () => workers.reduce((sum, { pid }) => sum + socketsOf(pid), 0);
  const quiet = () => until("no live session", async () => (await node.stats()).sessions.live === 0);

  /** Asserts that an ordinary client is served, that no session or socket is left, and that no worker has died. */
  async function unharmed(): Promise<void> {
    await served();
    await quiet();
    await until(`${sockets} open sockets`, () => openSockets() <= sockets);
    assert.deepEqual(
      (await node.stats()).workers.map(({ pid, restarts }) => ({ pid, restarts })),
      workers,
    );
    assert.doesNotMatch(node.process.output(), /A bug ended a session|A worker died/);
  }

  /** The node's timeouts are so short that an ordinary client may need another attempt on a busy machine. */
  async function served(): Promise<void> {
    cutting.next = undefined;
    const ca = readFileSync(node.primary, "utf8").split(/(?<=END CERTIFICATE-----\n)/);
    const answer = await until("an honest client is answered", async () => {
      const way = { port: node.forward("cutting"), host: "127.0.0.1", servername: `good.${DOMAIN}`, ca };
      const client = tls.connect(way, () => client.end("hello"));
      client.on("error", () => undefined);
      const bytes = await new Promise((resolve) =>
        client.once("data", resolve).once("close", () => resolve(undefined)),
      );
      client.destroy();
      return bytes !== undefined && String(bytes);
    });
    assert.equal(answer, "hello");
  }

  /** Runs a real client whose connection to the node, or the node's to the server, is cut. Resolves at the client's end. */
  async function attempt(port: number, leave?: { after: number; how: (socket: net.Socket) => void }): Promise<void> {
    const relay = leave && (await cut(port));
    if (relay) relay.next = { from: "client", after: leave.after, leave: leave.how };
    const client = tls.connect({
      port: relay?.port ?? port,
      host: "127.0.0.1",
      servername: `victim.${DOMAIN}`,
      rejectUnauthorized: false,
    });
    client.on("error", () => undefined).on("secureConnect", () => client.write(Buffer.alloc(4096)));
    client.resume();
    await new Promise((resolve) => client.once("close", resolve));
    relay?.close();
  }

  for (const [how, leave] of Object.entries(LEAVINGS)) {
    test(`A server that ends with ${how} at any point of the session leaves no socket and no live session`, async () => {
      for (const at of CUTS) {
        cutting.next = { from: "server", after: at, leave };
        await attempt(node.forward("cutting"));
      }
      await unharmed();
    });

    test(`A client that ends with ${how} at any point of the session leaves no socket and no live session`, async () => {
      cutting.next = undefined;
      await Promise.all(CUTS.map((at) => attempt(node.forward("cutting"), { after: at, how: leave })));
      await unharmed();
    });

    test(`A server that answers nonsense and ends with ${how} leaves no socket and no live session`, async () => {
      for (const when of ["at once", "after the hello"]) {
        for (const answer of ANSWERS) {
          behaviour = (socket) => {
            const answered = () => socket.write(answer, () => leave(socket));
            if (when === "at once") answered();
            else socket.once("data", answered);
          };
          await attempt(node.forward("answering"));
        }
      }
      behaviour = (socket) => socket.destroy();
      await unharmed();
    });
  }

  test("Random bytes, and shortened or changed ClientHellos, leave no socket and no live session", async () => {
    behaviour = (socket) => socket.resume().on("end", () => socket.end());
    const target = (answering.address() as net.AddressInfo).port;
    const hellos = Object.values(RECORDED);
    const connect = Buffer.from(`CONNECT 127.0.0.1:${target} HTTP/1.1\r\n\r\n`);
    const one = async () => {
      const hello = Buffer.from(hellos[random(hellos.length)]!);
      for (let changes = random(6); changes > 0; changes -= 1) hello[random(hello.length)] = random(256);
      const noise = Buffer.from(Array.from({ length: 1 + random(2_000) }, () => random(256)));
      const said = [noise, hello, hello.subarray(0, random(hello.length)), Buffer.concat([hello, noise])][random(4)]!;
      const explicit = random(2) === 0;
      const socket = net.connect(explicit ? node.proxy : node.forward("answering"), "127.0.0.1");
      socket.on("error", () => undefined).resume();
      await once(socket, "connect");
      if (explicit && random(4) > 0) socket.write(connect);
      const leave = Object.values(LEAVINGS)[random(4)]!;
      socket.write(said, () => leave(socket));
      await new Promise((resolve) => socket.once("close", resolve));
    };
    for (let round = 0; round < 6; round += 1) await Promise.all(Array.from({ length: 40 }, one));
    await unharmed();
  });
});

/** How many sockets a process has. Other files come and go by themselves. */
function socketsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith("socket:");
    } catch {
      // It was closed after the listing.
      return false;
    }
  }).length;
}

interface Cutting {
  readonly port: number;
  /** The cut for new connections; undefined: none. */
  next: { from: "client" | "server"; after: number; leave(socket: net.Socket): void } | undefined;
  close(): void;
}

/** A relay to this port that carries one side's bytes up to an offset, and then ends that side's connection. */
async function cut(target: number): Promise<Cutting> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (near) => {
    const far = net.connect({ port: target, host: "127.0.0.1", allowHalfOpen: true });
    for (const socket of [near, far]) {
      sockets.add(socket.on("error", () => undefined));
      socket.once("close", () => sockets.delete(socket));
    }
    const plan = self.next;
    carry(near, far, plan?.from === "client" ? plan : undefined);
    carry(far, near, plan?.from === "server" ? plan : undefined);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const self: Cutting = {
    port: (server.address() as net.AddressInfo).port,
    next: undefined,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
  return self;
}

function carry(from: net.Socket, to: net.Socket, plan: Cutting["next"]): void {
  let left = plan?.after ?? Number.POSITIVE_INFINITY;
  const leave = () => {
    from.pause();
    plan?.leave(to);
  };
  if (left === 0) {
    leave();
    // The side that still waits must end too.
    to.once("close", () => from.destroy());
    return;
  }
  from.on("data", (bytes: Buffer) => {
    const part = bytes.subarray(0, left);
    left -= part.length;
    to.write(part, () => left === 0 && leave());
  });
  from.on("end", () => to.end());
  from.on("close", () => left > 0 && to.destroy());
  to.once("close", () => from.destroy());
}

/** Pseudo-random numbers below `limit`, the same in every run. */
function generator(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}
