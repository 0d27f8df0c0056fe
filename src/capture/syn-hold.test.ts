import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { End } from "../engine/end.ts";
import { endPair } from "../engine/test-ends.ts";
import { NetworkError } from "../errors.ts";
import type { Arrival, Refusal } from "./arrival.ts";
import { SynHold, type SynVerdict } from "./syn-hold.ts";

const SOURCE = { address: "192.0.2.7", port: 50_000 };
const HEADER = { hopLimit: 63, trafficClass: 0 };
const DESTINATION = { address: "198.51.100.9", port: 443 };

/** A hold whose sessions are collected instead of carried, and the verdicts that its SYNs got. */
function newHold({
  patience = 10_000,
  limit = () => 10,
  unreachable = "reset",
}: {
  patience?: number;
  limit?: () => number;
  unreachable?: "reset" | "silent";
} = {}) {
  const arrivals: Arrival[] = [];
  const verdicts: SynVerdict[] = [];
  const dialed: unknown[] = [];
  const told: unknown[] = [];
  const hold = new SynHold({
    listener: { name: "edge", vlan: null, unreachable },
    patience,
    limit,
    arrive: (arrival) => arrivals.push(arrival),
    connectFrom: async (...ends) => {
      dialed.push(ends);
      return accepted;
    },
    releasing: (server) => told.push(["releasing", server]),
    accepted: (client, server) => told.push(["accepted", client, server]),
  });
  const syn = (source = SOURCE, sequence = 1) =>
    hold.hold({
      source,
      destination: DESTINATION,
      sequence,
      header: HEADER,
      decide: (verdict) => verdicts.push(verdict),
    });
  return { hold, arrivals, verdicts, dialed, told, syn };
}

let accepted: End;
before(async () => {
  [accepted] = await endPair({ after: (step) => after(step as () => void) });
});

test("A SYN begins a session without a client, and is held", async () => {
  const { arrivals, verdicts, syn, dialed } = newHold();
  syn();
  const [arrival] = arrivals;
  assert.equal(arrival?.client, undefined);
  assert.deepEqual(arrival?.from, SOURCE);
  assert.deepEqual(await arrival?.locate(), {
    host: DESTINATION.address,
    port: 443,
    connectHost: null,
    http: false,
  });
  await arrival?.dial([DESTINATION.address], 443);
  assert.deepEqual(dialed, [[SOURCE, DESTINATION, HEADER]], "the server is connected to from the client's own address");
  assert.deepEqual(verdicts, []);
});

test("A retransmitted SYN begins no second session, and is released once the first one is", () => {
  const { hold, arrivals, verdicts, syn } = newHold();
  syn();
  syn();
  assert.deepEqual(verdicts, ["drop"]);
  void arrivals[0]?.welcome();
  syn();
  assert.deepEqual(verdicts, ["drop", "release", "release"]);
  assert.equal(arrivals.length, 1);
  hold.claim(accepted, SOURCE, DESTINATION);
});

test("The listening socket is told of the server before each SYN is released, and the client's connection once it is there", async () => {
  const { hold, arrivals, told, syn } = newHold();
  syn();
  await arrivals[0]!.dial([DESTINATION.address], 443);
  const welcome = arrivals[0]!.welcome();
  syn();
  hold.claim(accepted, SOURCE, DESTINATION);
  assert.equal(await welcome, accepted);
  assert.deepEqual(
    told.map((one) => (one as unknown[])[0]),
    ["releasing", "releasing", "accepted"],
  );
  assert.equal((told[0] as unknown[])[1], accepted);
  assert.equal((told[2] as unknown[])[2], accepted);
});

test("A SYN that is retransmitted after its verdict gets the same verdict, and a new connection gets a session", () => {
  const { hold, arrivals, verdicts, syn } = newHold();
  syn();
  arrivals[0]?.refuse({ kind: "unreachable", code: "ECONNREFUSED", message: "" });
  syn();
  assert.deepEqual(verdicts, ["reset", "reset"]);
  syn(SOURCE, 2);
  assert.equal(arrivals.length, 2);
  void arrivals[1]?.welcome();
  hold.claim(accepted, SOURCE, DESTINATION);
  syn(SOURCE, 2);
  assert.deepEqual(verdicts, ["reset", "reset", "release", "release"]);
  assert.equal(arrivals.length, 2);
});

test("The accepted connection is the session's client, once and for its own ends only", async () => {
  const { hold, arrivals, syn } = newHold();
  syn();
  assert.equal(hold.claim(accepted, SOURCE, DESTINATION), false, "nothing was released yet");
  const welcomed = arrivals[0]!.welcome();
  assert.equal(hold.claim(accepted, { ...SOURCE, port: 50_001 }, DESTINATION), false);
  assert.equal(hold.claim(accepted, SOURCE, DESTINATION), true);
  assert.equal(await welcomed, accepted);
  assert.equal(arrivals[0]!.client, accepted);
  assert.equal(hold.size, 0);
  assert.equal(hold.claim(accepted, SOURCE, DESTINATION), false);
});

test("A client that gives up leaves no entry behind", async () => {
  const { hold, arrivals, syn } = newHold({ patience: 1 });
  syn();
  await assert.rejects(arrivals[0]!.welcome(), NetworkError);
  assert.equal(hold.size, 0);
});

const REFUSALS: [Refusal, SynVerdict][] = [
  [{ kind: "unreachable", code: "ECONNREFUSED", message: "" }, "reset"],
  [{ kind: "unreachable", code: "EHOSTUNREACH", message: "" }, "hostUnreachable"],
  [{ kind: "unreachable", code: "ENETUNREACH", message: "" }, "netUnreachable"],
  [{ kind: "unreachable", code: "EACCES", message: "" }, "prohibited"],
  [{ kind: "timeout", message: "" }, "reset"],
  [{ kind: "policy", message: "" }, "reset"],
];
for (const [refusal, verdict] of REFUSALS) {
  const why = refusal.kind === "unreachable" ? refusal.code : refusal.kind;
  test(`After ${why} the client gets the answer of the network: ${verdict}`, () => {
    const { hold, arrivals, verdicts, syn } = newHold();
    syn();
    arrivals[0]!.refuse(refusal);
    arrivals[0]!.refuse(refusal);
    assert.deepEqual(verdicts, [verdict], "a SYN gets exactly one verdict");
    assert.equal(hold.size, 0);
  });
}

test("With unreachable: silent, a silent server is silent to the client too, and its next SYN begins a session", () => {
  const { arrivals, verdicts, syn } = newHold({ unreachable: "silent" });
  syn();
  arrivals[0]!.refuse({ kind: "timeout", message: "" });
  syn();
  assert.deepEqual([verdicts, arrivals.length], [["drop"], 2]);
});

test("Above the limit SYNs pass without being held", () => {
  const { arrivals, verdicts, syn } = newHold({ limit: () => 1 });
  syn();
  syn({ ...SOURCE, port: 50_001 });
  assert.deepEqual(verdicts, ["pass"]);
  assert.equal(arrivals.length, 1);
});

test("A limit that a reload has changed counts for the next SYN", () => {
  let limit = 1;
  const { arrivals, verdicts, syn } = newHold({ limit: () => limit });
  syn();
  limit = 2;
  syn({ ...SOURCE, port: 50_001 });
  assert.deepEqual([arrivals.length, verdicts], [2, []]);
  limit = 1;
  syn({ ...SOURCE, port: 50_002 });
  assert.deepEqual([arrivals.length, verdicts], [2, ["pass"]]);
});
