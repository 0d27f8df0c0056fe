import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ServerSessions } from "./server-sessions.ts";

const BOND = ["generation", "192.0.2.1", "198.51.100.1", 443, "an offer"];
const A = ServerSessions.nameOf(BOND);

/** A store, and the sessions that were made for it and not released. */
function storeOf(entries: number) {
  const live = new Set<number>();
  let made = 0;
  const session = (bytes = 1) => {
    made += 1;
    const id = made;
    live.add(id);
    return { id, bytes, release: () => assert.ok(live.delete(id), `session ${id} was released twice`) };
  };
  return { store: new ServerSessions<ReturnType<typeof session>>(entries), session, live };
}

test("A session with a server is found once, the newest first", () => {
  const { store, session, live } = storeOf(100);
  for (let times = 0; times < 3; times += 1) store.put(A, session(), 100);
  assert.deepEqual([store.find(A, 0)?.id, store.find(A, 0)?.id, store.find(A, 0)?.id], [3, 2, 1]);
  assert.equal(store.find(A, 0), undefined);
  assert.deepEqual([store.size, store.hits, store.misses], [0, 3, 1]);
  assert.equal(live.size, 3, "what was found is its finder's");
});

test("A session is not found when any part of its bond is another, or its time is over", () => {
  const { store, session, live } = storeOf(100);
  store.put(A, session(), 100);
  for (const at of BOND.keys()) {
    assert.equal(store.find(ServerSessions.nameOf(BOND.with(at, "another")), 0), undefined);
  }
  assert.equal(store.find(A, 100), undefined);
  assert.deepEqual([store.size, live.size], [0, 0]);
});

test("All sessions with a server are forgotten together, and others stay", () => {
  const { store, session, live } = storeOf(100);
  for (const name of [A, A, "b"]) store.put(name, session(), 100);
  store.forget(A);
  store.forget("c");
  assert.deepEqual([store.find(A, 0), store.size, live.size], [undefined, 1, 1]);
  assert.equal(store.flush(), 1);
  assert.equal(live.size, 0);
});

test("The bounds always hold, nothing is released twice, and what is kept is released when it goes", () => {
  const room = 4 * 8_192;
  const step = fc.record({
    what: fc.constantFrom("put", "put", "put", "find", "forget"),
    name: fc.constantFrom(..."abcdef"),
    bytes: fc.nat(20_000),
    until: fc.nat(20),
  });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const { store, session, live } = storeOf(4);
      for (const { what, name, bytes, until } of steps) {
        if (what === "put") store.put(name, session(bytes), until);
        else if (what === "find") store.find(name, 10)?.release();
        else store.forget(name);
        assert.equal(store.size, live.size);
        assert.ok(store.size <= 4);
      }
      let bytes = 0;
      for (const name of "abcdef") {
        for (let found = store.find(name, -1); found; found = store.find(name, -1)) {
          bytes += found.bytes;
          found.release();
        }
      }
      assert.ok(bytes <= room);
      assert.equal(live.size, 0);
    }),
  );
});
