import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import { connect, createSecureContext, TLSSocket } from "node:tls";
import { readHello } from "../../test/hello-on-wire.ts";
import { make } from "../pki/x509/test-chain.ts";
import { createSessionKeeper, type SessionKeeper } from "../resumption/keeper.ts";
import { createSealer } from "../resumption/seal.ts";
import { createSessionCache } from "../resumption/session-cache.ts";
import { makeTicketKey } from "../resumption/ticket-keys.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { record } from "../wire/record.ts";
import { openClientLeg } from "./client-leg.ts";
import { createContextCache } from "./contexts.ts";
import type { ClientLeg, ClientResumption, ServerLeg } from "./leg.ts";
import { type Pair, testLeg } from "./leg-compliance.ts";
import { openServerLeg } from "./server-leg.ts";
import { loopback } from "./test-pairs.ts";

const root = await make({ subject: "CN=root", ca: true });
const leaf = await make({ subject: "CN=leg.test", names: [["dns", "leg.test"]], issuer: root });
const SHOWN = { certificatePem: leaf.pem + root.pem, keyPem: leaf.keyPem };
const RANGE = { min: "TLSv1.2", max: "TLSv1.3" } as const;
const contexts = createContextCache(100);
const BOND = ["listener", "192.0.2.1", "leg.test"];
const ticketKeys = [makeTicketKey()];

type Version = "TLSv1.2" | "TLSv1.3";

/** A keeper that has one cache and shares it with nobody. */
function keeper(once: boolean): SessionKeeper {
  const own = createSessionCache({ entries: 100, bytes: 1e6, ofOneName: 4, once });
  return createSessionKeeper({ kind: "test", sealer: createSealer(Buffer.alloc(32)), own });
}

/** A client with a memory, and the leg that answers it. */
async function clientVisit(
  version: Version,
  session: Buffer | undefined,
  resumption: ClientResumption,
): Promise<Pair & { readonly leg: ClientLeg; session(): Promise<Buffer> }> {
  const [near, far] = await loopback();
  const peer = connect({
    ...{ socket: near, servername: "leg.test", minVersion: version, maxVersion: version, allowHalfOpen: true },
    ...(session && { session }),
    rejectUnauthorized: false,
  });
  peer.on("error", () => {});
  const given = new Promise<Buffer>((resolve) => peer.once("session", resolve));
  const connected = once(peer, "secureConnect");
  const leg = await openClientLeg(far, await readHello(far), {
    ...{ presented: [SHOWN], alpn: undefined, versions: RANGE, timeout: 5_000, contexts, resumption },
  });
  assert.equal(leg.kind, "up", JSON.stringify(leg));
  await connected;
  await greet(leg as ClientLeg, peer);
  return {
    leg: leg as ClientLeg,
    peer: { stream: peer, socket: near },
    session: () => given,
    close: () => destroyAll(peer, near, (leg as ClientLeg).stream, far),
  };
}

/** One byte each way: only then has either end read all of the other's handshake. */
async function greet(leg: Pair["leg"], peer: TLSSocket): Promise<void> {
  for (const [from, to] of [
    [peer, leg.stream],
    [leg.stream, peer],
  ] as const) {
    from.write("x");
    await once(to, "readable");
    to.read();
  }
}

function destroyAll(...streams: readonly { destroy(): unknown }[]): void {
  for (const stream of streams) stream.destroy();
}

