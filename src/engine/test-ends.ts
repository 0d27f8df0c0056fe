import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { TestContext } from "node:test";
import { connect, openSocket } from "./dial.ts";
import type { End } from "./end.ts";
import { type Agreed, type HandshakeStep, type Layer, type LayerFailure, NOTHING_NOW } from "./layer.ts";
import { acceptFrom } from "./listen.ts";
import { Loop, SCRATCH } from "./loop.ts";
import { libc, must } from "./native.ts";
import { writeSocketAddress } from "./socket-address.ts";
import { until } from "./wait.ts";
import { Writer } from "./writer.ts";

/** For tests: ends of the engine over loopback, and what one would do with them by hand. */

export const loop = new Loop();
export const writer = new Writer();

const TIME = { timeout: 30_000, late: "The test waited for 30 s" };

/** A port on loopback, and the first connection to it. */
export function acceptOne(host = "127.0.0.1") {
  const fd = openSocket(host);
  const address = writeSocketAddress({ address: host, port: 0 });
  must(libc.bind(fd, address, address.length), "bind");
  must(libc.listen(fd, 16), "listen");
  const { promise: accepted, resolve, reject } = Promise.withResolvers<End>();
  const listener = acceptFrom(loop, fd, resolve, reject);
  return { accepted, port: listener.local()!.port, close: () => listener.close() };
}

/** Two ends of one connection, both the engine's. They go with the test. */
export async function endPair(t: Pick<TestContext, "after">, host = "127.0.0.1"): Promise<[near: End, far: End]> {
  const { accepted, port, close } = acceptOne(host);
  const near = await connect(loop, openSocket(host), { address: host, port }, TIME.timeout);
  const far = await accepted;
  close();
  t.after(() => {
    near.close();
    far.close();
  });
  return [near, far];
}

/** An end of the engine whose peer is a socket of Node's: half-open capable, and paused. */
export async function endAndSocket(t: Pick<TestContext, "after">): Promise<[end: End, peer: Socket]> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const [end, [peer]] = await Promise.all([
    connect(loop, openSocket("127.0.0.1"), { address: "127.0.0.1", port }, TIME.timeout),
    once(server, "connection") as Promise<[Socket]>,
  ]);
  server.close();
  peer.on("error", () => {});
  t.after(() => {
    end.close();
    peer.destroy();
  });
  return [end, peer];
}

/** Writes all of it, and waits until the kernel has it. */
export async function writeAll(end: End, bytes: Buffer): Promise<void> {
  let at = 0;
  await until(
    [end],
    () => {
      for (;;) {
        if (!end.flush()) return undefined;
        if (at === bytes.length || end.isBroken) return true;
        const piece = bytes.subarray(at, at + SCRATCH);
        piece.copy(loop.scratch);
        end.write(loop.scratchAt, piece.length);
        at += piece.length;
      }
    },
    TIME,
  );
}

/** Reads `length` bytes; fewer when something else than bytes comes first. `last`: what that was. */
export async function readBytes(end: End, length: number): Promise<{ readonly bytes: Buffer; readonly last: number }> {
  const pieces: Buffer[] = [];
  let missing = length;
  const last = await until(
    [end],
    () => {
      while (missing > 0) {
        const came = end.read(loop.scratchAt, Math.min(SCRATCH, missing));
        if (came === NOTHING_NOW) return undefined;
        if (came < 0) return came;
        pieces.push(Buffer.from(loop.scratch.subarray(0, came)));
        missing -= came;
      }
      return 1;
    },
    TIME,
  );
  return { bytes: Buffer.concat(pieces), last };
}

/** Reads until the peer says something else than bytes: END, TRUNCATED, RESET, BROKEN. */
export async function readToEnd(end: End): Promise<{ readonly bytes: Buffer; readonly last: number }> {
  return readBytes(end, Infinity);
}

/** Puts this layer on the end and shakes hands. */
export async function shake(
  end: End,
  layer: Layer,
): Promise<{ readonly steps: readonly HandshakeStep[]; readonly agreed: Agreed | LayerFailure }> {
  if (end.layer !== layer) end.push(layer);
  const steps: HandshakeStep[] = [];
  const agreed = await until(
    [end],
    () => {
      for (;;) {
        const step = layer.handshake();
        if (step === "waiting") return undefined;
        steps.push(step);
        if (step === "up") return layer.agreed();
        if (typeof step === "object") return step;
      }
    },
    TIME,
  );
  return { steps, agreed };
}
