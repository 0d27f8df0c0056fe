import type { End } from "../engine/end.ts";
import { farewell } from "../engine/farewell.ts";
import type { Writer } from "../engine/writer.ts";
import type { ShownCertificate } from "../pki/verify/judge.ts";
import type { TicketKeys } from "../resumption/ticket-keys.ts";
import type { WorkerSessions } from "../resumption/worker-sessions.ts";
import { asSsl3Alert } from "../ssl3/alerts.ts";
import { type Endpoint, VERSIONS } from "../vocabulary.ts";
import { fatalAlert } from "../wire/alert.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { openClientLeg } from "./client-leg.ts";
import type { ContextCache } from "./contexts.ts";
import { FTP_SESSION, type FtpSessions } from "./ftp-sessions.ts";
import type { ClientLeg, KeyTaker, LegFailure, Presentable } from "./leg.ts";
import { highestShared, type VersionRange } from "./offer.ts";
import { attemptServerLeg, type ServerAttempt, type ServerConnection } from "./server-attempts.ts";
import { mayFallBack, openServerLeg } from "./server-leg.ts";
import type { ServerResumption } from "./server-session.ts";
import { readShown } from "./shown-chain.ts";
import { leavesOut, whyUndecryptable } from "./undecryptable.ts";

/** The TLS sessions with the two peers. */
export interface LegStage {
  /** Opens TLS with the server, over other connections and in SSL 3.0 where that may help. `onlyAlpn`: no other protocol is offered. */
  server(
    connection: ServerConnection,
    hello: ClientHello,
    limits: { readonly onlyAlpn: string | undefined; readonly scope: ResumptionScope },
  ): Promise<ServerAttempt>;
  /** Opens TLS with the client. `alpn`: the protocol that the server chose. */
  client(
    client: End,
    received: ReceivedHello,
    presented: PresentedCertificates,
    agreed: { readonly alpn: string | undefined; readonly scope: ResumptionScope },
  ): Promise<ClientLeg | LegFailure>;
  /**
   * Opens TLS with the client for an answer of the node's own, in the protocol `alpn`, which the client offers. Such a session is never
   * resumed, and its keys are nobody's but the node's.
   */
  own(
    client: End,
    received: ReceivedHello,
    presented: PresentedCertificates,
    alpn: string,
  ): Promise<ClientLeg | LegFailure>;
  /** Whether the client can have TLS with the node itself. */
  canAnswer(hello: ClientHello): boolean;
  /** What a server showed in a handshake that is not the node's, in DER. Undefined: it cannot be read. */
  shown(ders: readonly Buffer[]): ShownCertificate | undefined;
  /** Why TLS of this client cannot be decrypted, whatever its server answers: a sentence without its end. Undefined: it can. */
  whyUndecryptable(hello: ClientHello, keyHeld: boolean): string | undefined;
  /** Whether the client offers suites, groups or a pre-shared key that the node cannot offer to the server. */
  leavesOut(hello: ClientHello): boolean;
  /**
   * Ends a connection on which no TLS is spoken yet, with a fatal alert. `hello`: the client's, if it has sent one. Answers the alert as
   * the client's version has it.
   */
  refuse(client: End, alert: number, hello?: ClientHello): number;
}

/** A ClientHello, and the very bytes that it came in: a bypass sends them on. */
export interface ReceivedHello {
  readonly hello: ClientHello;
  readonly bytes: Buffer;
}

/** Within what a TLS session is resumed: between the same two peers, for the same host. */
export interface ResumptionScope {
  readonly listener: string;
  readonly client: Endpoint;
  readonly server: Endpoint;
  /** It is the control connection of FTP. */
  readonly ftpControl: boolean;
  /** The host that the client means; undefined: it does not say. */
  readonly host: string | undefined;
}

/** The certificates for the client, of which it is shown one, and their fingerprints in the same order. */
export interface PresentedCertificates {
  readonly certificates: readonly Presentable[];
  readonly records: readonly { readonly sha256: string }[];
}

export interface LegSettings {
  readonly versions: VersionRange;
  /** The largest group of Diffie-Hellman over integers that the node computes with, in bits. */
  readonly dhBits: number;
  /** ms for a whole handshake. */
  readonly handshake: number;
  /** Servers are asked to staple the status of their certificates. */
  readonly staple: boolean;
  /** Somebody wants the ServerHellos. */
  readonly seesHello: boolean;
  readonly resumption: {
    /** Clients may come back by session identifier, by ticket; the node comes back to servers. */
    readonly identifiers: boolean;
    readonly tickets: boolean;
    readonly servers: boolean;
    /** A session with a server may be resumed for another client. */
    readonly shareServers: boolean;
    /** ms from the full handshake to the last abbreviated one. */
    readonly timeout: number;
    /** Names the policy: a session is not resumed under another one. */
    readonly generation: string;
  };
}

/** What the legs of all sessions share. */
export interface LegMemory {
  readonly contexts: ContextCache;
  readonly sessions: Pick<WorkerSessions, "clients"> & { readonly servers: ServerResumption["sessions"] };
  readonly writer: Writer;
  readonly ftp: FtpSessions;
  /** The keys are replaced as they are renewed. */
  readonly tickets: { readonly keys: TicketKeys; hits: number; misses: number };
}