const WAYS: readonly (readonly [string, Version, () => ClientResumption])[] = [
  ["an identifier", "TLSv1.2", () => ({ sessions: keeper(false), ticketKeys: [], bond: BOND, timeout: 60_000 })],
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
async function sayNonsense(from: Socket, to: Duplex): Promise<void> {
  const broken = once(to, "error");
  from.write(record(23, 0x0303, Buffer.alloc(64)));
  await broken;
}

test("The client leg does not come back to a session that a fatal alert has ended", async () => {
  const resumption = { sessions: keeper(false), ticketKeys: [], bond: BOND, timeout: 60_000 };
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
    if (nonsense) await sayNonsense(again.peer.socket, again.leg.stream);
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
async function serverVisit(version: Version, hello: ClientHello, server: TLSServer, sessions: SessionKeeper) {
  const [near, far] = await loopback();
  const options = { isServer: true, allowHalfOpen: true, secureContext: server[version] };
  const peer = new TLSSocket(far, options);
  peer.on("_tlsError", (error) => peer.destroy(error)).on("error", () => {});
  const connected = once(peer, "secure");
  const resumption = { sessions, bond: BOND, timeout: 60_000 };
  const leg = await openServerLeg(near, hello, { versions: RANGE, timeout: 5_000, contexts, resumption });
  assert.equal(leg.kind, "up", JSON.stringify(leg));
  await connected;
  await greet(leg as ServerLeg, peer);
  return {
    leg: leg as ServerLeg,
    peer: { stream: peer, socket: far },
    close: () => destroyAll(peer, far, (leg as ServerLeg).stream, near),
  };
}

type TLSServer = Record<Version, ReturnType<typeof createSecureContext>>;

function makeServer(): TLSServer {
  const of = (maxVersion: Version) =>
    createSecureContext({ ...{ cert: SHOWN.certificatePem, key: SHOWN.keyPem }, minVersion: "TLSv1.2", maxVersion });
  return { "TLSv1.2": of("TLSv1.2"), "TLSv1.3": of("TLSv1.3") };
}

async function helloOf(servername: string): Promise<ClientHello> {
  const [near, far] = await loopback();
  connect({ socket: near, servername }).on("error", () => {});
  const { hello } = await readHello(far);
  destroyAll(near, far);
  return hello;
}

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  const twice = async (sessions: SessionKeeper, hellos: readonly [ClientHello, ClientHello]) => {
    const server = makeServer();
    const first = await serverVisit(version, hellos[0], server, sessions);
    assert.equal(first.leg.negotiated.resumed, false);
    first.close();
    return { first: first.leg, again: await serverVisit(version, hellos[1], server, sessions) };
  };

  testLeg(`The server leg resumed over ${version}`, async () => {
    const hello = await helloOf("leg.test");
    return (await twice(keeper(true), [hello, hello])).again;
  });

  test(`A server leg resumed over ${version} gives what the server showed before: certificate, chain and code`, async () => {
    const hello = await helloOf("leg.test");
    const { first, again } = await twice(keeper(true), [hello, hello]);
    assert.equal(again.leg.negotiated.resumed, true);
    assert.deepEqual(again.leg.certificate.raw, Buffer.from(leaf.der));
    assert.deepEqual(
      again.leg.sent?.map(({ raw }) => raw),
      [Buffer.from(root.der)],
    );
    assert.equal(again.leg.verifyCode, first.verifyCode);
    assert.notEqual(first.verifyCode, undefined);
    again.close();
  });

  test(`A server leg does not resume over ${version} with another offer`, async () => {
    const hello = await helloOf("leg.test");
    for (const other of [
      { ...hello, alpnProtocols: ["h2"] },
      { ...hello, serverName: "other.test" },
      { ...hello, supportedGroups: hello.supportedGroups.slice(1) },
    ]) {
      const { again } = await twice(keeper(true), [hello, other]);
      assert.equal(again.leg.negotiated.resumed, false);
      again.close();
    }
  });

  test(`The server leg does not come back over ${version} to a session that a fatal alert has ended`, async () => {
    const hello = await helloOf("leg.test");
    const sessions = keeper(true);
    const server = makeServer();
    for (const [resumed, nonsense] of [
      [false, false],
      [true, true],
      [false, false],
      [true, false],
    ] as const) {
      const leg = await serverVisit(version, hello, server, sessions);
      assert.equal(leg.leg.negotiated.resumed, resumed);
      if (nonsense) await sayNonsense(leg.peer.socket, leg.leg.stream);
      leg.close();
    }
  });

  test(`A session whose leg failed over ${version} is not offered again`, async () => {
    const hello = await helloOf("leg.test");
    const sessions = keeper(true);
    const { again } = await twice(sessions, [hello, hello]);
    again.close();
    const [near, far] = await loopback();
    far.once("readable", () => far.resetAndDestroy());
    const resumption = { sessions, bond: BOND, timeout: 60_000 };
    const failed = await openServerLeg(near, hello, { versions: RANGE, timeout: 5_000, contexts, resumption });
    assert.equal(failed.kind, "failed");
    const last = await serverVisit(version, hello, makeServer(), sessions);
    assert.equal(last.leg.negotiated.resumed, false);
    last.close();
  });
}
