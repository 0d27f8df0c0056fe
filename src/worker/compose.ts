import { openDetectors } from "../detect/detectors.ts";
import { asksProxy, openWatch } from "../detect/starttls/dialogues.ts";
import { NetworkError } from "../errors.ts";
import type { Feed } from "../feeds/feed.ts";
import { keyTaker, openTaps } from "../feeds/taps.ts";
import type { Ends, Node } from "../flow/stages.ts";
import { probeServer } from "../legs/certificate-probe.ts";
import { openClientLeg } from "../legs/client-leg.ts";
import type { ContextCache } from "../legs/contexts.ts";
import type { KeyTaker } from "../legs/leg.ts";
import { receivedAlert } from "../legs/openssl-errors.ts";
import { mayFallBack, openServerLeg } from "../legs/server-leg.ts";
import { log } from "../log.ts";
import type { FromWorker, WorkerSetup } from "../messages.ts";
import type { IssuedCache } from "../pki/issue/issued.ts";
import { keyTypeFor } from "../pki/issue/key-type.ts";
import { createKeystore } from "../pki/keys/keystore.ts";
import { createRevocationChecker } from "../pki/revocation/revocation.ts";
import type { RevocationCache } from "../pki/revocation/revocation-cache.ts";
import { createFetch } from "../pki/revocation/revocation-fetch.ts";
import { createJudge, type VerifiedCache } from "../pki/verify/judge.ts";
import type { Demanding } from "../policy/demanding.ts";
import { compilePolicy } from "../policy/evaluate.ts";
import type { TicketKeys } from "../resumption/ticket-keys.ts";
import type { WorkerSessions } from "../resumption/worker-sessions.ts";
import type { Ledger } from "../sessions/ledger.ts";
import { asSsl3Alert } from "../ssl3/alerts.ts";
import { openTunnel, openUpgradableConversation } from "../streams/conversation.ts";
import { resolveHost } from "../streams/dial.ts";
import { farewell } from "../streams/farewell.ts";
import { readUntil } from "../streams/reading.ts";
import { relayThrough } from "../streams/relay-chain.ts";
import { replayDialogue } from "../streams/replay-dialogue.ts";
import type { Chains } from "../tools/chain.ts";
import { VERSIONS } from "../vocabulary.ts";
import { Accumulator } from "../wire/accumulator.ts";
import { fatalAlert } from "../wire/alert.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { ja3, ja4 } from "../wire/fingerprint.ts";
import type { Admission } from "./admission.ts";

/** ms for which a server's offer of TLS is remembered. */
const OFFERING = 7 * 86_400_000;

/** What outlives a reload: the Node of each setup is composed over the same. */
export interface Lasting {
  readonly ledger: Ledger;
  readonly contexts: ContextCache;
  readonly issued: IssuedCache;
  readonly verified: VerifiedCache;
  readonly revocation: RevocationCache;
  /** Servers that demand a client certificate, and servers that offered TLS in plaintext. */
  readonly demanding: Demanding;
  readonly offering: Demanding;
  readonly sessions: Pick<WorkerSessions, "clients" | "servers">;
  /** The keys are replaced as they are turned. */
  readonly tickets: { keys: TicketKeys; hits: number; misses: number };
  readonly admission: Admission;
  /** Says it to the supervisor. */
  readonly tell: (message: FromWorker) => unknown;
}

/** The stages that `flow.ts` tells of, as this setup has them. */
export function composeNode(setup: WorkerSetup, fed: readonly Feed[], chains: Chains, lasting: Lasting): Node {
  const takeKey = keyTaker(fed);
  return {
    policy: compilePolicy(setup.policy),
    ...beginning(setup, lasting),
    ...plaintext(setup, lasting),
    ...serverSide(setup, takeKey, lasting),
    ...certificates(setup, lasting),
    ...clientSide(setup, takeKey, lasting),
    ...carrying(setup, fed, chains, lasting),
    alertOf: receivedAlert,
    part: (socket, alert, hello) => farewell(socket, alert === undefined ? "" : refusalFor(hello, alert)),
    report: (session, error) => log.error({ session: session.id, err: error }, "A bug ended a session"),
  };
}

