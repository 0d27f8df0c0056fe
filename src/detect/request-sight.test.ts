import assert from "node:assert/strict";
import { test } from "node:test";
import { type RequestSight, sightRequest } from "./request-sight.ts";

const SIGHTS: readonly (readonly [begun: string, sight: RequestSight])[] = [
  ["GET / HTTP/1.1\r\n", "yes"],
  ["\r\nGET / HTTP/1.0\n", "yes"],
  // Servers differ about these; the strict reader refuses them.
  ["GET  /\tHTTP/1.1 \r\n", "yes"],
  ["get\t/ http/1.1\r\n", "yes"],
  ["GET http://a.example/\r\n", "yes"],
  ["brew /pot HTTP/1.7\r\n", "yes"],
  ["GET / HTTP/2.0\r\n", "yes"],
  ["GET /", "likely"],
  ["OPTIONS *", "likely"],
  ["GET htt", "likely"],
  ["GET https://a.example/ HT", "likely"],
  ["", "unlikely"],
  ["\r\n", "unlikely"],
  ["G", "unlikely"],
  ["hello", "unlikely"],
  ["GET ", "unlikely"],
  ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "no"],
  ["CONNECT a.example:443 HTTP/1.1\r\n", "no"],
  ["CONNECT ", "no"],
  ["GET /\r\n", "no"],
  ["hello world", "no"],
  ["EHLO a.example\r\n", "no"],
  ["OPTIONS rtsp://a.example RTSP/1.0\r\n", "no"],
  ["SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "no"],
  ["\0\0", "no"],
  ["@early", "no"],
  ["a".repeat(33), "unlikely"],
  [`${"a".repeat(33)} / HTTP/1.1\r\n`, "yes"],
  [" GET / HTTP/1.1\r\n", "yes"],
  ["GET\v/", "likely"],
];
for (const [begun, sight] of SIGHTS) {
  test(`${JSON.stringify(begun)} is a request: ${sight}`, () => {
    assert.equal(sightRequest(Buffer.from(begun, "latin1")), sight);
  });
}

test("A request is no other protocol at any point of its line", () => {
  for (const line of ["POST /path?query HTTP/1.1\r\n", "GET http://a.example/ HTTP/1.1\r\n"])
    for (let end = 0; end <= line.length; end += 1)
      assert.notEqual(sightRequest(Buffer.from(line.slice(0, end))), "no", line.slice(0, end));
});
