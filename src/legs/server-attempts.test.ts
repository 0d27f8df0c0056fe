import assert from "node:assert/strict";
import { test } from "node:test";
import type { End } from "../engine/end.ts";
import { InvariantError, NetworkError } from "../errors.ts";
import { ALERTS } from "../wire/alert.ts";
import type { LegFailure, ServerLeg } from "./leg.ts";
import { attemptServerLeg } from "./server-attempts.ts";

const UP = { kind: "up" } as ServerLeg;

function refused(news: Partial<LegFailure> = {}): LegFailure {
  const alert = ALERTS.handshake_failure;
  return { kind: "failed", cause: "alert", alert, code: "ALERT", reason: "The server refused", ...news };
}

interface Plan {
  /** The outcomes of the handshakes, in order. */
  readonly outcomes: readonly (ServerLeg | LegFailure)[];
  readonly mayFallBack?: boolean;
  /** What redialling throws. */
  readonly gone?: Error;
}

/** The handshakes that were tried, as "tls on 1, resuming", and the outcome with the connection that it came on. */
async function attempt({ outcomes, mayFallBack = false, gone }: Plan) {
  const tried: string[] = [];
  let connections = 0;
  const connect = (): End => {
    connections += 1;
    return { name: connections } as unknown as End;
  };
  const nameOf = (end: End) => (end as unknown as { name: number }).name;
  const open = (version: string) => async (end: End, mayResume: boolean) => {
    tried.push(`${version} on ${nameOf(end)}${mayResume ? ", resuming" : ""}`);
    return outcomes[tried.length - 1]!;
  };
  const connection = {
    server: connect(),
    redial: async () => {
      if (gone) throw gone;
      return connect();
    },
  };
  const versions = { tls: open("tls"), ssl3: open("ssl3"), mayFallBack: () => mayFallBack };
  const { leg, server } = await attemptServerLeg(connection, versions);
  return { tried, leg, server: nameOf(server) };
}

test("A server that answers is asked once", async () => {
  assert.deepEqual(await attempt({ outcomes: [UP] }), { tried: ["tls on 1, resuming"], leg: UP, server: 1 });
});

test("A server that refuses without a session to resume is asked once", async () => {
  const leg = refused();
  assert.deepEqual(await attempt({ outcomes: [leg] }), { tried: ["tls on 1, resuming"], leg, server: 1 });
});

test("A server that fails when a session is offered is asked again without one, on a new connection", async () => {
  assert.deepEqual(await attempt({ outcomes: [refused({ resuming: true }), UP] }), {
    tried: ["tls on 1, resuming", "tls on 2"],
    leg: UP,
    server: 2,
  });
});

test("A server that timed out when a session was offered is not asked again", async () => {
  const { tried } = await attempt({ outcomes: [refused({ resuming: true, cause: "timeout" })] });
  assert.deepEqual(tried, ["tls on 1, resuming"]);
});

test("A server that may be older than TLS is asked again in SSL 3.0, on a new connection", async () => {
  assert.deepEqual(await attempt({ outcomes: [refused(), UP], mayFallBack: true }), {
    tried: ["tls on 1, resuming", "ssl3 on 2, resuming"],
    leg: UP,
    server: 2,
  });
});

test("In SSL 3.0 too, a server that fails when a session is offered is asked again without one", async () => {
  const { tried, server } = await attempt({
    outcomes: [refused(), refused({ resuming: true }), UP],
    mayFallBack: true,
  });
  assert.deepEqual(tried, ["tls on 1, resuming", "ssl3 on 2, resuming", "ssl3 on 3"]);
  assert.equal(server, 3);
});

test("A server that refuses SSL 3.0 as well has given its reason before", async () => {
  const first = refused({ reason: "first" });
  const { leg, server } = await attempt({ outcomes: [first, refused({ reason: "second" })], mayFallBack: true });
  assert.deepEqual([leg, server], [first, 1]);
});

test("In SSL 3.0, this node's own refusal and a demand for a certificate are the answer", async () => {
  for (const second of [refused({ cause: "protocol" }), refused({ certificateRequested: true })]) {
    const { leg, server } = await attempt({ outcomes: [refused(), second], mayFallBack: true });
    assert.deepEqual([leg, server], [second, 2]);
  }
});

test("A server that is gone when it is dialled again has given its answer", async () => {
  const gone = new NetworkError("Cannot connect", "ECONNREFUSED");
  const leg = refused({ resuming: true });
  for (const mayFallBack of [true, false]) {
    assert.deepEqual(await attempt({ outcomes: [leg], mayFallBack, gone }), {
      tried: ["tls on 1, resuming"],
      leg,
      server: 1,
    });
  }
});

test("A bug on the way to the server is not taken for a server that is gone", async () => {
  await assert.rejects(
    attempt({ outcomes: [refused({ resuming: true })], gone: new InvariantError("no address") }),
    InvariantError,
  );
});
