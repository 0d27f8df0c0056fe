import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { needs } from "../../test/needs.ts";
import { type Origin, redisServer } from "../../test/peers.ts";
import { freePort, until } from "../../test/processes.ts";
import { Store } from "./store.ts";

const WAIT = 1_000;

describe("A store of several nodes", needs("redis-server"), () => {
  let redis: Origin;
  let store: Store;
  const lonely: string[] = [];

  before(async () => {
    redis = await redisServer(await freePort());
    store = new Store({
      ...{ url: `redis://127.0.0.1:${redis.port}`, wait: WAIT, channels: ["news"] },
      onMessage() {},
      onConnected() {},
      onAlone: (reason) => lonely.push(reason),
    });
  });
  after(async () => {
    store?.close();
    await redis?.process.stop();
  });

  const connected = () => until("the store", () => store.state().state === "connected");
  const found = async (key: string) => {
    await connected();
    return (await store.find(key))?.toString();
  };

  test("keeps a value until it is dropped", async () => {
    await connected();
    store.put("clearline-test", Buffer.from("a value"), 60_000);
    await until("the value", async () => (await found("clearline-test")) === "a value");
    store.drop("clearline-test");
    const gone = async () => (await found("clearline-test")) === undefined && store.state().state === "connected";
    await until("no value", gone);
  });

  test("that stops answering is waited for up to the limit, and not asked again until it answers", async () => {
    await connected();
    store.put("clearline-test", Buffer.from("a value"), 60_000);
    lonely.length = 0;
    process.kill(redis.process.pid, "SIGSTOP");
    try {
      // Only the limit ends the question: the connection would be given up much later.
      assert.equal(await store.find("clearline-test"), undefined);
      assert.deepEqual(lonely, [`it did not answer in ${WAIT} ms`]);
      const { failures } = store.state();
      assert.equal(await store.find("clearline-test"), undefined);
      assert.equal(store.state().failures, failures);
    } finally {
      process.kill(redis.process.pid, "SIGCONT");
    }
    await until("the value again", async () => (await found("clearline-test")) === "a value");
  });

  test("that is stopped when the node starts is not said to be there, and is told of once until it is", async () => {
    process.kill(redis.process.pid, "SIGSTOP");
    const told: string[] = [];
    const other = new Store({
      ...{ url: `redis://127.0.0.1:${redis.port}`, wait: WAIT, channels: ["news"] },
      onMessage() {},
      onConnected: () => void told.push("connected"),
      onAlone: () => void told.push("alone"),
    });
    try {
      await until("the end of the first connections", () => told.length > 0);
    } finally {
      process.kill(redis.process.pid, "SIGCONT");
    }
    await until("the store", () => other.state().state === "connected");
    other.close();
    assert.deepEqual(told, ["alone", "connected"]);
  });
});
