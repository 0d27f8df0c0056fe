import { hash, X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { type SecureContext, TLSSocket, type TLSSocketOptions } from "node:tls";
import type { Bond } from "../resumption/keeper.ts";
import { ticketKeyFor } from "../resumption/ticket-keys.ts";
import { VERSIONS } from "../vocabulary.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { type Group, groupById } from "../wire/groups.ts";
import { SUITES } from "../wire/suites.ts";
import { openClientSession } from "./client-session.ts";
import type { ContextCache } from "./contexts.ts";
import {
  type ClientLeg,
  type ClientResumption,
  hearBreaks,
  type KeyTaker,
  type LegFailure,
  type Presentable,
  STREAM,
  type StreamOptions,
} from "./leg.ts";
import { allowsTls, alpnList, highestShared, tlsRange, type VersionRange } from "./offer.ts";
import { explainFailure, explainTimeout } from "./openssl-errors.ts";
import { openSsl3ClientLeg } from "./ssl3.ts";

export interface ClientLegOptions {
  readonly presented: readonly Presentable[];
  /** The protocol that the server chose; undefined: none, so the client gets none. */
  readonly alpn: string | undefined;
  readonly versions: VersionRange;
  /** ms for the whole handshake. */
  readonly timeout: number;
  readonly contexts: ContextCache;
  /** Undefined: nobody wants the keys. */
  readonly takeKey?: KeyTaker | undefined;
  /** Without it every handshake is a full one. */
  readonly resumption?: ClientResumption | undefined;
}

const NO_RESUMPTION: ClientResumption = { sessions: undefined, ticketKeys: [], bond: [], timeout: 300_000 };

const CIPHERS = SUITES.map(({ openssl }) => openssl).join(":");

/**
 * Answers the client's hello. `bytes` are the bytes of the hello, which OpenSSL reads again. It is an expected outcome that
 * the client refuses, for example because it does not trust the certificate. OpenSSL has then sent its alert.
 */
export async function openClientLeg(
  socket: Socket,
  { hello, bytes }: { readonly hello: ClientHello; readonly bytes: Buffer },
  { presented, alpn, versions, timeout, contexts, takeKey, resumption = NO_RESUMPTION }: ClientLegOptions,
): Promise<ClientLeg | LegFailure> {
  if (highestShared(hello, versions) === VERSIONS.SSLv3 || !allowsTls(versions)) {
    const [suites, highest] = [versions.ssl3Suites ?? "all", VERSIONS[versions.max]] as const;
    const options = { presented, suites, highest, timeout, takeKey, resumption };
    if (await hasLeft(socket)) return explainFailure("client", ENDED);
    return openSsl3ClientLeg(socket, { hello, bytes }, options);
  }
  const tls13 = hello.versions.includes(VERSIONS["TLSv1.3"]) && versions.max === "TLSv1.3";
  const sessions = tls13 ? undefined : resumption.sessions;
  const session = sessions && (await openClientSession(hello, { ...resumption, sessions }));
  if (await hasLeft(socket)) return explainFailure("client", ENDED);
  socket.unshift(bytes);
  const group = chooseGroup(hello, tls13);
  const ticketKey = ticketKeyFor(resumption.ticketKeys, tls13 ? hello.pskIdentity : hello.sessionTicket);
  const secureContext = contexts.take(
    {
      cert: presented.map(({ certificatePem }) => certificatePem),
      key: presented.map(({ keyPem }) => keyPem),
      ...tlsRange(versions),
      ciphers: (hello.versions[0] ?? 0) < VERSIONS["TLSv1.2"] ? `${CIPHERS}:@SECLEVEL=0` : CIPHERS,
      dhparam: "auto",
      sessionTimeout: Math.ceil(resumption.timeout / 1000),
      ...(ticketKey && { ticketKeys: Buffer.from(ticketKey) }),
      ...(group && { ecdhCurve: group.openssl }),
    },
    ticketKey !== undefined,
  );
  if (sessions || ticketKey) bindSessions(secureContext, resumption.bond);
  const options: TLSSocketOptions & StreamOptions = {
    isServer: true,
    secureContext,
    ...(session && { server: session.server }),
    ...STREAM,
    // If the server ignored the extension, so does the node (RFC 7301, section 3.2).
    ...(alpn !== undefined && { ALPNProtocols: alpnList([alpn]) }),
  };
  const stream = new TLSSocket(socket, options);
  session?.watch(stream);
  if (takeKey) stream.on("keylog", takeKey);
  const failure = await handshake(stream, timeout);
  if (failure) {
    stream.destroy();
    return failure;
  }
  hearBreaks(stream, socket);
  const suite = stream.getCipher().standardName;
  const resumed = stream.isSessionReused();
  // A resumed session of TLS 1.2 exchanges no keys; in TLS 1.3 it does (psk_dhe_ke).
  const ephemeral = !(suite.startsWith("TLS_RSA_") || suite.startsWith("TLS_DHE_") || (resumed && !tls13));
  return {
    kind: "up",
    stream,
    socket,
    // In a resumed session no certificate was shown.
    ...(presented.length > 1 && !resumed && { shown: placeOf(stream, presented) }),
    negotiated: {
      version: stream.getProtocol() ?? "unknown",
      suite,
      group: ephemeral ? group?.name : undefined,
      alpn: stream.alpnProtocol || undefined,
      resumed,
    },
  };
}

/**
 * Puts the bond into every session and ticket: OpenSSL resumes a session only with the same bond. Several clients share the
 * context, and a TLS socket takes the bond over when it is created, so the socket must be created right after this call.
 */
function bindSessions({ context }: SecureContext, bond: Bond): void {
  const name = hash("sha256", JSON.stringify(bond), "base64url");
  context.setSessionIdContext(name.slice(0, MAX_SESSION_ID_CONTEXT));
}

/** OpenSSL's SSL_MAX_SID_CTX_LENGTH, in bytes. */
const MAX_SESSION_ID_CONTEXT = 32;

/** OpenSSL chooses a certificate that the client can verify. Only after the handshake is it known which. */
function placeOf(stream: TLSSocket, presented: readonly Presentable[]): number {
  const shown = stream.getX509Certificate();
  const isShown = ({ certificatePem }: Presentable) =>
    new X509Certificate(certificatePem).fingerprint256 === shown?.fingerprint256;
  return Math.max(0, presented.findIndex(isShown));
}

/** Node's error for a FIN in the middle of a handshake. */
const ENDED = Object.assign(new Error(), { code: "ECONNRESET" });

/**
 * Whether the client has left during the handshake with the server. TLS takes the connection over below the socket and
 * does not see an end that the socket has read: the handshake would wait until its timeout.
 */
async function hasLeft(socket: Socket): Promise<boolean> {
  const behind: Buffer | null = socket.read();
  // A socket that has been read to its end emits "end" in the next tick.
  await new Promise<void>((resolve) => process.nextTick(resolve));
  if (socket.destroyed || socket.readableEnded) return true;
  if (behind !== null) socket.unshift(behind);
  return false;
}

/**
 * Node does not tell a server which group was negotiated, so the node chooses one itself: the client's first among those
 * that it sent a share for, which also saves a HelloRetryRequest, else its first among those that it supports.
 */
function chooseGroup(hello: ClientHello, tls13: boolean): Group | undefined {
  const first = (ids: readonly number[]) =>
    ids.map(groupById).find((group) => group && group.versions !== (tls13 ? "1.2-" : "1.3"));
  return (tls13 ? first(hello.keyShareGroups) : undefined) ?? first(hello.supportedGroups);
}

function handshake(stream: TLSSocket, timeout: number): Promise<LegFailure | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(explainTimeout("client", timeout)), timeout);
    const settle = (failure: LegFailure | undefined) => {
      clearTimeout(timer);
      resolve(failure);
    };
    const failed = (error: Error) => settle(explainFailure("client", error));
    // Emitted from inside OpenSSL, which has yet to write its session tickets: destroying the stream now would crash the
    // process.
    stream.once("secure", () => setImmediate(settle, undefined));
    // A server-side TLSSocket without a tls.Server reports TLS errors only by this event, before and after the handshake. A
    // stream that broke would stay open if it were not destroyed here.
    stream.on("_tlsError", (error: Error) => {
      failed(error);
      stream.destroy(error);
    });
    // Never removed: an error before the relay begins must not end the process.
    stream.on("error", failed);
    // The client's end does not close a stream that may be half-open.
    stream.once("end", () => failed(ENDED));
    stream.once("close", () => failed(ENDED));
  });
}
