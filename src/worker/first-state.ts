import { Loop } from "../engine/loop.ts";
import { TrustStore } from "../engine/verify.ts";
import { Writer } from "../engine/writer.ts";
import { carry } from "../flow/flow.ts";
import { createContextCache } from "../legs/contexts.ts";
import { createFtpSessions } from "../legs/ftp-sessions.ts";
import type { RememberedSession } from "../legs/server-session.ts";
import { log } from "../log.ts";
import type { WorkerSetup } from "../messages.ts";
import { createIssuedCache } from "../pki/issue/issued.ts";
import { createRevocationCache } from "../pki/revocation/revocation-cache.ts";
import { createVerifiedCache } from "../pki/verify/judge.ts";
import { BypassTable } from "../policy/bypass.ts";
import { createKnownServers } from "../policy/known-servers.ts";
import { ServerSessions } from "../resumption/server-sessions.ts";
import { createWorkerSessions } from "../resumption/worker-sessions.ts";
import { Ledger } from "../sessions/ledger.ts";
import { createToolTraffic } from "../tools/chain.ts";
import { createReturns } from "../tools/returns.ts";
import { createAdmission } from "./admission.ts";
import { LIMITS } from "./caches.ts";
import { createFtpChannel } from "./ftp-channel.ts";
import { createMintChannel } from "./mint-channel.ts";
import { createOverload } from "./overload-measures.ts";
import type { WorkerState } from "./state.ts";
import { createTurns } from "./turns.ts";

/** How many clients' TLS sessions this worker keeps itself. The supervisor's cache for all workers has more. */
const OWN_SESSIONS = 2_000;
/** How many servers that offered TLS in plaintext are remembered. */
const OFFERING = 10_000;

/** A worker's state before its first setup is applied: nothing is open. */
export function createState(setup: WorkerSetup, tell: WorkerState["tell"]): WorkerState {
  const { sessions } = setup.config.resumption;
  const serverSessions = Math.ceil(sessions / setup.workers);
  const servers = new ServerSessions<RememberedSession>(serverSessions);
  const own = Math.min(OWN_SESSIONS, sessions);
  const { clients, settle, forget } = createWorkerSessions(setup.resumption.secret, own, {
    put: (name, sealed, until) => tell({ kind: "put session", name, sealed, until }),
    find: (name, request) => tell({ kind: "find session", name, request }),
    forget: (name) => tell({ kind: "forget session", name }),
  });
  const demanding = createKnownServers(LIMITS.demanding);
  for (const [server, until] of setup.demanding) demanding.learn(server, until);
  const binding = createKnownServers(LIMITS.binding);
  for (const [server, until] of setup.binding) binding.learn(server, until);
  const pinning = createKnownServers(LIMITS.pinning);
  for (const [server, until] of setup.pinning) pinning.learn(server, until);
  const bypasses = new BypassTable();
  bypasses.replace(setup.bypasses);
  const mint = createMintChannel(tell, () => state.setup.config.timeouts.handshake);
  const ftpChannel = createFtpChannel(tell);
  const loop = new Loop();
  loop.report = ({ message }) => log.warn(message);
  const state: WorkerState = {
    tell,
    ledger: new Ledger(setup.worker),
    loop,
    writer: new Writer(),
    trust: new TrustStore([]),
    contexts: createContextCache(LIMITS.contexts),
    listTables: new Map(),
    bypasses,
    issued: createIssuedCache(LIMITS.issued, mint.ask),
    verified: createVerifiedCache(LIMITS.verified),
    revocation: createRevocationCache(LIMITS.revocation),
    demanding,
    binding,
    pinning,
    offered: setup.offered,
    offering: createKnownServers(OFFERING),
    sessions: { clients, servers },
    ftp: createFtpSessions(createKnownServers(OFFERING), servers, setup.workers > 1 && ftpChannel.share),
    ftpChannel,
    tickets: { keys: setup.resumption.ticketKeys, hits: 0, misses: 0 },
    // The node is there before the first arrival: `applySetup` opens the listeners last.
    admission: createAdmission(
      (arrival) => carry(arrival, state.node!),
      (arrival) => state.live.get(arrival)?.record.lastActivity ?? 0,
    ),
    live: new WeakMap(),
    setup,
    node: undefined,
    feeds: [],
    listeners: new Map(),
    tools: new Map(),
    traffic: createToolTraffic(setup.failedTools),
    returns: createReturns(loop, setup.workers === 1, tell),
    turns: createTurns(),
    overload: createOverload(loop, () => state),
    mint,
    settle,
    forgetSession: forget,
    serverSessions,
    timers: [],
  };
  return state;
}
