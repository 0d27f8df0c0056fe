import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { writeProxyHeader } from "../wire/proxy-protocol.ts";
import { type ProxyHeaderSighting, sightProxyHeader } from "./proxy-header.ts";

const SOURCE = { address: "2001:db8::7", port: 50_000 };
const SECOND = writeProxyHeader({ source: SOURCE, destination: { address: "2001:db8::8", port: 443 } });
const FIRST = Buffer.from("PROXY TCP6 2001:db8::7 2001:db8::8 50000 443\r\n");

for (const [version, header] of [
  [1, FIRST],
  [2, SECOND],
] as const) {
  test(`A header of version ${version} is found, with what follows it`, () => {
    const sighting = sightProxyHeader(Buffer.concat([header, Buffer.from("\x16\x03\x01")]));
    assert.deepEqual(sighting, { kind: "header", version, source: SOURCE, length: header.length });
  });

  test(`The beginning of a header of version ${version} is no other protocol's`, () => {
    for (let end = 0; end < header.length; end += 1) {
      const { kind } = sightProxyHeader(header.subarray(0, end));
      assert.equal(kind, end < 5 ? "unlikely" : "likely", `${end} bytes`);
    }
  });
}

const OTHERS: readonly (readonly [text: string, kind: ProxyHeaderSighting["kind"]])[] = [
  ["\x16\x03\x01", "no"],
  ["PROPFIND / HTTP/1.1\r\n", "no"],
  ["\r\n\r\nGET / HTTP/1.1\r\n", "no"],
  ["PROXY UNKNOWN\r\n", "header"],
  ["PROXY TCP4 1.2.3 4.5.6.7 1 2\r\n", "malformed"],
  [`PROXY ${"x".repeat(110)}`, "malformed"],
  ["\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c", "malformed"],
];
for (const [text, kind] of OTHERS) {
  test(`${JSON.stringify(text.slice(0, 40))} is a header: ${kind}`, () => {
    assert.equal(sightProxyHeader(Buffer.from(text, "latin1")).kind, kind);
  });
}

test("Any bytes give an answer", () => {
  fc.assert(
    fc.property(fc.constantFrom("", "PROXY ", "\r\n\r\n\0\r\nQUIT\n"), fc.uint8Array(), (signature, bytes) => {
      const { kind } = sightProxyHeader(Buffer.concat([Buffer.from(signature, "latin1"), bytes]));
      assert.ok(["no", "likely", "unlikely", "header", "malformed"].includes(kind));
    }),
  );
});
