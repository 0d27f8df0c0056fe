import assert from "node:assert/strict";
import { test } from "node:test";
import { InvariantError } from "../errors.ts";
import type { State } from "./record.ts";
import { advance, end, finish, openSession } from "./session.ts";

const CLIENT = { address: "192.0.2.7", port: 50000 };
const BIRTH = { id: "s1", worker: 0, listener: "proxy", mode: "explicit", client: CLIENT, server: null } as const;

const WAYS: [string, State[]][] = [
  [
    "an accepted client's session grows to both sides and the tools",
    ["EST:INIT:INIT:INIT", "EST:SYN_SENT:INIT:INIT", "EST:EST:INIT:INIT", "EST:EST:SYN_SENT:INIT"],
  ],
  [
    "a held client's session has its server first",
    ["INIT:INIT:INIT:INIT", "SYN_RCV:SYN_SENT:INIT:INIT", "SYN_RCV:EST:INIT:INIT", "EST:EST:INIT:INIT"],
  ],
  [
    "the tools' side opens at Ta, comes back at Tb and is complete",
    ["EST:EST:INIT:INIT", "EST:EST:SYN_SENT:INIT", "EST:EST:SYN_SENT:SYN_RCV", "EST:EST:EST:EST"],
  ],
  [
    "what became TLS and is bypassed leaves the tools that its plaintext went through",
    ["EST:EST:EST:EST", "EST:EST:INIT:INIT", "EST:SYN_SENT:INIT:INIT", "EST:EST:INIT:INIT"],
  ],
  ["a late bypass connects to the server anew", ["EST:EST:INIT:INIT", "EST:SYN_SENT:INIT:INIT", "EST:EST:INIT:INIT"]],
];
for (const [title, states] of WAYS) {
  test(title, () => {
    const session = { ...openSession({ ...BIRTH, state: "EST:INIT:INIT:INIT" }, 1000), state: states[0]! };
    for (const state of states.slice(1)) advance(session, { state }, 1001);
    assert.equal(session.state, states.at(-1));
  });
}

const LEAPS: [State, State][] = [
  ["INIT:INIT:INIT:INIT", "EST:EST:INIT:INIT"],
  ["EST:INIT:INIT:INIT", "EST:EST:INIT:INIT"],
  ["SYN_RCV:SYN_SENT:INIT:INIT", "EST:SYN_SENT:INIT:INIT"],
  ["EST:EST:EST:EST", "EST:SYN_SENT:INIT:INIT"],
];
for (const [from, to] of LEAPS) {
  test(`A session cannot go from ${from} to ${to}`, () => {
    const session = { ...openSession({ ...BIRTH, state: "EST:INIT:INIT:INIT" }, 1000), state: from };
    assert.throws(() => advance(session, { state: to }, 1001), InvariantError);
  });
}

test("An update changes the record and its time", () => {
  const session = openSession({ ...BIRTH, state: "EST:INIT:INIT:INIT" }, 1000);
  advance(session, { sni: "www.example.com", state: session.state }, 2000);
  assert.deepEqual([session.sni, session.lastActivity, session.start], ["www.example.com", 2000, 1000]);
});

test("How the peers left is not activity: after an idle timeout the record keeps the time of the last bytes", () => {
  const session = openSession({ ...BIRTH, state: "EST:INIT:INIT:INIT" }, 1000);
  advance(session, { clientLeft: null, serverLeft: "reset" }, 2000);
  assert.deepEqual([session.serverLeft, session.lastActivity], ["reset", 1000]);
});

test("The first reason for a session's end stays", () => {
  const open = openSession({ ...BIRTH, state: "EST:INIT:INIT:INIT" }, 1000);
  const ended = finish(finish(open, "The client reset the connection", 2000), "The server closed the connection", 3000);
  assert.equal(open.end, null, "the record that was given stays as it is");
  assert.deepEqual([ended.end, ended.closeReason], [2000, "The client reset the connection"]);
  assert.equal(ended.state, "EST:INIT:INIT:INIT");
});

test("A session that is over cannot be updated", () => {
  const ended = openSession({ ...BIRTH, state: "EST:INIT:INIT:INIT" }, 1000);
  end(ended, "The client closed", 2000);
  assert.throws(() => advance(ended, { sni: "late.example" }, 3000), InvariantError);
});