/** `takeKey` gets the keys of all legs; undefined: nobody wants them. */
export function createLegStage(settings: LegSettings, memory: LegMemory, takeKey: KeyTaker | undefined): LegStage {
  const { versions } = settings;
  return {
    server(connection, hello, { onlyAlpn, scope }) {
      const alpnProtocols = hello.alpnProtocols.filter((name) => onlyAlpn === undefined || name === onlyAlpn);
      const resuming = serverOptions(settings, memory, takeKey, scope);
      const full = serverOptions(settings, memory, takeKey, undefined);
      return attemptServerLeg(connection, {
        tls: (end, mayResume) => openServerLeg(end, { ...hello, alpnProtocols }, mayResume ? resuming : full),
        ssl3: (end, mayResume) => openServerLeg(end, hello, { ...(mayResume ? resuming : full), fallback: true }),
        mayFallBack: (failure) => mayFallBack(failure, versions),
      });
    },
    client: (client, received, presented, agreed) =>
      openCountedClientLeg(client, received, { presented, agreed, settings, memory, takeKey }),
    own(client, { hello }, { certificates: presented }, alpn) {
      const { dhBits, handshake: timeout } = settings;
      const { writer, contexts } = memory;
      return openClientLeg(client, hello, { writer, contexts, presented, alpn, versions, dhBits, timeout });
    },
    canAnswer(hello) {
      const version = highestShared(hello, versions);
      return version !== undefined && version > VERSIONS.SSLv3 && !whyUndecryptable(hello, settings, false);
    },
    leavesOut,
    shown(ders) {
      const read = readShown(ders);
      return read && { certificate: read.chain[0], ders: read.ders, key: read.key };
    },
    whyUndecryptable: (hello, keyHeld) => whyUndecryptable(hello, settings, keyHeld),
    refuse(client, alert, hello) {
      // A client that speaks nothing newer than SSL 3.0 knows neither TLS records nor the alerts that TLS added.
      const isOld = hello?.versions[0] === VERSIONS.SSLv3;
      const sent = isOld ? asSsl3Alert(alert) : alert;
      void farewell(client, isOld ? fatalAlert(sent, VERSIONS.SSLv3) : fatalAlert(sent));
      return sent;
    },
  };
}

function serverOptions(
  { versions, dhBits, handshake, staple, seesHello, resumption }: LegSettings,
  { contexts, sessions, writer, ftp }: LegMemory,
  takeKey: KeyTaker | undefined,
  scope: ResumptionScope | undefined,
) {
  const options = { versions, dhBits, timeout: handshake, contexts, writer, takeKey, staple, seesHello };
  if (!scope || !resumption.servers) return options;
  const { client, server } = scope;
  const sharer = resumption.shareServers ? "" : client.address;
  const place = placeOf(scope, ftp);
  const bond = [resumption.generation, sharer, server.address, place];
  const timeout = place === FTP ? Math.max(resumption.timeout, FTP_SESSION) : resumption.timeout;
  const share: ServerResumption["share"] = (...given) => ftp.share(peersOf(scope), ...given);
  return {
    ...options,
    resumption: {
      ...{ sessions: sessions.servers, bond, timeout, isShared: place === FTP },
      ...(scope.ftpControl && { share }),
    },
  };
}

/** Stands for the ports of an FTP server: its data connections resume the session of their control connection. */
const FTP = "ftp";
/** A data connection in passive mode goes to a port above the well-known ones. */
const LOWEST_DATA_PORT = 1024;

/** The port, or what stands for it. */
function placeOf(scope: ResumptionScope, ftp: FtpSessions): string | number {
  if (scope.ftpControl) return FTP;
  return scope.server.port >= LOWEST_DATA_PORT && ftp.has(peersOf(scope)) ? FTP : scope.server.port;
}

function peersOf({ listener, client, server }: ResumptionScope): string {
  return `${listener} ${client.address} ${server.address}`;
}

interface ClientLegContext {
  readonly presented: PresentedCertificates;
  readonly agreed: { readonly alpn: string | undefined; readonly scope: ResumptionScope };
  readonly settings: LegSettings;
  readonly memory: LegMemory;
  readonly takeKey: KeyTaker | undefined;
}

/** Counts how often tickets were good, too. */
async function openCountedClientLeg(
  end: End,
  received: ReceivedHello,
  { presented, agreed, settings: { versions, dhBits, handshake, resumption }, memory, takeKey }: ClientLegContext,
): Promise<ClientLeg | LegFailure> {
  const { contexts, sessions, tickets, writer } = memory;
  const { listener, client, server, host } = agreed.scope;
  const place = placeOf(agreed.scope, memory.ftp);
  // A client that resumes sees no certificate, so it must have seen the one that it would see now.
  const shown = presented.records.map(({ sha256 }) => sha256);
  const leg = await openClientLeg(end, received.hello, {
    ...{
      writer,
      presented: presented.certificates,
      alpn: agreed.alpn,
      versions,
      dhBits,
      timeout: handshake,
      contexts,
      takeKey,
    },
    resumption: {
      sessions: resumption.identifiers ? sessions.clients : undefined,
      ticketKeys: resumption.tickets ? tickets.keys : [],
      bond: [resumption.generation, listener, client.address, host ?? server.address, place, ...shown],
      timeout: place === FTP ? Math.max(resumption.timeout, FTP_SESSION) : resumption.timeout,
    },
  });
  const { sessionTicket, pskIdentity } = received.hello;
  if (resumption.tickets && leg.kind === "up" && (sessionTicket ?? pskIdentity)) {
    tickets[leg.negotiated.resumed ? "hits" : "misses"] += 1;
  }
  return leg;
}
