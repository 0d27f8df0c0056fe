import assert from "node:assert/strict";
import { test } from "node:test";
import { createKnownServers } from "./known-servers.ts";

test("A server is known until its time ends", () => {
  const servers = createKnownServers(10);
  servers.learn("a.example:443", 1000);
  assert.equal(servers.has("a.example:443", 999), true);
  assert.equal(servers.has("b.example:443", 999), false);
  assert.equal(servers.has("a.example:443", 1000), false);
  assert.equal(servers.size, 0, "the server is forgotten then");
});

test("Above the limit the server that was learnt first is forgotten", () => {
  const servers = createKnownServers(2);
  for (const server of ["a", "b", "a", "c"]) servers.learn(server, 1000);
  assert.deepEqual(servers.entries(), [
    ["a", 1000],
    ["c", 1000],
  ]);
  assert.equal(servers.flush(), 2);
  assert.equal(servers.has("a", 0), false);
});
