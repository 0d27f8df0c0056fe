import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { connect, createSecureContext, TLSSocket } from "node:tls";
import type { End } from "../engine/end.ts";
import { BROKEN } from "../engine/layer.ts";
import { liveSessions } from "../engine/session.ts";
import { endAndSocket, readToEnd } from "../engine/test-ends.ts";
import { make } from "../pki/x509/test-chain.ts";
import { createSessionKeeper, type SessionKeeper } from "../resumption/keeper.ts";
import { createSealer } from "../resumption/seal.ts";
import { ServerSessions } from "../resumption/server-sessions.ts";
import { createSessionCache } from "../resumption/session-cache.ts";
import { makeTicketKey } from "../resumption/ticket-keys.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { record } from "../wire/record.ts";
import { openClientLeg } from "./client-leg.ts";
import type { ClientLeg, ClientResumption, ServerLeg } from "./leg.ts";
import { greet, nodePeer, type Pair, testLeg } from "./leg-compliance.ts";
import { openServerLeg } from "./server-leg.ts";
import type { RememberedSession } from "./server-session.ts";
import { Cleanup, COMMON, nodesHello, readHello } from "./test-pairs.ts";

const root = await make({ subject: "CN=root", ca: true });
const leaf = await make({ subject: "CN=leg.test", names: [["dns", "leg.test"]], issuer: root });
const SHOWN = { certificatePem: leaf.pem + root.pem, keyPem: leaf.keyPem };
const RANGE = { min: "TLSv1.2", max: "TLSv1.3" } as const;
const BOND = ["listener", "192.0.2.1", "leg.test"];
const ticketKeys = [makeTicketKey()];

type Version = "TLSv1.2" | "TLSv1.3";

/** A keeper that has one cache and shares it with nobody. */
function keeper(): SessionKeeper {
  const own = createSessionCache(100);
  return createSessionKeeper({ sealer: createSealer(Buffer.alloc(32)), own });
}

/** A client with a memory, and the leg that answers it. */
async function clientVisit(
  version: Version,
  session: Buffer | undefined,
  resumption: ClientResumption,
): Promise<Pair & { readonly leg: ClientLeg; session(): Promise<Buffer> }> {
  const cleanup = new Cleanup();
  const [end, socket] = await endAndSocket(cleanup);
  const stream = connect({
    ...{ socket, servername: "leg.test", minVersion: version, maxVersion: version, allowHalfOpen: true },
    ...(session && { session }),
    rejectUnauthorized: false,
  });
  stream.on("error", () => {});
  const given = new Promise<Buffer>((resolve) => stream.once("session", resolve));
  const connected = once(stream, "secureConnect");
  const options = { ...COMMON, presented: [SHOWN], alpn: undefined, versions: RANGE, resumption };
  const leg = await openClientLeg(end, await readHello(end), options);
  assert.equal(leg.kind, "up", JSON.stringify(leg));
  await connected;
  const pair = { leg: leg as ClientLeg, end, peer: nodePeer(stream, socket) };
  await greet(pair);
  return { ...pair, session: () => given, close: () => cleanup.close() };
}

const WAYS: readonly (readonly [string, Version, () => ClientResumption])[] = [
  ["an identifier", "TLSv1.2", () => ({ sessions: keeper(), ticketKeys: [], bond: BOND, timeout: 60_000 })],
  ["a ticket", "TLSv1.2", () => ({ sessions: undefined, ticketKeys, bond: BOND, timeout: 60_000 })],
  ["a ticket", "TLSv1.3", () => ({ sessions: undefined, ticketKeys, bond: BOND, timeout: 60_000 })],
];

/** The second visit of a client, to a leg with the bond of the first or another one. */
async function secondVisit(version: Version, resumption: ClientResumption, bond = resumption.bond) {
  const first = await clientVisit(version, undefined, resumption);
  assert.equal(first.leg.negotiated.resumed, false);
  const session = await first.session();
  first.close();
  return clientVisit(version, session, { ...resumption, bond });
}

for (const [how, version, resumption] of WAYS) {
  testLeg(`The client leg resumed by ${how} over ${version}`, () => secondVisit(version, resumption()));

  test(`The client leg resumes by ${how} over ${version}, and names no group where none was used`, async () => {
    const again = await secondVisit(version, resumption());
    assert.equal(again.leg.negotiated.resumed, true);
    assert.equal(again.leg.negotiated.group === undefined, version === "TLSv1.2");
    again.close();
  });

  for (const at of BOND.keys()) {
    test(`The client leg does not resume by ${how} over ${version} when part ${at} of the bond is another`, async () => {
      const again = await secondVisit(version, resumption(), BOND.with(at, "another"));
      assert.equal(again.leg.negotiated.resumed, false);
      again.close();
    });
  }
}

/** Bytes that nobody has sealed: whoever gets them ends the connection with a fatal alert. */
async function sayNonsense({ peer, end }: Pick<Pair, "peer" | "end">): Promise<void> {
  peer.raw(record(23, 0x0303, Buffer.alloc(64)));
  assert.equal((await readToEnd(end)).last, BROKEN);
}

test("The client leg does not come back to a session that a fatal alert has ended", async () => {
  const resumption = { sessions: keeper(), ticketKeys: [], bond: BOND, timeout: 60_000 };
  const first = await clientVisit("TLSv1.2", undefined, resumption);
  const session = await first.session();
  first.close();
  for (const [resumed, nonsense] of [
    [true, false],
    [true, true],
    [false, false],
  ] as const) {
    const again = await clientVisit("TLSv1.2", session, resumption);
    assert.equal(again.leg.negotiated.resumed, resumed);
    if (nonsense) await sayNonsense(again);
    again.close();
  }
});

