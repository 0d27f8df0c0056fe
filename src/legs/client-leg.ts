import { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { TLSSocket, type TLSSocketOptions } from "node:tls";
import type { ClientHello } from "../wire/client-hello.ts";
import { type Group, groupById } from "../wire/groups.ts";
import { SUITES } from "../wire/suites.ts";
import type { ContextCache } from "./contexts.ts";
import { type Leg, type LegFailure, STREAM, type StreamOptions } from "./leg.ts";
import { allowsTls, alpnList, highestShared, numberOf, tlsRange, type VersionRange } from "./offer.ts";
import { explainFailure, explainTimeout } from "./openssl-errors.ts";
import type { SessionStore } from "./session-store.ts";
import { openSsl3ClientLeg } from "./ssl3.ts";

/** The TLS session with the client. */
export interface ClientLeg extends Leg {
  readonly kind: "up";
  /** Which of several certificates the client was shown: its place among them. Absent: there was one. */
  readonly shown?: number;
}

/** What the client is shown. Several when there is one of each key type; OpenSSL shows the one that the client can verify. */
export interface Presentable {
  readonly certificatePem: string;
  readonly keyPem: string;
}

export interface ClientLegOptions {
  readonly presented: readonly Presentable[];
  /** What the server chose; undefined: it chose none, and the client gets none. */
  readonly alpn: string | undefined;
  readonly versions: VersionRange;
  /** ms for the whole handshake. */
  readonly timeout: number;
  readonly contexts: ContextCache;
  /** Sessions that this client may resume. Without them nothing is resumed. */
  readonly sessions?: SessionStore | undefined;
}

const CIPHERS = SUITES.map(({ openssl }) => openssl).join(":");
const SSL3 = 0x0300;
const TLS12 = 0x0303;
const TLS13 = 0x0304;

/**
 * Answers the client's hello; `bytes` are those that it came in, for OpenSSL to read again. A client that refuses, because it does not
 * trust the certificate say, is an expected outcome; it has had its alert from OpenSSL.
 */
export async function openClientLeg(
  socket: Socket,
  { hello, bytes }: { readonly hello: ClientHello; readonly bytes: Buffer },
  { presented, alpn, versions, timeout, contexts, sessions }: ClientLegOptions,
): Promise<ClientLeg | LegFailure> {
  if (await hasLeft(socket)) return explainFailure("client", ENDED);
  if (highestShared(hello, versions) === SSL3 || !allowsTls(versions)) {
    const highest = numberOf(versions.max);
    return openSsl3ClientLeg(socket, bytes, {
      presented,
      suites: versions.ssl3Suites ?? "all",
      highest,
      timeout,
      sessions,
    });
  }
  socket.unshift(bytes);
  const group = chooseGroup(hello, versions);
  const secureContext = contexts.take({
    cert: presented.map(({ certificatePem }) => certificatePem),
    key: presented.map(({ keyPem }) => keyPem),
    ...tlsRange(versions),
    ciphers: (hello.versions[0] ?? 0) < TLS12 ? `${CIPHERS}:@SECLEVEL=0` : CIPHERS,
    dhparam: "auto",
    ...(group && { ecdhCurve: group.openssl }),
  });
  const options: TLSSocketOptions & StreamOptions = {
    isServer: true,
    secureContext,
    ...STREAM,
    // Without a choice of the server's the extension is ignored, as the server ignored it (RFC 7301, section 3.2).
    ...(alpn !== undefined && { ALPNProtocols: alpnList([alpn]) }),
  };
  const stream = new TLSSocket(socket, options);
  const failure = await handshake(stream, timeout);
  if (failure) {
    stream.destroy();
    return failure;
  }
  const suite = stream.getCipher().standardName;
  return {
    kind: "up",
    stream,
    socket,
    ...(presented.length > 1 && { shown: placeOf(stream, presented) }),
    negotiated: {
      version: stream.getProtocol() ?? "unknown",
      suite,
      group: suite.startsWith("TLS_RSA_") || suite.startsWith("TLS_DHE_") ? undefined : group?.name,
      alpn: stream.alpnProtocol || undefined,
    },
  };
}

/** OpenSSL chooses by what the client can verify, and says which only now. */
function placeOf(stream: TLSSocket, presented: readonly Presentable[]): number {
  const shown = stream.getX509Certificate();
  const isShown = ({ certificatePem }: Presentable) =>
    new X509Certificate(certificatePem).fingerprint256 === shown?.fingerprint256;
  return Math.max(0, presented.findIndex(isShown));
}

/** What Node calls a FIN in the middle of a handshake. */
const ENDED = Object.assign(new Error(), { code: "ECONNRESET" });

/**
 * The client may have left while the server was spoken to. TLS takes the connection over below the socket, where an end that
 * has been read already is not seen again: the handshake would wait for it until its timeout.
 */
async function hasLeft(socket: Socket): Promise<boolean> {
  const behind: Buffer | null = socket.read();
  // What is read to its end says so in the next tick.
  await new Promise<void>((resolve) => process.nextTick(resolve));
  if (socket.destroyed || socket.readableEnded) return true;
  if (behind !== null) socket.unshift(behind);
  return false;
}

/**
 * Node does not tell a server which group was negotiated, so the node chooses one itself: the client's first among those
 * that it sent a share for, which also saves a HelloRetryRequest, else its first among those that it supports.
 */
function chooseGroup(hello: ClientHello, versions: VersionRange): Group | undefined {
  const tls13 = hello.versions.includes(TLS13) && versions.max === "TLSv1.3";
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
    // Told from inside OpenSSL, which has its session tickets still to write: whoever destroyed the stream now would crash
    // the process.
    stream.once("secure", () => setImmediate(settle, undefined));
    // A server-side TLSSocket that no tls.Server owns tells of TLS errors by this event alone, before and after the handshake:
    // without an end of its own a stream that broke would stay open and silent.
    stream.on("_tlsError", (error: Error) => {
      failed(error);
      stream.destroy(error);
    });
    // Stays: an error between here and the relay must not bring the process down.
    stream.on("error", failed);
    // A stream that may be half-open is not closed by the client's end.
    stream.once("end", () => failed(ENDED));
    stream.once("close", () => failed(ENDED));
  });
}
