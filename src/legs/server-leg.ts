import { Context } from "../engine/contexts.ts";
import type { End } from "../engine/end.ts";
import { type Agreed, NOTHING_NOW } from "../engine/layer.ts";
import { SCRATCH } from "../engine/loop.ts";
import { OpensslLayer, type OpensslOptions } from "../engine/openssl-layer.ts";
import { until } from "../engine/wait.ts";
import type { Writer } from "../engine/writer.ts";
import { ConfigError, NetworkError, PeerError } from "../errors.ts";
import { VERSIONS } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { HANDSHAKE_HEADER } from "../wire/record.ts";
import { readServerHello, type ServerHello } from "../wire/server-hello.ts";
import type { ContextCache } from "./contexts.ts";
import { explain, negotiatedOf, shakeHands } from "./handshake.ts";
import type { KeyTaker, LegFailure, ServerLeg } from "./leg.ts";
import { allowsTls, highestShared, type Offer, offerFor, offerOfNode, type VersionRange } from "./offer.ts";
import { rememberChain, type ServerResumption, SessionMemory, type ShownChain } from "./server-session.ts";
import { keyUseOf, readShown } from "./shown-chain.ts";
import { openSsl3ServerLeg } from "./ssl3.ts";
import { refuseWeak } from "./strength.ts";

export interface ServerLegOptions {
  readonly writer: Writer;
  readonly versions: VersionRange;
  /** The largest group of Diffie-Hellman over integers that the node computes with, in bits. */
  readonly dhBits: number;
  /** ms for the whole handshake. */
  readonly timeout: number;
  readonly contexts: ContextCache;
  /** Undefined: the keys stay where they are. */
  readonly takeKey?: KeyTaker | undefined;
  /** Without it every handshake is a full one. */
  readonly resumption?: ServerResumption | undefined;
  /** Asks the server to staple the status of its certificate: RFC 6066, section 8. Not in SSL 3.0. */
  readonly staple?: boolean;
  /** Somebody wants its ServerHello. */
  readonly seesHello?: boolean;
  /** The server has refused everything newer: it is offered SSL 3.0, with the signal of RFC 7507. */
  readonly fallback?: boolean;
}

/**
 * Opens TLS toward the server with the intersection of what the client offered and what policy allows. The server's
 * certificate is not judged here. A server that refuses is an expected outcome; the connection is then of no more use.
 */
export async function openServerLeg(
  end: End,
  hello: ClientHello,
  options: ServerLegOptions,
): Promise<ServerLeg | LegFailure> {
  const { versions, dhBits, timeout, resumption, takeKey, fallback = false } = options;
  const isOld = highestShared(hello, versions) === VERSIONS.SSLv3;
  if (fallback || (isOld && !allowsTls(versions))) {
    const suites = versions.ssl3Suites ?? "all";
    return openSsl3ServerLeg(end, hello, { suites, dhBits, fallback, timeout, takeKey, resumption });
  }
  const offer = offerFor(isOld ? offerOfNode(hello) : hello, versions, dhBits);
  if (offer.kind === "failed") return offer;
  const context = contextFor(offer, options);
  if (!(context instanceof Context)) return context;
  const memory = resumption && new SessionMemory(end, resumption, offer);
  try {
    return await shakeHandsWithServer(end, context, offer, memory, options);
  } finally {
    memory?.settle();
  }
}

async function shakeHandsWithServer(
  end: End,
  context: Context,
  offer: Offer,
  memory: SessionMemory | undefined,
  options: ServerLegOptions,
): Promise<ServerLeg | LegFailure> {
  const earlier = memory?.find();
  let serverHello: ServerHello | undefined;
  const layer = layerFor(end, context, offer, options, {
    session: earlier?.session,
    onServerSession: memory?.take,
    onServerHello: options.seesHello ? (message) => (serverHello = readableHello(message)) : undefined,
  });
  const shaken = await shakeHands("server", end, layer, options.timeout);
  const fail = (failure: LegFailure): LegFailure => {
    end.close();
    if (earlier) memory?.forget();
    return { ...failure, resuming: earlier !== undefined };
  };
  if (shaken.kind === "failed") return fail(shaken);
  const agreed = layer.agreed();
  const { resumed, version } = agreed;
  const asked = shaken.certificateRequested && version >= VERSIONS["TLSv1.3"];
  const failure = refuseWeakServer(layer, agreed, offer) ?? (asked ? await refusalBehind(end, layer) : undefined);
  if (failure) return fail(failure);
  const shown = resumed && earlier ? earlier.shown : showChain(layer, options);
  if (!shown) {
    end.close();
    const reason = "The server showed no certificate that can be used";
    return { kind: "failed", cause: "protocol", alert: ALERTS.handshake_failure, code: "NO_CERTIFICATE", reason };
  }
  memory?.keep(shown, resumed && version < VERSIONS["TLSv1.3"]);
  await memory?.shared();
  if (memory) end.onceClosed(() => layer.failure && memory.forget());
  const { chain, ders, key } = shown.certificates;
  const negotiated = negotiatedOf(agreed);
  return {
    kind: "up",
    ...{ certificate: chain[0], ders, key, use: keyUseOf(negotiated.suite) },
    staple: layer.staple(),
    ...(serverHello && { hello: serverHello }),
    negotiated,
    certificateRequested: shaken.certificateRequested === true,
    onAskedLate(listener) {
      layer.onAskedLate = listener;
    },
  };
}

