import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createLineRemover, writeSslproxyLine } from "./sslproxy-line.ts";

const STATEMENT = {
  back: { address: "127.0.0.1", port: 34649 },
  client: { address: "192.168.3.24", port: 47286 },
  server: { address: "2001:db8::1", port: 443 },
  decrypted: true,
};
const LINE = writeSslproxyLine(STATEMENT);

test("The line gives the address to connect back to, both ends, and whether there was TLS", () => {
  assert.equal(String(LINE), "SSLproxy: [127.0.0.1]:34649,[192.168.3.24]:47286,[2001:db8::1]:443,s\r\n");
  assert.match(String(writeSslproxyLine({ ...STATEMENT, decrypted: false })), /,p\r\n$/);
});

/** Gives the bytes in pieces, and answers the bytes that remain. */
function sifted(bytes: Buffer, cuts: readonly number[]): string {
  const sieve = createLineRemover(LINE);
  const parts: Buffer[] = [];
  let at = 0;
  for (const cut of [...cuts].sort((a, b) => a - b).concat(bytes.length)) {
    const end = Math.min(cut, bytes.length);
    if (end > at) parts.push(sieve.take(bytes.subarray(at, end)));
    at = Math.max(at, end);
  }
  return Buffer.concat([...parts, sieve.end()]).toString("latin1");
}

test("A line at the front is removed however it is cut, and nothing else is", () => {
  const cuts = fc.array(fc.nat(120), { maxLength: 8 });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), cuts, (rest, at) => {
      assert.equal(sifted(Buffer.concat([LINE, rest]), at), Buffer.from(rest).toString("latin1"));
    }),
  );
  fc.assert(
    fc.property(fc.nat(LINE.length - 1), fc.uint8Array({ maxLength: 60 }), cuts, (length, rest, at) => {
      const bytes = Buffer.concat([LINE.subarray(0, length), rest]);
      fc.pre(!bytes.includes(LINE));
      assert.equal(sifted(bytes, at), bytes.toString("latin1"));
    }),
  );
});

test("A line that a program moved behind the first line of its first packet is removed", () => {
  assert.equal(
    sifted(Buffer.from(`GET / HTTP/1.1\r\n${LINE}Host: a\r\n\r\n`), []),
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
  );
});

test("Later packets are not searched: a client may send the same text", () => {
  const sieve = createLineRemover(LINE);
  assert.equal(String(sieve.take(Buffer.from("first"))), "first");
  assert.equal(String(sieve.take(LINE)), String(LINE));
});
