import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Redis } from "iovalkey";
import { needs } from "../../test/needs.ts";
import { type Origin, redisServer } from "../../test/peers.ts";
import { freePort, until } from "../../test/processes.ts";
import { createSealer } from "../resumption/seal.ts";
import { createFleetNames } from "./fleet-names.ts";
import { Store } from "./store.ts";
import { SharedValues } from "./values.ts";

const SEALER = createSealer(Buffer.alloc(32, 1));
const UNTIL = Date.now() + 3_600_000;

describe("Values that nodes share", needs("redis-server"), () => {
  let redis: Origin;
  const stores: Store[] = [];

  before(async () => {
    redis = await redisServer(await freePort());
  });
  after(async () => {
    for (const store of stores) store.close();
    await redis?.process.stop();
  });

  const join = async () => {
    const store = new Store({
      ...{ url: `redis://127.0.0.1:${redis.port}`, wait: 1_000, channels: ["news"] },
      onMessage() {},
      onConnected() {},
      onAlone() {},
    });
    stores.push(store);
    await until("the store", () => store.state().state === "connected");
    return new SharedValues(store, createFleetNames(SEALER), { sealer: SEALER, rotation: 3_600_000 });
  };
  const loseAll = async () => {
    const admin = new Redis(redis.port);
    await admin.flushall();
    admin.disconnect();
  };

  test("A node that comes after the store lost the epochs shares with those that know them", async () => {
    const old = await join();
    await old.clear("sessions");
    await loseAll();
    await old.catchUp();
    const young = await join();
    assert.deepEqual(await young.catchUp(), ["sessions"]);
    old.putSession("name", Buffer.from("a session"), UNTIL);
    await until("the session", async () => {
      const found = await young.findSession("name");
      return found !== undefined && Buffer.from(found).toString() === "a session";
    });
  });

  test("Of two nodes that flush at the same time, neither takes back the other's flush", async () => {
    await loseAll();
    const [one, other] = [await join(), await join()];
    await Promise.all([one.clear("sessions"), other.clear("mint")]);
    for (const node of [one, other, one, other, one, other]) await node.catchUp();
    assert.deepEqual(await (await join()).catchUp(), ["sessions", "mint"]);
  });
});
