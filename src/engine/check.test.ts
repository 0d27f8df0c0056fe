import assert from "node:assert/strict";
import { test } from "node:test";
import { checkEngine, checkEvents, checkFunctions, checkVersion } from "./check.ts";
import { liveContexts } from "./contexts.ts";
import { openEnds } from "./end.ts";
import { EVENT_WORDS } from "./loop.ts";
import { crypto } from "./native.ts";
import { liveConnections } from "./openssl-layer.ts";

const live = () => [liveConnections(), liveContexts(), openEnds()];

test("The engine's check passes on this Node, and leaves nothing behind", () => {
  const before = live();
  for (let round = 0; round < 3; round += 1) checkEngine();
  assert.deepEqual(live(), before);
  assert.equal(crypto.ERR_peek_error(), 0);
});

test("A function that the Node program does not export is named", () => {
  assert.throws(() => checkFunctions(["SSL_new", "uv_ref"]), { message: "it does not export SSL_new, uv_ref" });
});

test("An OpenSSL that is too old or of another major version is refused", () => {
  checkVersion(0x30500080);
  for (const version of [0x30400000, 0x1010117f, 0x40000000])
    assert.throws(() => checkVersion(version), /3\.5 or a later/);
});

test("Another layout of struct epoll_event is noticed", () => {
  checkEvents(EVENT_WORDS);
  assert.throws(() => checkEvents(EVENT_WORDS === 3 ? 4 : 3), /epoll_wait answered/);
});
