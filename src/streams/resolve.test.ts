import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { NetworkError } from "../errors.ts";
import { HostResolver, resolveHost } from "./resolve.ts";

test("An address stands for itself, and a name that does not exist is a NetworkError", async () => {
  assert.deepEqual(await resolveHost("2001:db8::1", 1_000), ["2001:db8::1"]);
  await assert.rejects(resolveHost("no-such-host.invalid", 10_000), NetworkError);
});

/** A DNS server that knows good.test and www.search.test, answers that there is no missing.test, and is silent for the others. */
async function setUp(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "clearline-resolve-"));
  const [hosts, resolv] = [join(folder, "hosts"), join(folder, "resolv.conf")];
  writeFileSync(hosts, "192.0.2.7 Printer.test printer # by the door\n2001:db8::7 printer.test\n");
  writeFileSync(resolv, "search search.test\n");
  const asked: string[] = [];
  const socket = createSocket("udp4", (query, { port, address }) => {
    const labels: string[] = [];
    let at = 12;
    for (let length = query[at]!; length > 0; length = query[at]!) {
      labels.push(query.toString("latin1", at + 1, at + 1 + length));
      at += 1 + length;
    }
    const [name, type] = [labels.join("."), query.readUInt16BE(at + 1)];
    asked.push(`${name} ${type === 1 ? "A" : "AAAA"}`);
    const isKnown = ["good.test", "www.search.test"].includes(name);
    if (!isKnown && name !== "missing.test") return;
    const answer = Buffer.from(query.subarray(0, at + 5));
    const has = isKnown && type === 1;
    answer.writeUInt16BE(isKnown ? 0x8180 : 0x8183, 2);
    for (const [place, count] of [1, has ? 1 : 0, 0, 0].entries()) answer.writeUInt16BE(count, 4 + 2 * place);
    const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 192, 0, 2, 1]);
    socket.send(has ? Buffer.concat([answer, record]) : answer, port, address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  t.after(() => {
    socket.close();
    rmSync(folder, { recursive: true });
  });
  const resolver = new HostResolver({ hosts, resolv, servers: [`127.0.0.1:${socket.address().port}`] });
  return { resolver, asked, hosts };
}

test("Names whose DNS server is silent hold up no other, and each is asked for once", async (t) => {
  const { resolver, asked } = await setUp(t);
  const silent = Array.from({ length: 200 }, (_, index) => resolver.resolve(`silent${index % 40}.test`, 1_000));
  const outcomes = Promise.allSettled(silent);
  assert.deepEqual(await resolver.resolve("good.test", 10_000), ["192.0.2.1"]);
  for (const outcome of await outcomes) {
    assert.equal(outcome.status === "rejected" && (outcome.reason as NetworkError).code, "ETIMEDOUT");
  }
  assert.equal(asked.filter((one) => one === "silent7.test A").length, 1);
});

test("Answers and failures are kept for a while", async (t) => {
  const { resolver, asked } = await setUp(t);
  for (let round = 0; round < 3; round += 1) {
    assert.deepEqual(await resolver.resolve("GOOD.test.", 10_000), ["192.0.2.1"]);
    await assert.rejects(resolver.resolve("missing.test", 10_000), { code: "ENOTFOUND" });
  }
  assert.equal(asked.filter((one) => one === "good.test A").length, 1);
  assert.equal(asked.filter((one) => one === "missing.test A").length, 1);
  const { hits, misses, negative, waiting, size } = resolver;
  assert.deepEqual({ hits, misses, negative, waiting, size }, { hits: 4, misses: 2, negative: 2, waiting: 0, size: 2 });
  const silent = Array.from({ length: 3 }, () => resolver.resolve("silent.test", 1_000));
  assert.deepEqual(
    [resolver.waiting, resolver.misses, resolver.hits],
    [3, 3, 6],
    "one asks, and the others wait with it",
  );
  await Promise.allSettled(silent);
  assert.deepEqual([resolver.waiting, resolver.negative], [0, 2], "nothing was found");
  resolver.flush();
  assert.equal(resolver.size, 0);
});

test("The hosts file comes first, and short names are looked for in the search domains", async (t) => {
  const { resolver, asked } = await setUp(t);
  assert.deepEqual(await resolver.resolve("printer.test", 10_000), ["192.0.2.7", "2001:db8::7"]);
  assert.deepEqual(await resolver.resolve("printer", 10_000), ["192.0.2.7"]);
  assert.deepEqual(await resolver.resolve("x.localhost", 10_000), ["127.0.0.1", "::1"]);
  assert.deepEqual(asked, []);
  assert.deepEqual(await resolver.resolve("www", 10_000), ["192.0.2.1"]);
});