/** A session's record, its server's addresses and what its first bytes are. */
function beginning(
  { config: { timeouts } }: WorkerSetup,
  { ledger, admission }: Lasting,
): Pick<Node, "open" | "resolve" | "detect" | "fingerprints"> {
  return {
    open({ listener, mode, from, client }) {
      const state = client ? ("EST:INIT:INIT:INIT" as const) : ("INIT:INIT:INIT:INIT" as const);
      const birth = { listener, mode, client: from, server: null, state };
      const entry = ledger.open(birth, Date.now());
      return {
        id: entry.id,
        client: from,
        meter: entry.meter,
        get rule() {
          return entry.session.rule;
        },
        note: (news) => entry.note(news, Date.now()),
        close: (reason) => entry.close(admission.isOver ? "The node stopped" : reason, Date.now()),
      };
    },
    resolve: (host) => resolveHost(host, timeouts.connect),
    async detect(client, server, agreed = false) {
      const opening = openDetectors();
      const undecided = { silence: agreed ? timeouts.hello : timeouts.idle, gap: timeouts.hello };
      const judgeBytes = (side: "client" | "server", bytes: Buffer) => {
        const sighting = opening.feed(side, bytes);
        return sighting.kind === "more" ? undefined : sighting;
      };
      try {
        return await readUntil({ client, server }, judgeBytes, undecided);
      } finally {
        admission.keep(client);
      }
    },
    fingerprints: (hello) => ({ ja3: ja3(hello), ja4: ja4(hello) }),
  };
}

/** What is not TLS and may become it: the stages of `upgrade.ts`. */
function plaintext(
  { config: { timeouts, policy } }: WorkerSetup,
  { offering, tell }: Lasting,
): Pick<Node, "watch" | "watchInside" | "converse" | "tunnel" | "sayAgain" | "glimpse" | "offering" | "withdrawn"> {
  const { enabled, ports } = policy.startTls;
  return {
    watch(port, begun) {
      const startTls = ports.includes(port);
      return enabled && (startTls || asksProxy(begun)) ? openWatch({ startTls, received: begun }) : undefined;
    },
    watchInside: () => (enabled ? openWatch({ startTls: false }) : undefined),
    converse: openUpgradableConversation,
    tunnel: openTunnel,
    sayAgain: (socket, agreement) => replayDialogue(socket, agreement, timeouts.handshake),
    async glimpse(client, server) {
      const begun = new Accumulator();
      const judgeBytes = (side: "client" | "server", bytes: Buffer) => {
        if (side === "server") return { asks: false };
        begun.append(bytes);
        const asks = asksProxy(begun.bytes);
        return asks === "more" ? undefined : { asks };
      };
      try {
        const read = await readUntil({ client, server }, judgeBytes, { silence: timeouts.idle, gap: timeouts.hello });
        return { ...read, asks: read.answer?.asks ?? false, failure: undefined };
      } catch (error) {
        if (!(error instanceof NetworkError) || error.code === "ETIMEDOUT") throw error;
        const failure = error.cause instanceof Error ? error.cause : error;
        return { asks: false, client: Buffer.alloc(0), server: Buffer.alloc(0), failure };
      }
    },
    offering: {
      has: (server) => offering.has(server, Date.now()),
      learn(server) {
        if (offering.has(server, Date.now())) return;
        const until = Date.now() + OFFERING;
        offering.learn(server, until);
        tell({ kind: "offering", server, until });
      },
    },
    withdrawn: (session, protocol, server) =>
      log.warn({ session: session.id, protocol, server }, "A server no longer offers the TLS that it offered before"),
  };
}

/** TLS with the server, and what its refusals may mean. */
function serverSide(
  { config, policy, resumption: { generation } }: WorkerSetup,
  takeKey: KeyTaker | undefined,
  { contexts, demanding, sessions, tell }: Lasting,
): Pick<Node, "serverLeg" | "mayFallBack" | "fallBack" | "demanding" | "probe"> {
  const { timeouts, resumption, tools: allTools } = config;
  const { versions } = policy;
  const optionsFor = (ends: Ends | undefined) => {
    const staple = config.policy.revocation.ocsp !== "off";
    const options = { versions, timeout: timeouts.handshake, contexts, takeKey, staple };
    if (!ends || !resumption.servers) return options;
    const { client, server } = ends;
    const bond = [generation, resumption.shareServers ? "" : client.address, server.address, server.port];
    return { ...options, resumption: { sessions: sessions.servers, bond, timeout: resumption.timeout } };
  };
  return {
    serverLeg(socket, hello, { tools, alpn }, ends) {
      const limited = alpn ?? limitOf(allTools, tools);
      const alpnProtocols = hello.alpnProtocols.filter((name) => limited === undefined || name === limited);
      return openServerLeg(socket, { ...hello, alpnProtocols }, optionsFor(ends));
    },
    mayFallBack: (failure) => mayFallBack(failure, versions),
    fallBack: (socket, hello, between) => openServerLeg(socket, hello, { ...optionsFor(between), fallback: true }),
    demanding: {
      has: (server) => demanding.has(server, Date.now()),
      learn(server) {
        const until = Date.now() + policy.clientCertificate.for;
        demanding.learn(server, until);
        tell({ kind: "demanding", server, until });
      },
    },
    probe: (dialServer, hello) => probeServer(dialServer, hello, timeouts.handshake),
  };
}

