import type { Socket } from "node:net";
import { type ConnectionOptions, connect, type DetailedPeerCertificate, type TLSSocket } from "node:tls";
import { VERSIONS } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { groupByOpenssl } from "../wire/groups.ts";
import type { ContextCache } from "./contexts.ts";
import { hearBreaks, type KeyTaker, type LegFailure, type ServerLeg, STREAM, type StreamOptions } from "./leg.ts";
import { allowsTls, alpnList, highestShared, type Offer, offerFor, offerOfNode, type VersionRange } from "./offer.ts";
import { explainFailure, explainTimeout } from "./openssl-errors.ts";
import { openSessionMemory, rememberChain, type ServerResumption } from "./server-session.ts";
import { openSsl3ServerLeg } from "./ssl3.ts";

export interface ServerLegOptions {
  readonly versions: VersionRange;
  /** ms for the whole handshake. */
  readonly timeout: number;
  readonly contexts: ContextCache;
  /** Undefined: nobody wants the keys. */
  readonly takeKey?: KeyTaker | undefined;
  /** Without it every handshake is a full one. */
  readonly resumption?: ServerResumption | undefined;
  /** Asks the server to staple the status of its certificate: RFC 6066, section 8. Not in SSL 3.0. */
  readonly staple?: boolean;
  /** The server has refused TLS: it is offered SSL 3.0, with the signal of RFC 7507. */
  readonly fallback?: boolean;
}

/**
 * Opens TLS toward the server with the intersection of what the client offered and what policy allows. The server's
 * certificate is not judged here. A server that refuses is an expected outcome.
 */
export async function openServerLeg(
  socket: Socket,
  hello: ClientHello,
  { versions, timeout, contexts, takeKey, resumption, staple = false, fallback = false }: ServerLegOptions,
): Promise<ServerLeg | LegFailure> {
  const isOld = highestShared(hello, versions) === VERSIONS.SSLv3;
  if (fallback || (isOld && !allowsTls(versions))) {
    const suites = versions.ssl3Suites ?? "all";
    return openSsl3ServerLeg(socket, hello, { suites, fallback, timeout, takeKey, resumption });
  }
  const offer = offerFor(isOld ? offerOfNode(hello) : hello, versions);
  if (offer.kind === "failed") return offer;
  const memory = resumption && openSessionMemory(resumption, offer);
  const earlier = await memory?.find();
  const started = performance.now();
  let stream: TLSSocket;
  try {
    stream = connectTls(socket, offer, { contexts, takeKey, staple }, memory && { session: earlier?.session });
  } catch (error) {
    // Everything that the hello offers may be below OpenSSL's security level.
    return explainFailure("server", error as NodeJS.ErrnoException);
  }
  let stapled: Buffer | undefined;
  stream.once("OCSPResponse", (response: Buffer | null) => {
    stapled = response && response.length > 0 ? response : undefined;
  });
  memory?.watch(stream);
  const failure = await handshake(stream, timeout);
  if (failure) {
    stream.destroy();
    if (earlier) memory?.forget();
    return { ...failure, resuming: earlier !== undefined };
  }
  const refusal = await certificateRefusal(stream, socket, performance.now() - started);
  if (refusal) return refusal;
  hearBreaks(stream, socket);
  const resumed = stream.isSessionReused();
  const certificate = resumed ? earlier?.shown.chain[0] : stream.getPeerX509Certificate();
  if (!certificate) {
    stream.destroy();
    const reason = "The server showed no certificate";
    return { kind: "failed", cause: "protocol", alert: ALERTS.handshake_failure, code: "NO_CERTIFICATE", reason };
  }
  const version = stream.getProtocol() ?? "unknown";
  // Node's types call it an Error; it is the code, or null.
  const code = (stream.authorizationError as unknown as string | null) ?? undefined;
  const shown = resumed && earlier ? earlier.shown : undefined;
  memory?.keep(
    () => shown ?? rememberChain(certificate, code, resumption!.timeout, Date.now()),
    resumed && version !== "TLSv1.3" ? earlier?.session : undefined,
  );
  return {
    kind: "up",
    stream,
    socket,
    certificate,
    ...(shown && { sent: shown.chain.slice(1) }),
    verifyCode: shown ? shown.code : code,
    staple: stapled,
    negotiated: {
      version,
      suite: stream.getCipher().standardName,
      // In a resumed session of TLS 1.2 no keys are exchanged; Node still names the group of the earlier one.
      group: resumed && version !== "TLSv1.3" ? undefined : groupOf(stream),
      alpn: stream.alpnProtocol || undefined,
      resumed,
    },
  };
}

/** A server that knows only SSL 3.0 answers a TLS hello with one of these alerts, with its own version, or not at all. */
const OLD_SERVERS_ALERTS: readonly number[] = [
  ALERTS.unexpected_message,
  ALERTS.handshake_failure,
  ALERTS.illegal_parameter,
  ALERTS.protocol_version,
];
const OLD_SERVERS_CODES = ["ERR_SSL_UNSUPPORTED_PROTOCOL", "ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_WRONG_SSL_VERSION"];

