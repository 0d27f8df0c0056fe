import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import type { End } from "../engine/end.ts";
import { BROKEN, END, RESET } from "../engine/layer.ts";
import { readBytes, readToEnd, writeAll } from "../engine/test-ends.ts";
import { until } from "../engine/wait.ts";
import type { Leg } from "./leg.ts";

/** A leg that is up on its end, with the peer at the other end of the connection. */
export interface Pair {
  readonly leg: Leg;
  readonly end: End;
  readonly peer: Peer;
  close(): void;
}

/** Another TLS implementation, or another end of the engine. */
export interface Peer {
  send(bytes: Buffer): void;
  /** Ends its direction, with close_notify. */
  end(): void;
  /** The next bytes of the leg's. Nothing is read before. */
  receive(length: number): Promise<Buffer>;
  /** Resolves once the leg has ended its direction. */
  ended(): Promise<void>;
  /** Resolves with the code of the error that breaks the connection. */
  broken(): Promise<string>;
  /** Puts bytes on the connection, below TLS. */
  raw(bytes: Buffer): void;
  reset(): void;
}

const MIB = 1024 * 1024;

/** What every leg must do, whatever speaks TLS for it. The relay relies on each of these. */
export function testLeg(name: string, open: () => Promise<Pair>): void {
  const check = (claim: string, body: (pair: Pair) => Promise<void>) =>
    test(`${name} ${claim}`, async () => {
      const pair = await open();
      try {
        await body(pair);
      } finally {
        pair.close();
      }
    });

  check("names what was negotiated", async ({ leg: { negotiated } }) => {
    assert.match(negotiated.version, /^(SSLv3|TLSv1(\.[123])?)$/);
    assert.match(negotiated.suite, /^(TLS|SSL)_[A-Z0-9_]+$/);
  });

  check("carries bytes both ways, unchanged and in order", async ({ end, peer }) => {
    const bytes = randomBytes(3 * MIB + 1);
    peer.send(bytes);
    assert.ok((await readBytes(end, bytes.length)).bytes.equals(bytes));
    const [back] = await Promise.all([peer.receive(bytes.length), writeAll(end, bytes)]);
    assert.ok(back.equals(bytes));
  });

  check("hears the peer's end and can still send", async ({ end, peer }) => {
    peer.send(Buffer.from("last"));
    peer.end();
    const { bytes, last } = await readToEnd(end);
    assert.deepEqual([String(bytes), last], ["last", END]);
    const heard = peer.receive(5);
    await writeAll(end, Buffer.from("after"));
    assert.equal(String(await heard), "after");
  });

  check("ends its own direction and still hears the peer", async ({ end, peer }) => {
    assert.ok(end.finish());
    end.fin();
    await peer.ended();
    peer.send(Buffer.from("after"));
    assert.equal(String((await readBytes(end, 5)).bytes), "after");
  });

  check("tells of the peer's reset", async ({ end, peer }) => {
    peer.reset();
    assert.equal((await readToEnd(end)).last, RESET);
  });

  check("breaks, and tells the peer, when a record is not authentic", async ({ leg, end, peer }) => {
    const told = peer.broken();
    const minor = { SSLv3: 0, TLSv1: 1, "TLSv1.1": 2 }[leg.negotiated.version] ?? 3;
    peer.raw(Buffer.concat([Buffer.from([23, 3, minor, 0, 64]), randomBytes(64)]));
    assert.equal((await readToEnd(end)).last, BROKEN);
    assert.match(end.layer!.failure!.code, /^ERR_SSL_/);
    assert.match(await told, /ALERT_(BAD_RECORD_MAC|DECRYPTION_FAILED)/);
  });

  check("is reset with its end", async ({ end, peer }) => {
    const broken = peer.broken();
    end.reset();
    assert.equal(await broken, "ECONNRESET");
  });

  check("pushes back when the peer does not read, and drains when it does", async ({ end, peer }) => {
    let sent = 0;
    const { loop } = end;
    const more = () => {
      while (end.flush()) {
        assert.ok(sent < 64 * MIB, `${sent} bytes were taken without the peer reading`);
        end.write(loop.scratchAt, loop.scratch.length);
        sent += loop.scratch.length;
      }
    };
    more();
    await Promise.all([
      peer.receive(sent),
      until([end], () => end.flush() || undefined, { timeout: 20_000, late: "It did not drain" }),
    ]);
  });
}

/** A TLS stream of Node's, and the connection below it. */
export function nodePeer(stream: Duplex, socket: Socket): Peer {
  return {
    send: (bytes) => void stream.write(bytes),
    end: () => void stream.end(),
    async receive(length) {
      const pieces: Buffer[] = [];
      let missing = length;
      while (missing > 0) {
        const piece: Buffer | null = stream.read();
        if (piece === null) {
          await once(stream, "readable");
          continue;
        }
        pieces.push(piece.subarray(0, missing));
        if (piece.length > missing) stream.unshift(piece.subarray(missing));
        missing -= Math.min(missing, piece.length);
      }
      return Buffer.concat(pieces);
    },
    async ended() {
      await once(stream.resume(), "end");
    },
    async broken() {
      const [error] = await once(stream.resume(), "error");
      return error.code;
    },
    raw: (bytes) => void socket.write(bytes),
    reset: () => void socket.resetAndDestroy(),
  };
}

/** Another end of the engine, with a leg of its own. */
export function enginePeer(end: End): Peer {
  return {
    send: (bytes) => end.writeBytes(bytes),
    end() {
      assert.ok(end.finish());
      end.fin();
    },
    receive: async (length) => (await readBytes(end, length)).bytes,
    async ended() {
      assert.equal((await readToEnd(end)).last, END);
    },
    async broken() {
      const { last } = await readToEnd(end);
      return last === RESET ? "ECONNRESET" : (end.layer?.failure?.code ?? "no error");
    },
    raw(bytes) {
      bytes.copy(end.loop.scratch);
      end.send(end.loop.scratchAt, bytes.length);
    },
    reset: () => end.reset(),
  };
}

/** One byte each way: only then has either side read all of the other's handshake, with its tickets. */
export async function greet({ end, peer }: Pick<Pair, "end" | "peer">): Promise<void> {
  peer.send(Buffer.from("x"));
  assert.equal((await readBytes(end, 1)).bytes.length, 1);
  const heard = peer.receive(1);
  end.writeBytes(Buffer.from("x"));
  await heard;
}
