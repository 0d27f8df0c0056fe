import assert from "node:assert/strict";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { createSecureContext, TLSSocket } from "node:tls";
import { relay } from "../engine/relay.ts";
import { endAndSocket } from "../engine/test-ends.ts";
import { make } from "../pki/x509/test-chain.ts";
import { createKnownServers } from "../policy/known-servers.ts";
import { ServerSessions } from "../resumption/server-sessions.ts";
import { createFtpSessions, type FtpSessions, type SharedFtpSession } from "./ftp-sessions.ts";
import { openServerLeg } from "./server-leg.ts";
import type { RememberedSession } from "./server-session.ts";
import { COMMON, nodesHello } from "./test-pairs.ts";

const leaf = await make({ subject: "CN=ftp.test", names: [["dns", "ftp.test"]] });
const RANGE = { min: "TLSv1.2", max: "TLSv1.3" } as const;
const PEERS = "the client and the server";
const LIMIT = { timeout: 30_000 };
const REPLY = "229 Entering Extended Passive Mode (|||50000|)\r\n";

function worker(tell: false | ((shared: SharedFtpSession) => Promise<void>)) {
  const sessions = new ServerSessions<RememberedSession>(100);
  return { sessions, ftp: createFtpSessions(createKnownServers(10), sessions, tell) };
}

/** The leg toward a server of this version, which `ftp` shares the sessions of. */
async function controlConnection(t: TestContext, version: "TLSv1.2" | "TLSv1.3", { ftp, sessions }: Worker) {
  const [server, socket] = await endAndSocket(t);
  const secureContext = createSecureContext({ cert: leaf.pem, key: leaf.keyPem, maxVersion: version });
  const stream = new TLSSocket(socket, { isServer: true, secureContext }).on("error", () => {});
  const secured = once(stream, "secure");
  const resumption = {
    ...{ sessions, bond: [PEERS], timeout: 60_000 },
    share: (...given: Given) => ftp.share(PEERS, ...given),
  };
  const leg = openServerLeg(server, await nodesHello({}), { ...COMMON, versions: RANGE, resumption });
  return { server, stream, leg, secured };
}

type Worker = ReturnType<typeof worker>;
type Given = Parameters<FtpSessions["share"]> extends [string, ...infer Rest] ? Rest : never;

async function turnsUntil({ signal }: TestContext, isSo: () => boolean): Promise<void> {
  while (!isSo()) {
    signal.throwIfAborted();
    await turn();
  }
}

test("A session of TLS 1.2 is with the other workers before the control connection's leg is up", LIMIT, async (t) => {
  const taken = Promise.withResolvers<void>();
  const shared: SharedFtpSession[] = [];
  const { leg, secured } = await controlConnection(
    t,
    "TLSv1.2",
    worker((one) => {
      shared.push(one);
      return taken.promise;
    }),
  );
  let isUp = false;
  void leg.then(() => {
    isUp = true;
  });
  await secured;
  await turnsUntil(t, () => shared.length > 0);
  // All that the leg would still do takes no longer.
  for (let turns = 0; turns < 20; turns += 1) await turn();
  assert.equal(isUp, false);
  taken.resolve();
  assert.equal((await leg).kind, "up");
});

test(
  "Tickets of TLS 1.3 are with the other workers before the client hears from the server where to open a data connection",
  LIMIT,
  async (t) => {
    const taken = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
    const other = worker(false);
    let tickets = 0;
    const { server, stream, leg, secured } = await controlConnection(
      t,
      "TLSv1.3",
      worker(async (shared) => {
        const { promise } = taken[tickets]!;
        tickets += 1;
        await promise;
        other.ftp.take(shared);
      }),
    );
    assert.equal((await leg).kind, "up");
    await secured;
    const [client, peer] = await endAndSocket(t);
    const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
    const over = relay(client, server, { meter, taps: [], idle: 60_000 });

    let heard = "";
    peer.on("data", (bytes) => {
      heard += bytes;
    });
    peer.resume();
    stream.write(REPLY);
    await turnsUntil(t, () => server.hasUnread || heard !== "");
    assert.deepEqual([heard, tickets, other.ftp.has(PEERS)], ["", 2, false]);

    taken[1].resolve();
    for (let turns = 0; turns < 20; turns += 1) await turn();
    assert.equal(heard, "", "one of the tickets is not with the other worker yet");
    taken[0].resolve();
    await turnsUntil(t, () => heard === REPLY);
    assert.deepEqual([other.ftp.has(PEERS), other.sessions.size], [true, 2]);

    stream.write("226 Transfer complete\r\n");
    await turnsUntil(t, () => heard.endsWith("226 Transfer complete\r\n"));
    stream.end();
    peer.end();
    await over;
    other.sessions.flush();
  },
);

test(
  "What a server says before it ends passes, whether the other workers have its tickets or not",
  LIMIT,
  async (t) => {
    const { server, stream, leg } = await controlConnection(
      t,
      "TLSv1.3",
      worker(() => new Promise(() => {})),
    );
    assert.equal((await leg).kind, "up");
    const [client, peer] = await endAndSocket(t);
    const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
    const over = relay(client, server, { meter, taps: [], idle: 60_000 });
    stream.end("421 Too many connections\r\n");
    const chunks: Buffer[] = [];
    for await (const chunk of peer) chunks.push(chunk as Buffer);
    assert.equal(Buffer.concat(chunks).toString(), "421 Too many connections\r\n");
    peer.end();
    await over;
  },
);

test("With one worker nothing waits", () => {
  const { sessions, ftp } = worker(false);
  const session = { bytes: () => Buffer.alloc(0) } as unknown as Given[1];
  const shown = { certificates: { ders: [] }, until: 0 } as unknown as Given[2];
  assert.equal(ftp.share(PEERS, "name", session, shown), undefined);
  assert.deepEqual([ftp.has(PEERS), sessions.size], [true, 0]);
});
