import assert from "node:assert/strict";
import { test } from "node:test";
import { createSessionCache } from "./session-cache.ts";
import { createWorkerSessions, type WorkerSessions } from "./worker-sessions.ts";

const SECRET = Buffer.alloc(32, 1);
const SESSION = Buffer.from("a session");
const BOND = ["listener", "10.0.0.1", "www.example.com", 443];
const OWN = 10;

/** Workers of one node, and all that passes between them and the owner of the common cache. */
function workers(secrets: readonly Uint8Array[]): { all: readonly WorkerSessions[]; passed: Uint8Array[] } {
  const common = createSessionCache(10);
  const passed: Uint8Array[] = [];
  const all: readonly WorkerSessions[] = secrets.map((secret) => {
    const worker: WorkerSessions = createWorkerSessions(secret, OWN, {
      put(name, sealed, until) {
        passed.push(sealed);
        common.keep(name, sealed, until);
      },
      find(name, request) {
        setImmediate(() => worker.settle(request, common.find(name, 0)));
      },
      forget(name) {
        common.forget(name);
        for (const one of all) one.forget(name);
      },
    });
    return worker;
  });
  return { all, passed };
}

test("A client's session is found by every worker, and crosses between them sealed", async () => {
  const { all, passed } = workers([SECRET, SECRET]);
  const [one, two] = all.map(({ clients }) => clients);
  one!.put(BOND, SESSION, 100);
  assert.deepEqual(await one!.find(BOND, 0), SESSION);
  assert.deepEqual(await two!.find(BOND, 0), SESSION);
  assert.ok(passed.length === 1 && !Buffer.from(passed[0]!).includes("session"));
});

test("A session is not found when any part of its bond is another", async () => {
  const { all } = workers([SECRET, SECRET]);
  const [one, two] = all.map(({ clients }) => clients);
  one!.put(BOND, SESSION, 100);
  for (const [at, part] of BOND.entries()) {
    const other = BOND.with(at, `${part}0`);
    assert.equal(await one!.find(other, 0), undefined);
    assert.equal(await two!.find(other, 0), undefined);
  }
  assert.deepEqual([two!.hits, two!.misses], [0, BOND.length]);
});

test("A worker with another secret finds nothing", async () => {
  const { all } = workers([SECRET, Buffer.alloc(32, 2)]);
  const [one, two] = all.map(({ clients }) => clients);
  one!.put(BOND, SESSION, 100);
  assert.equal(await two!.find(BOND, 0), undefined);
});

test("A session that one worker forgets is found by none, wherever it is kept", async () => {
  const { all } = workers([SECRET, SECRET]);
  const [one, two] = all.map(({ clients }) => clients);
  one!.put(BOND, SESSION, 100);
  two!.forget(BOND.with(0, "another"));
  assert.deepEqual(await one!.find(BOND, 0), SESSION);
  two!.forget(BOND);
  assert.equal(await one!.find(BOND, 0), undefined);
  assert.equal(await two!.find(BOND, 0), undefined);
});

test("A session that one worker flushed is still in the cache of all workers", async () => {
  const { all } = workers([SECRET]);
  const [one] = all.map(({ clients }) => clients);
  one!.put(BOND, SESSION, 100);
  assert.deepEqual([one!.size, one!.flush(), one!.size], [1, 1, 0]);
  assert.deepEqual(await one!.find(BOND, 0), SESSION);
});
