import assert from "node:assert/strict";
import { test } from "node:test";
import { createSessionCaches } from "./session-caches.ts";
import { createWorkerSessions, type WorkerSessions } from "./worker-sessions.ts";

const SECRET = Buffer.alloc(32, 1);
const SESSION = Buffer.from("a session");
const BOND = ["listener", "10.0.0.1", "www.example.com", 443];

/** Workers of one node, and all that passes between them and the owner of the common cache. */
function workers(secrets: readonly Uint8Array[]): { all: readonly WorkerSessions[]; passed: Uint8Array[] } {
  const common = createSessionCaches(10);
  const passed: Uint8Array[] = [];
  const all = secrets.map((secret) => {
    const worker: WorkerSessions = createWorkerSessions(secret, 10, {
      put(cache, name, sealed, until) {
        passed.push(sealed);
        common[cache].put(name, sealed, until);
      },
      find(cache, name, request) {
        setImmediate(() => worker.settle(request, common[cache].find(name, 0)));
      },
    });
    return worker;
  });
  return { all, passed };
}

test("A session is found by every worker, and crosses between them sealed", async () => {
  const { all, passed } = workers([SECRET, SECRET]);
  const [one, two] = all.map(({ keepers }) => keepers.sessions);
  one!.put(BOND, SESSION, 100, "all");
  assert.deepEqual(await one!.find(BOND, 0), SESSION);
  assert.deepEqual(await two!.find(BOND, 0), SESSION);
  assert.ok(passed.length === 1 && !Buffer.from(passed[0]!).includes("session"));
});

test("A session is not found when any part of its bond is another", async () => {
  const { all } = workers([SECRET, SECRET]);
  const [one, two] = all.map(({ keepers }) => keepers.sessions);
  one!.put(BOND, SESSION, 100, "all");
  for (const [at, part] of BOND.entries()) {
    const other = BOND.with(at, `${part}0`);
    assert.equal(await one!.find(other, 0), undefined);
    assert.equal(await two!.find(other, 0), undefined);
  }
  assert.deepEqual([two!.hits, two!.misses], [0, BOND.length]);
});

test("A session with a server is found once, by those whom it was put for", async () => {
  const { all } = workers([SECRET, SECRET]);
  const [one, two] = all.map(({ keepers }) => keepers["server-sessions"]);
  one!.put(BOND, SESSION, 100, "worker");
  assert.equal(await two!.find(BOND, 0), undefined);
  assert.deepEqual(await one!.find(BOND, 0), SESSION);
  assert.equal(await one!.find(BOND, 0), undefined);
  one!.put(BOND, SESSION, 100, "others");
  assert.deepEqual(await two!.find(BOND, 0), SESSION);
  assert.equal(await one!.find(BOND, 0), undefined);
});

test("Who has another secret finds nothing", async () => {
  const { all } = workers([SECRET, Buffer.alloc(32, 2)]);
  const [one, two] = all.map(({ keepers }) => keepers.sessions);
  one!.put(BOND, SESSION, 100, "all");
  assert.equal(await two!.find(BOND, 0), undefined);
});

test("The two kinds of sessions are kept apart", async () => {
  const { all } = workers([SECRET]);
  const [{ keepers }] = all as [WorkerSessions];
  keepers.sessions.put(BOND, SESSION, 100, "all");
  assert.equal(await keepers["server-sessions"].find(BOND, 0), undefined);
  keepers.sessions.flush();
  assert.deepEqual(await keepers.sessions.find(BOND, 0), SESSION);
});
