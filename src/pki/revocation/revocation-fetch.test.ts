import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { NetworkError } from "../../errors.ts";
import type { Endpoint } from "../../vocabulary.ts";
import { createFetch } from "./revocation-fetch.ts";

const elsewhere = { isOwn: () => false, isPlace: async () => false };
const local = createFetch({ ...elsewhere, loopback: true });
const signal = new AbortController().signal;
const LIMIT = { bytes: 1_000, signal };

/** A web server, and its URL. */
async function serve(context: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const failsWith = (code: string) => (error: unknown) => error instanceof NetworkError && error.code === code;

test("A fetch follows redirects", async (context) => {
  const url = await serve(context, ({ url: path }, answer) => {
    if (path === "/old") answer.writeHead(302, { location: "/new" }).end();
    else answer.end(`at ${path}`);
  });
  assert.equal((await local(`${url}/old`, LIMIT)).toString(), "at /new");
});

test("A fetch refuses loopback, link-local and multicast addresses, in any spelling and after redirects", async (context) => {
  const url = await serve(context, (_, answer) => answer.writeHead(302, { location: "http://169.254.169.254/" }).end());
  const strict = createFetch({ ...elsewhere, loopback: false });
  const { port } = new URL(url);
  const PLACES = [
    "127.0.0.1",
    "localhost",
    "0x7f.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "0.0.0.0",
    "[fe80::1]",
    "224.0.0.1",
  ];
  for (const host of PLACES) await assert.rejects(strict(`http://${host}:${port}/`, LIMIT), failsWith("EACCES"), host);
  await assert.rejects(local(url, LIMIT), failsWith("EACCES"));
  assert.match(String(await local(url, LIMIT).catch(String)), /169\.254\.169\.254 is not allowed/);
});

test("A fetch refuses this machine's own addresses and the node's own places, also where loopback is allowed", async (context) => {
  const url = await serve(context, ({ url: path }, answer) => {
    const [, host] = /^\/to\/(.*)$/.exec(path ?? "") ?? [];
    if (host === undefined) answer.end("the node's own");
    else answer.writeHead(302, { location: `http://${host}/` }).end();
  });
  const { port } = new URL(url);
  const asked: Endpoint[] = [];
  const fetch = createFetch({
    loopback: true,
    isOwn: (address) => address === "192.0.2.9",
    async isPlace(to) {
      asked.push(to);
      return to.port === 57_012;
    },
  });
  assert.equal((await fetch(url, LIMIT)).toString(), "the node's own");
  for (const host of ["127.0.0.1:57012", "localhost:57012", "0x7f.1:57012", "[::ffff:7f00:1]:57012", "192.0.2.9"]) {
    await assert.rejects(fetch(`http://${host}/`, LIMIT), failsWith("EACCES"), host);
    await assert.rejects(fetch(`http://127.0.0.1:${port}/to/${host}`, LIMIT), failsWith("EACCES"), `to ${host}`);
  }
  assert.ok(asked.some((to) => to.port === Number(port)));
});

test("A body that is too long or incomplete, a redirect without end or away from http, and status 404 are errors", async (context) => {
  const url = await serve(context, ({ url: path }, answer) => {
    if (path === "/long") answer.end(Buffer.alloc(LIMIT.bytes + 1));
    else if (path === "/round") answer.writeHead(307, { location: "/round" }).end();
    else if (path === "/away") answer.writeHead(301, { location: "https://example.com/" }).end();
    else if (path === "/cut") answer.writeHead(200, { "content-length": 9 }).write("a", () => answer.destroy());
    else answer.writeHead(404).end();
  });
  await assert.rejects(local(`${url}/long`, LIMIT), failsWith("EMSGSIZE"));
  for (const path of ["/round", "/away", "/nothing"])
    await assert.rejects(local(url + path, LIMIT), failsWith("EPROTO"));
  await assert.rejects(local(`${url}/cut`, LIMIT), NetworkError);
});

test("A fetch from a silent host ends at its deadline, and the next one that waits begins", async (context) => {
  const arrived = Promise.withResolvers<void>();
  let count = 0;
  const url = await serve(context, ({ url: path }, answer) => {
    if (path === "/soon") return void answer.end("here");
    count += 1;
    if (count === 16) arrived.resolve();
    // Half of them get headers, but no body.
    if (count % 2 === 0) answer.writeHead(200).flushHeaders();
  });
  const end = new AbortController();
  const silent = Array.from({ length: 17 }, () => local(`${url}/silent`, { ...LIMIT, signal: end.signal }));
  const soon = local(`${url}/soon`, LIMIT);
  await arrived.promise;
  end.abort();
  const codes = (await Promise.allSettled(silent)).map((one) => one.status === "rejected" && one.reason.code);
  assert.deepEqual(new Set(codes.slice(0, 16)), new Set(["ETIMEDOUT"]));
  assert.equal(codes[16], "EAGAIN");
  assert.equal((await soon).toString(), "here");
});