/**
 * Whether a server that refused may speak only SSL 3.0, and policy allows SSL 3.0: then it is worth asking again with
 * `fallback`. A server that speaks TLS refuses the fallback (RFC 7507), so nobody in between can force it.
 */
export function mayFallBack({ cause, alert, code }: LegFailure, versions: VersionRange): boolean {
  if (versions.min !== "SSLv3" || !allowsTls(versions)) return false;
  if (cause === "alert") return OLD_SERVERS_ALERTS.includes(alert);
  return cause === "network" || OLD_SERVERS_CODES.includes(code);
}

function connectTls(
  socket: Socket,
  offer: Offer,
  { contexts, takeKey, staple }: Pick<ServerLegOptions, "contexts" | "takeKey" | "staple">,
  resuming: { readonly session: Buffer | undefined } | undefined,
): TLSSocket {
  const secureContext = contexts.take(
    {
      minVersion: offer.minVersion,
      maxVersion: offer.maxVersion,
      ciphers: offer.ciphers,
      ...(offer.ecdhCurve !== undefined && { ecdhCurve: offer.ecdhCurve }),
      ...(offer.sigalgs !== undefined && { sigalgs: offer.sigalgs }),
    },
    resuming !== undefined,
  );
  const options: ConnectionOptions & StreamOptions = {
    socket,
    secureContext,
    ...(resuming?.session && { session: resuming.session }),
    // An empty name keeps Node from inventing one: the client's hello decides whether there is an SNI.
    servername: offer.serverName ?? "",
    ALPNProtocols: alpnList(offer.alpn),
    ...(staple && { requestOCSP: true }),
    ...STREAM,
    // The policy judges the certificate later, with all its faults.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  };
  const stream = connect(options);
  if (takeKey) stream.on("keylog", takeKey);
  // Node would parse every certificate of the chain for `checkServerIdentity`, which does not use them.
  stream.getPeerCertificate = () => ({}) as DetailedPeerCertificate;
  return stream;
}

function handshake(stream: TLSSocket, timeout: number): Promise<LegFailure | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(explainTimeout("server", timeout)), timeout);
    const settle = (failure: LegFailure | undefined) => {
      clearTimeout(timer);
      resolve(failure);
    };
    stream.once("secureConnect", () => settle(undefined));
    // Never removed: an error before the relay begins must not end the process.
    stream.on("error", (error) => settle(explainFailure("server", error)));
    stream.once("close", () => settle(explainFailure("server", Object.assign(new Error(), { code: "ECONNRESET" }))));
  });
}

/** Sizes of TLS 1.3's last client flight: RFC 8446, sections 4.4 and 5.2, appendix D.4. */
const RECORD_OVERHEAD = 5 + 1 + 16;
const HANDSHAKE_HEADER = 4;
const EMPTY_CERTIFICATE = RECORD_OVERHEAD + HANDSHAKE_HEADER + 4;

/**
 * Waits for a server that may refuse a client without a certificate. In TLS 1.3 such a server refuses only after the handshake
 * has succeeded for the client, and its request is encrypted. But the client's last flight is then longer, by an empty
 * Certificate message. Only in this case the leg waits for the refusal or the first session ticket.
 */
async function certificateRefusal(stream: TLSSocket, socket: Socket, elapsed: number): Promise<LegFailure | undefined> {
  // Listen now: a server nearby may refuse before the size of the last flight is known.
  const answered = new Promise<LegFailure | undefined>((resolve) => {
    stream.once("session", () => resolve(undefined));
    stream.once("error", (error) => resolve(explainFailure("server", error)));
    stream.once("close", () => resolve(explainFailure("server", Object.assign(new Error(), { code: "ECONNRESET" }))));
  });
  const before = socket.bytesWritten;
  // For all versions: this runs inside OpenSSL's callback, where the stream must not be destroyed.
  await new Promise(setImmediate);
  if (stream.getProtocol() !== "TLSv1.3") return undefined;
  const digest = stream.getCipher()?.standardName?.endsWith("SHA384") ? 48 : 32;
  const demanded =
    socket.bytesWritten - before >= RECORD_OVERHEAD + HANDSHAKE_HEADER + digest + EMPTY_CERTIFICATE || stream.destroyed;
  if (!demanded) return undefined;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, 50 + 2 * elapsed, undefined);
  });
  return Promise.race([answered, late]).finally(() => clearTimeout(timer));
}

/** IANA's name of the group. A DH group of the server's own is named by its size. */
function groupOf(stream: TLSSocket): string | undefined {
  const info = stream.getEphemeralKeyInfo() as { type?: string; name?: string; size?: number } | null;
  if (!info?.type) return undefined;
  if (info.name === undefined) return `${info.type}-${info.size}`;
  return groupByOpenssl(info.name)?.name ?? info.name;
}