/** The server's certificate, and those that clients are shown. */
function certificates(
  { config, keys, roots, policy: { versions } }: WorkerSetup,
  { issued, verified, revocation: cache }: Lasting,
): Pick<Node, "holdsKey" | "judge" | "present"> {
  const [oldest, newest] = [VERSIONS[versions.min], VERSIONS[versions.max]];
  const spoken = (hello: ClientHello) => hello.versions.filter((version) => version >= oldest && version <= newest);
  const keystore = createKeystore(keys);
  const { revocation } = config.policy;
  const asks = revocation.ocsp !== "off" || revocation.crl !== "off";
  const asked = asks ? createRevocationChecker(revocation, cache, createFetch(revocation)) : undefined;
  const judge = createJudge(keystore, roots, verified, asked);
  return {
    holdsKey: (host, address) => keystore.find(host, address).length > 0,
    judge: (leg, host, address) => judge(leg, host, address, Date.now()),
    async present(leg, hello, { held, record, facts }) {
      const describe = ({ serial, sha256, keyType }: (typeof held)[number]) =>
        ({ authority: "inbound", serial, sha256, keyType }) as const;
      const [own, ...others] = held;
      if (own) return { shown: held, records: [describe(own), ...others.map(describe)] };
      const authority = facts.faults.length > 0 ? "secondary" : "primary";
      const wanted = {
        certificate: leg.certificate.raw,
        authority,
        keyType: keyTypeFor(hello, spoken(hello)),
      } as const;
      const minted = await issued.take(record.sha256, wanted, Date.now());
      const { serial, sha256, keyType } = minted;
      return { shown: [minted], records: [{ authority, serial, sha256, keyType }] };
    },
  };
}

/** TLS with the client. */
function clientSide(
  { config: { timeouts, resumption }, policy: { versions }, resumption: { generation } }: WorkerSetup,
  takeKey: KeyTaker | undefined,
  { contexts, sessions, tickets }: Lasting,
): Pick<Node, "clientLeg"> {
  return {
    async clientLeg(socket, opening, { shown, records }, { alpn }, { listener, client, server, host }) {
      const leg = await openClientLeg(socket, opening, {
        ...{ presented: shown, alpn, versions, timeout: timeouts.handshake, contexts, takeKey },
        resumption: {
          sessions: resumption.identifiers ? sessions.clients : undefined,
          ticketKeys: resumption.tickets ? tickets.keys : [],
          // The certificate too: a client that resumes sees none, so it must have seen the one that it would see now.
          bond: [
            ...[generation, listener, client.address, host ?? server.address, server.port],
            ...records.map(({ sha256 }) => sha256),
          ],
          timeout: resumption.timeout,
        },
      });
      const { sessionTicket, pskIdentity } = opening.hello;
      if (resumption.tickets && leg.kind === "up" && (sessionTicket ?? pskIdentity)) {
        tickets[leg.negotiated.resumed ? "hits" : "misses"] += 1;
      }
      return leg;
    },
  };
}

/** The bytes' way through tools and past feeds. */
function carrying(
  { config: { timeouts } }: WorkerSetup,
  fed: readonly Feed[],
  chains: Chains,
  { admission }: Lasting,
): Pick<Node, "tools" | "tap" | "relay"> {
  return {
    async tools(session, { tools: wanted, ...about }) {
      const subject = { ...about, id: session.id, client: session.client, alpn: about.alpn };
      const chain = await chains.connect(subject, wanted, (ends) => session.note({ state: `EST:EST:${ends}` }));
      if (chain.kind === "ready") session.note({ tools: chain.passed });
      return chain;
    },
    tap(session, { flow, server, host, rule: expected, description }) {
      const { id, client, rule } = session;
      const about = { id, client, server, host, flow, rule: rule ?? expected, description };
      const { places, ...taps } = openTaps(fed, about, Date.now());
      // A bypass that falls late leaves what was said before it where it is.
      if (Object.keys(places).length > 0) session.note({ feeds: places });
      return taps;
    },
    relay(client, hops, server, meter, taps) {
      // Plain HTTP and what the network phase bypasses were never asked what they are: from here on they are served.
      admission.keep(client.socket);
      return relayThrough(client, hops, server, { meter, taps, idle: timeouts.idle });
    },
  };
}

/** A client that speaks nothing newer than SSL 3.0 knows neither the version of a later record nor its alerts. */
function refusalFor(hello: ClientHello | undefined, alert: number): Buffer {
  const isOld = hello?.versions[0] === VERSIONS.SSLv3;
  return isOld ? fatalAlert(asSsl3Alert(alert), VERSIONS.SSLv3) : fatalAlert(alert);
}

/** A tool of the session's that knows only HTTP/1.1 keeps HTTP/2 out. */
function limitOf(tools: WorkerSetup["config"]["tools"], wanted: readonly string[] | undefined): string | undefined {
  return tools.find(({ name, flows, alpn }) => alpn && flows.includes("decrypted") && (wanted?.includes(name) ?? true))
    ?.alpn;
}
