import assert from "node:assert/strict";
import { test } from "node:test";
import type { Arrival } from "../capture/arrival.ts";
import { mostHeld } from "../capture/syn-hold.ts";
import type { End } from "../engine/end.ts";
import { type AdmissionLimits, createAdmission } from "./admission.ts";

const LIMITS: AdmissionLimits = {
  sessions: 4,
  bound: "limits.sessions",
  perClient: { sessions: Number.POSITIVE_INFINITY, halfOpen: Number.POSITIVE_INFINITY },
};

/** A worker whose sessions last until their client's connection is closed. Each step is written down. */
function world(limits: Partial<AdmissionLimits> = {}) {
  const steps: string[] = [];
  const clients = new Map<string, End>();
  const ends = new Map<Arrival, () => void>();
  const activity = new Map<string, number>();
  const names = new Map<Arrival, string>();
  const admission = createAdmission(
    (arrival) => new Promise((resolve) => ends.set(arrival, () => resolve(undefined))),
    (arrival) => activity.get(names.get(arrival) ?? "") ?? 0,
  );
  function arrive(name: string, address: string, { held = false } = {}): void {
    const over = () => {
      for (const [arrival, end] of ends) if (names.get(arrival) === name) end();
    };
    const gone = (how: string) => {
      steps.push(`${how} ${name}`);
      over();
    };
    const client = { close: () => gone("close"), reset: () => gone("reset") } as unknown as End;
    clients.set(name, client);
    const arrival: Arrival = {
      ...({ listener: "proxy", mode: "explicit", from: { address, port: 1 } } as const),
      client: held ? undefined : client,
      refuse: () => void steps.push(`refuse ${name}`),
    } as Partial<Arrival> as Arrival;
    names.set(arrival, name);
    admission.admit(arrival, { ...LIMITS, ...limits });
  }
  const speak = (...those: string[]) => {
    for (const name of those) admission.keep(clients.get(name)!);
  };
  return { steps, admission, arrive, speak, activity };
}

test("Of a full node's sessions, the half-open ones of the client with the most go first, the oldest first", () => {
  const { steps, admission, arrive } = world();
  for (const name of ["a1", "a2", "a3"]) arrive(name, "192.0.2.1");
  arrive("b1", "192.0.2.2");
  arrive("c1", "192.0.2.3");
  arrive("d1", "192.0.2.4");
  assert.deepEqual(steps, ["close a1", "close a2"]);
  assert.equal(admission.size, 4);
  assert.deepEqual(admission.turnedAway, [{ limit: "limits.sessions", refused: 0, evicted: 2 }]);
});

test("A client that holds every session with bytes that are no request gives up what others need, the most silent first", () => {
  const { steps, admission, arrive, speak, activity } = world();
  for (const [index, name] of ["a1", "a2", "a3", "a4"].entries()) {
    arrive(name, "192.0.2.1");
    speak(name);
    activity.set(name, [20, 10, 30, 40][index]!);
  }
  arrive("a5", "192.0.2.1");
  assert.deepEqual(steps, ["reset a5"], "its own newest is refused");
  arrive("b1", "192.0.2.2");
  speak("b1");
  arrive("b2", "192.0.2.2");
  speak("b2");
  arrive("b3", "192.0.2.2");
  assert.deepEqual(steps, ["reset a5", "reset a2", "reset a1", "reset b3"], "both have two now");
  assert.deepEqual(admission.turnedAway, [{ limit: "limits.sessions", refused: 2, evicted: 2 }]);
});

test("When all have as many, a new session gets the place of a half-open one, and is refused when there is none", () => {
  const { steps, arrive, speak } = world({ sessions: 2 });
  arrive("a1", "192.0.2.1");
  speak("a1");
  arrive("b1", "192.0.2.2");
  arrive("c1", "192.0.2.3");
  speak("c1");
  arrive("d1", "192.0.2.4");
  assert.deepEqual(steps, ["close b1", "reset d1"]);
});

test("limits.perClient bounds a client's half-open and all its sessions, and no other's", () => {
  const { steps, admission, arrive, speak } = world({ sessions: 9, perClient: { sessions: 3, halfOpen: 2 } });
  for (const name of ["a1", "a2", "a3"]) arrive(name, "2001:db8::1");
  assert.deepEqual(steps, ["close a1"]);
  speak("a2", "a3");
  // The same network: a host has a whole /64.
  arrive("a4", "2001:db8::99");
  speak("a4");
  arrive("a5", "2001:db8::1");
  arrive("b1", "2001:db8:0:1::1");
  assert.deepEqual(steps, ["close a1", "reset a5"]);
  assert.deepEqual(admission.turnedAway, [
    { limit: "limits.perClient.halfOpen", refused: 0, evicted: 1 },
    { limit: "limits.perClient.sessions", refused: 1, evicted: 0 },
  ]);
});

test("However many SYNs are held, clients that are connected find room", () => {
  const { steps, admission, arrive, speak } = world();
  for (let at = 0; at < mostHeld(LIMITS.sessions, 1); at += 1) arrive(`held${at}`, "192.0.2.1", { held: true });
  // Further SYNs pass, and their clients arrive connected.
  arrive("a1", "192.0.2.1");
  arrive("a2", "192.0.2.1");
  for (const name of ["b1", "b2"]) {
    arrive(name, "192.0.2.2");
    speak(name);
  }
  assert.deepEqual(steps, ["close a1", "close a2"]);
  assert.equal(admission.size, LIMITS.sessions);
});

test("A session whose SYN is held counts, and cannot give way", () => {
  const { steps, admission, arrive } = world({ sessions: 1 });
  arrive("a1", "192.0.2.1", { held: true });
  arrive("b1", "192.0.2.2", { held: true });
  assert.deepEqual(steps, ["refuse b1"]);
  assert.equal(admission.size, 1);
});

test("An operator ends one session, and no other", () => {
  const { steps, admission, arrive } = world();
  for (const name of ["a", "b"]) arrive(name, "192.0.2.1");
  arrive("held", "192.0.2.2", { held: true });
  admission.end(({ from }) => from.address === "192.0.2.9");
  assert.deepEqual([steps, admission.size], [[], 3]);
  let met = 0;
  admission.end(() => {
    met += 1;
    return met === 2;
  });
  assert.deepEqual([steps, met], [["reset b"], 2]);
});