test("OpenSSL itself refuses a session of another bond, should it be handed one", async () => {
  const [, , resumption] = WAYS[0]!;
  const honest = resumption();
  const confused = {
    ...honest.sessions!,
    find: (_: unknown, now: number) => honest.sessions!.find([...BOND, id], now),
  };
  let id = "";
  const first = await clientVisit("TLSv1.2", undefined, {
    ...honest,
    sessions: {
      ...honest.sessions!,
      put(bond, ...rest) {
        id = String(bond.at(-1));
        honest.sessions!.put(bond, ...rest);
      },
    },
  });
  const session = await first.session();
  first.close();
  for (const [bond, resumed] of [
    [["listener", "192.0.2.2", "leg.test"], false],
    [BOND, true],
  ] as const) {
    const again = await clientVisit("TLSv1.2", session, { ...honest, sessions: confused, bond });
    assert.equal(again.leg.negotiated.resumed, resumed);
    again.close();
  }
});

/** A server with the memory of its context, and the leg toward it. */
async function serverVisit(
  version: Version,
  hello: ClientHello,
  server: TLSServer,
  sessions: ServerSessions<RememberedSession>,
) {
  const cleanup = new Cleanup();
  const [end, socket] = await endAndSocket(cleanup);
  const options = { isServer: true, allowHalfOpen: true, secureContext: server[version] };
  const stream = new TLSSocket(socket, options);
  stream.on("_tlsError", (error) => stream.destroy(error)).on("error", () => {});
  const connected = once(stream, "secure");
  const leg = await openLeg(end, hello, sessions);
  assert.equal(leg.kind, "up", JSON.stringify(leg));
  await connected;
  const pair = { leg: leg as ServerLeg, end, peer: nodePeer(stream, socket) };
  await greet(pair);
  return { ...pair, close: () => cleanup.close() };
}

function openLeg(end: End, hello: ClientHello, sessions: ServerSessions<RememberedSession>) {
  const resumption = { sessions, bond: BOND, timeout: 60_000 };
  return openServerLeg(end, hello, { ...COMMON, versions: RANGE, resumption });
}

type TLSServer = Record<Version, ReturnType<typeof createSecureContext>>;

function makeServer(): TLSServer {
  const of = (maxVersion: Version) =>
    createSecureContext({ ...{ cert: SHOWN.certificatePem, key: SHOWN.keyPem }, minVersion: "TLSv1.2", maxVersion });
  return { "TLSv1.2": of("TLSv1.2"), "TLSv1.3": of("TLSv1.3") };
}

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  const twice = async (sessions: ServerSessions<RememberedSession>, hellos: readonly [ClientHello, ClientHello]) => {
    const server = makeServer();
    const first = await serverVisit(version, hellos[0], server, sessions);
    assert.equal(first.leg.negotiated.resumed, false);
    first.close();
    return { first: first.leg, again: await serverVisit(version, hellos[1], server, sessions) };
  };

  testLeg(`The server leg resumed over ${version}`, async () => {
    const hello = await nodesHello({});
    return (await twice(new ServerSessions<RememberedSession>(100), [hello, hello])).again;
  });

  test(`A server leg resumed over ${version} gives what the server showed before: certificate and chain`, async () => {
    const hello = await nodesHello({});
    const { first, again } = await twice(new ServerSessions<RememberedSession>(100), [hello, hello]);
    assert.equal(again.leg.negotiated.resumed, true);
    assert.deepEqual(again.leg.certificate.raw, Buffer.from(leaf.der));
    assert.deepEqual(
      again.leg.ders,
      [leaf, root].map(({ der }) => Buffer.from(der)),
    );
    assert.equal(again.leg.key, first.key);
    again.close();
  });

  test(`A server leg does not resume over ${version} with another offer`, async () => {
    const hello = await nodesHello({});
    for (const other of [
      { ...hello, alpnProtocols: ["h2"] },
      { ...hello, serverName: "other.test" },
      { ...hello, supportedGroups: hello.supportedGroups.slice(1) },
    ]) {
      const { again } = await twice(new ServerSessions<RememberedSession>(100), [hello, other]);
      assert.equal(again.leg.negotiated.resumed, false);
      again.close();
    }
  });

  test(`The server leg does not come back over ${version} to a session that a fatal alert has ended`, async () => {
    const hello = await nodesHello({});
    const sessions = new ServerSessions<RememberedSession>(100);
    const server = makeServer();
    for (const [resumed, nonsense] of [
      [false, false],
      [true, true],
      [false, false],
      [true, false],
    ] as const) {
      const leg = await serverVisit(version, hello, server, sessions);
      assert.equal(leg.leg.negotiated.resumed, resumed);
      if (nonsense) await sayNonsense(leg);
      leg.close();
    }
  });

  test(`Sessions over ${version} that are no longer kept are OpenSSL's memory no longer`, async () => {
    const hello = await nodesHello({});
    const before = liveSessions();
    const sessions = new ServerSessions<RememberedSession>(100);
    const { again } = await twice(sessions, [hello, hello]);
    assert.ok(liveSessions() > before);
    again.close();
    sessions.flush();
    assert.equal(liveSessions(), before);
  });

  test(`A session whose leg failed over ${version} is not offered again`, async () => {
    const hello = await nodesHello({});
    const sessions = new ServerSessions<RememberedSession>(100);
    const { again } = await twice(sessions, [hello, hello]);
    again.close();
    const cleanup = new Cleanup();
    const [end, socket] = await endAndSocket(cleanup);
    socket.once("readable", () => socket.resetAndDestroy());
    const failed = await openLeg(end, hello, sessions);
    cleanup.close();
    assert.equal(failed.kind, "failed");
    const last = await serverVisit(version, hello, makeServer(), sessions);
    assert.equal(last.leg.negotiated.resumed, false);
    last.close();
  });
}