/** An abbreviated handshake exchanges nothing: what it goes back to was judged. */
function refuseWeakServer(
  layer: OpensslLayer,
  { version, resumed }: Agreed,
  { lenient }: Offer,
): LegFailure | undefined {
  return version === VERSIONS["TLSv1.2"] && !resumed ? refuseWeak(layer.peerStrength(), lenient) : undefined;
}

/** What a server of SSL 3.0 alone answers to a hello of TLS: these alerts, a ServerHello of its own version, or nothing. */
const OLD_SERVERS_ALERTS: readonly number[] = [
  ALERTS.unexpected_message,
  ALERTS.handshake_failure,
  ALERTS.illegal_parameter,
  ALERTS.protocol_version,
];

/**
 * Whether a server that refused may speak SSL 3.0 and nothing newer, and policy allows that: then `fallback` is worth a new
 * connection. A server that speaks TLS after all refuses it (RFC 7507), so nobody in between can bring this about.
 */
export function mayFallBack({ cause, alert }: LegFailure, versions: VersionRange): boolean {
  if (versions.min !== "SSLv3" || !allowsTls(versions)) return false;
  if (cause === "alert") return OLD_SERVERS_ALERTS.includes(alert);
  return cause === "network" || (cause === "protocol" && alert === ALERTS.protocol_version);
}

/** A hello may offer only what OpenSSL knows and will not do at this security level: then the answer is why. */
function contextFor(offer: Offer, { contexts, resumption, takeKey }: ServerLegOptions): Context | LegFailure {
  try {
    return contexts.take({
      role: "client",
      minVersion: VERSIONS[offer.minVersion],
      maxVersion: VERSIONS[offer.maxVersion],
      ciphers: offer.ciphers,
      groups: offer.ecdhCurve,
      sigalgs: offer.sigalgs,
      alpn: offer.alpn,
      tickets: resumption !== undefined,
      sessions: resumption !== undefined,
      keyLog: takeKey !== undefined,
    });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return explain("server", {
      cause: "protocol",
      alert: ALERTS.handshake_failure,
      code: "ERR_SSL_NO_CIPHERS_AVAILABLE",
    });
  }
}

function layerFor(
  end: End,
  context: Context,
  { serverName, postHandshakeAuth }: Offer,
  { writer, dhBits, staple = false, takeKey }: ServerLegOptions,
  own: Pick<OpensslOptions, "session" | "onServerSession" | "onServerHello">,
): OpensslLayer {
  const layer = new OpensslLayer({
    ...{ end, writer, context, serverName, staple, postHandshakeAuth, mostGroupBits: dhBits, ...own },
    onKey: takeKey && ((line) => takeKey(Buffer.from(`${line}\n`))),
  });
  end.push(layer);
  return layer;
}

/** Undefined: OpenSSL says what is wrong with it. */
function readableHello(message: Buffer): ServerHello | undefined {
  try {
    return readServerHello(message.subarray(HANDSHAKE_HEADER));
  } catch (error) {
    if (!(error instanceof PeerError)) throw error;
    return undefined;
  }
}

/** ms that a server is given to refuse, beyond its own pace. */
const REFUSAL = 150;

/**
 * In TLS 1.3 a server refuses a client without a certificate only after the handshake has succeeded for us. Where it asked for
 * one, what comes first decides: a byte of the server's, or its refusal. A server that says nothing has not refused yet.
 */
async function refusalBehind(end: End, layer: OpensslLayer): Promise<LegFailure | undefined> {
  const { scratch, scratchAt } = end.loop;
  try {
    return await until(
      [end],
      () => {
        const length = end.read(scratchAt, SCRATCH);
        if (length === NOTHING_NOW) return undefined;
        if (length > 0) {
          end.unread(Buffer.from(scratch.subarray(0, length)));
          return NOT_REFUSED;
        }
        const failure = layer.failure ?? { cause: "network" as const, alert: ALERTS.handshake_failure, code: "EOF" };
        return { ...explain("server", failure), certificateRequested: true };
      },
      { timeout: REFUSAL, late: "" },
    ).then((answer) => (answer === NOT_REFUSED ? undefined : answer));
  } catch (error) {
    if (error instanceof NetworkError && error.code === "ETIMEDOUT") return undefined;
    throw error;
  }
}

const NOT_REFUSED = { kind: "failed" } as LegFailure;

/** What the server showed. Undefined: nothing that can be read. */
function showChain(layer: OpensslLayer, { resumption }: ServerLegOptions): ShownChain | undefined {
  const shown = readShown(layer.peerChain());
  return shown && rememberChain(shown, resumption?.timeout ?? 0, Date.now());
}
