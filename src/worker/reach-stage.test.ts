import assert from "node:assert/strict";
import { test } from "node:test";
import { createReachStage, fetchSettings, openPlaces } from "./reach-stage.ts";

const PLACES = [
  { host: "127.0.0.1", port: 8484 },
  { host: "localhost", port: 3128 },
  { host: "store.invalid", port: 6379 },
];

test("A session is refused at the node's places, by address and by name, and where its listener does not reach", async () => {
  const places = openPlaces(PLACES);
  const source = { listeners: { far: [] }, places: PLACES };
  const stage = createReachStage(source, places, async (port) => port === 40_000);
  const ruleOf = async (listener: string, host: string, address: string, port: number) =>
    (await stage.refuse(listener, host, { address, port }))?.reason;
  assert.equal(await ruleOf("near", "x", "0.0.0.0", 8484), "0.0.0.0 port 8484 belongs to the node itself");
  assert.match((await ruleOf("near", "x", "127.0.0.1", 3128)) ?? "", /belongs to the node itself/);
  assert.match((await ruleOf("near", "Store.Invalid", "192.0.2.1", 6379)) ?? "", /belongs to the node itself/);
  assert.equal(await ruleOf("near", "x", "127.0.0.1", 80), undefined);
  assert.match((await ruleOf("far", "x", "127.0.0.1", 80)) ?? "", /does not reach/);
  // A session waits at this port for its tool.
  assert.match((await ruleOf("near", "x", "127.0.0.1", 40_000)) ?? "", /belongs to the node itself/);
  assert.equal(await ruleOf("near", "x", "192.0.2.1", 40_000), undefined);
});

test("A fetch finds the same places", async () => {
  const { isOwn, isPlace } = fetchSettings({ loopback: true }, openPlaces(PLACES));
  assert.deepEqual([isOwn("127.0.0.1"), isOwn("192.0.2.1")], [true, false]);
  assert.deepEqual(
    [await isPlace({ address: "::ffff:127.0.0.1", port: 8484 }), await isPlace({ address: "127.0.0.1", port: 80 })],
    [true, false],
  );
});
