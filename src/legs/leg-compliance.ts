import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import type { Leg } from "./leg.ts";

/** A leg that is up, with the peer at its other end: a TLS implementation's plaintext and the TCP connection below it. */
export interface Pair {
  readonly leg: Leg;
  readonly peer: { readonly stream: Duplex; readonly socket: Socket };
  close(): void;
}

const MIB = 1024 * 1024;

/** What every leg must do, over OpenSSL and over SSL 3.0. The relay relies on all of it. */
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

  check("carries bytes both ways, unchanged and in order", async ({ leg, peer }) => {
    const bytes = randomBytes(3 * MIB + 1);
    const [there, back] = await Promise.all([
      hash(leg.stream, bytes.length),
      hash(peer.stream, bytes.length),
      send(),
      answer(),
    ]);
    assert.equal(there, digest(bytes));
    assert.equal(back, digest(bytes));
    async function send() {
      peer.stream.write(bytes);
    }
    async function answer() {
      leg.stream.write(bytes);
    }
  });

  check("hears the peer's end and can still send", async ({ leg, peer }) => {
    leg.stream.resume();
    peer.stream.end("last");
    await once(leg.stream, "end");
    const heard = hash(peer.stream, 5);
    leg.stream.write("after");
    assert.equal(await heard, digest(Buffer.from("after")));
  });

  check("ends its own direction and still hears the peer", async ({ leg, peer }) => {
    peer.stream.resume();
    leg.stream.end();
    await once(peer.stream, "end");
    const heard = hash(leg.stream, 5);
    peer.stream.write("after");
    assert.equal(await heard, digest(Buffer.from("after")));
  });

  check("tells of the peer's reset", async ({ leg, peer }) => {
    leg.stream.resume();
    const [error] = await Promise.all([once(leg.stream, "error"), peer.socket.resetAndDestroy()]);
    assert.equal(error[0].code, "ECONNRESET");
  });

  check("breaks with an error, and tells the peer, when a record is not authentic", async ({ leg, peer }) => {
    leg.stream.resume();
    peer.stream.resume();
    const told = once(peer.stream, "error");
    const broken = once(leg.stream, "error");
    const minor = { SSLv3: 0, TLSv1: 1, "TLSv1.1": 2 }[leg.negotiated.version] ?? 3;
    peer.socket.write(Buffer.concat([Buffer.from([23, 3, minor, 0, 64]), randomBytes(64)]));
    const [error] = await broken;
    assert.match(error.code, /^ERR_SSL_/);
    const [alert] = await told;
    assert.match(alert.code, /ALERT_(BAD_RECORD_MAC|DECRYPTION_FAILED)/);
  });

  check("is reset through its socket", async ({ leg, peer }) => {
    peer.stream.resume();
    const [error] = await Promise.all([once(peer.stream, "error"), leg.socket.resetAndDestroy()]);
    assert.equal(error[0].code, "ECONNRESET");
  });

  check("pushes back when the peer does not read, and drains when it does", async ({ leg, peer }) => {
    peer.stream.pause();
    let sent = 0;
    while (leg.stream.write(Buffer.alloc(MIB))) sent += MIB;
    const drained = once(leg.stream, "drain");
    peer.stream.resume();
    await drained;
    assert.ok(sent < 64 * MIB, `${sent} bytes were taken without the peer reading`);
  });
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The hash of the next bytes, once so many have come. */
function hash(stream: Duplex, length: number): Promise<string> {
  const sum = createHash("sha256");
  let left = length;
  return new Promise((resolve, reject) => {
    stream.on("error", reject);
    stream.on("data", (bytes: Buffer) => {
      sum.update(bytes);
      left -= bytes.length;
      if (left === 0) resolve(sum.digest("hex"));
    });
  });
}
