import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { REQUEST_LIMITS } from "../detect/request-head.ts";
import type { End } from "../engine/end.ts";
import { endAndSocket, readBytes } from "../engine/test-ends.ts";
import { NetworkError, PeerError } from "../errors.ts";
import { readAll } from "../legs/test-pairs.ts";
import type { Arrival, Destination } from "./arrival.ts";
import { arriveExplicit } from "./explicit.ts";

const PATIENT = 60_000;

/** A real client, and its arrival at an explicit proxy. `hello` in ms. */
async function arrived(t: TestContext, hello = PATIENT): Promise<{ peer: Socket; arrival: Arrival; client: End }> {
  const [client, peer] = await endAndSocket(t);
  const dial = () => Promise.reject(new NetworkError("Not in this test", "ENOTFOUND"));
  const settings = { timeouts: { connect: PATIENT, hello }, limits: REQUEST_LIMITS };
  const arrival = arriveExplicit(client, { address: "127.0.0.1", port: 1 }, { name: "proxy" }, () => settings, dial);
  return { peer, arrival, client };
}

/** What the client is told, and the connection's end. */
async function told(peer: Socket): Promise<{ status: number; body: string }> {
  const answer = String(await readAll(peer));
  const [head = "", body = ""] = answer.split("\r\n\r\n");
  const [, length] = /^Content-Length: (\d+)$/im.exec(head) ?? [];
  assert.equal(Number(length), Buffer.byteLength(body));
  assert.match(head, /^Connection: close$/im);
  return { status: Number(/^HTTP\/1\.1 (\d{3}) [A-Z]/.exec(head)?.[1]), body };
}

test("CONNECT names the destination, and the bytes after it stay in the socket", async (t) => {
  const { peer, arrival, client } = await arrived(t);
  peer.write(
    Buffer.concat([Buffer.from("CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n"), Buffer.from([22, 3, 1])]),
  );
  const destination: Destination = await arrival.locate();
  const request = { method: "CONNECT", path: "example.com:443" };
  assert.deepEqual(destination, { host: "example.com", port: 443, connectHost: "example.com", http: false, request });
  assert.deepEqual([...(await readBytes(client, 3)).bytes], [22, 3, 1]);
});

test("The client of a CONNECT is answered 200 once the server is reached, and not before", async (t) => {
  const { peer, arrival, client } = await arrived(t);
  peer.write("CONNECT [2001:db8::1]:8443 HTTP/1.1\r\n\r\n");
  assert.deepEqual((await arrival.locate()).host, "2001:db8::1");
  assert.equal(client.written, 0);
  assert.equal(await arrival.welcome(), client);
  client.fin();
  assert.equal(String(await readAll(peer)), "HTTP/1.1 200 Connection established\r\n\r\n");
});

test("A plain request stays in the connection, and only the origin answers the client", async (t) => {
  const { peer, arrival, client } = await arrived(t);
  peer.write(
    "POST http://example.com:8080/form?a=1 HTTP/1.1\r\nHost: example.com:8080\r\nContent-Length: 4\r\n\r\nbody",
  );
  const { host, port, connectHost, http } = await arrival.locate();
  assert.deepEqual([host, port, connectHost], ["example.com", 8080, "example.com"]);
  assert.equal(http, true);
  assert.match(String((await readBytes(client, 40)).bytes), /^POST http:\/\/example\.com:8080\/form\?a=1 /);
  await arrival.welcome();
  assert.equal(client.written, 0);
});

for (const [kind, status] of [
  [{ kind: "unreachable", code: "ECONNREFUSED", message: "Nobody there" }, 502],
  [{ kind: "timeout", message: "Nobody there in time" }, 504],
  [{ kind: "policy", message: "Forbidden by rule x" }, 403],
] as const) {
  test(`A server that is not reached (${kind.kind}) is reported with ${status} and the reason`, async (t) => {
    const { peer, arrival } = await arrived(t);
    peer.write("CONNECT example.com:443 HTTP/1.1\r\n\r\nmore that nobody reads");
    await arrival.locate();
    arrival.refuse(kind);
    peer.end();
    assert.deepEqual(await told(peer), { status, body: `${kind.message}\n` });
  });
}

for (const [what, request, status] of [
  ["A request that is no HTTP", "HELO there\r\n\r\n", 400],
  ["CONNECT without a port", "CONNECT example.com HTTP/1.1\r\n\r\n", 400],
  ["A request to the proxy itself", "GET / HTTP/1.1\r\nHost: proxy\r\n\r\n", 400],
  ["A version that nobody speaks", "GET http://example.com/ HTTP/3.0\r\n\r\n", 505],
  ["A request line without end", `GET http://example.com/${"a".repeat(33_000)}`, 414],
  ["A head without end", `GET http://example.com/ HTTP/1.1\r\n${"A: b\r\n".repeat(11_000)}`, 431],
] as const) {
  test(`${what} is answered ${status}`, async (t) => {
    const { peer, arrival } = await arrived(t);
    peer.write(request);
    await assert.rejects(arrival.locate(), PeerError);
    peer.end();
    assert.equal((await told(peer)).status, status);
  });
}

test("A request that stops in the middle is answered 408", async (t) => {
  const { peer, arrival } = await arrived(t, 5);
  peer.write("CONNECT exam");
  await assert.rejects(arrival.locate(), { name: "NetworkError", code: "ETIMEDOUT" });
  peer.end();
  assert.equal((await told(peer)).status, 408);
});

test("A client that leaves before its request is a NetworkError, a client that speaks TLS here a PeerError", async (t) => {
  const leaving = await arrived(t);
  leaving.peer.end("CONNECT exam");
  await assert.rejects(leaving.arrival.locate(), NetworkError);
  const resetting = await arrived(t);
  const located = resetting.arrival.locate();
  resetting.peer.resetAndDestroy();
  await assert.rejects(located, { name: "NetworkError", code: "ECONNRESET" });
  const wrong = await arrived(t);
  wrong.peer.write(Buffer.from([22, 3, 1, 2, 0]));
  await assert.rejects(wrong.arrival.locate(), { name: "PeerError", alert: 70 });
});
