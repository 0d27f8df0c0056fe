import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { PeerError } from "../errors.ts";
import { NOT_VERIFIED } from "../pki/verify/verify.ts";
import { splitPem } from "../pki/x509/pem.ts";
import { createClient } from "../ssl3/client.ts";
import type { Connection, Established } from "../ssl3/connection.ts";
import { createServer } from "../ssl3/server.ts";
import { authOf, type SuiteChoice, suitesFor } from "../ssl3/suites.ts";
import { TRUNCATED } from "../streams/relay.ts";
import { type Side, VERSIONS } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import type { ClientLeg, ClientResumption, KeyTaker, LegFailure, Negotiated, Presentable, ServerLeg } from "./leg.ts";
import { explainFailure, explainTimeout, isFatalAlert } from "./openssl-errors.ts";
import type { ServerResumption } from "./server-session.ts";
import { findSession, forgetSession, storeSession } from "./ssl3-session.ts";
import { Ssl3Stream } from "./ssl3-stream.ts";

/** SSL 3.0 legs, on top of `ssl3/`. `openClientLeg` and `openServerLeg` use them when the peer speaks nothing newer. */

interface Ssl3Options {
  readonly suites: SuiteChoice;
  /** ms for the whole handshake. */
  readonly timeout: number;
  /** Undefined: nobody wants the keys. */
  readonly takeKey: KeyTaker | undefined;
}

interface ClientOptions extends Ssl3Options {
  readonly presented: readonly Presentable[];
  /** The highest version that the node speaks, as a number. */
  readonly highest: number;
  readonly resumption: ClientResumption;
}

export async function openSsl3ClientLeg(
  socket: Socket,
  { hello, bytes }: { readonly hello: ClientHello; readonly bytes: Buffer },
  { presented, suites, timeout, highest, takeKey, resumption }: ClientOptions,
): Promise<ClientLeg | LegFailure> {
  const { sessions, bond } = resumption;
  const place = sessions && { sessions, bond, timeout: resumption.timeout };
  const identities = presented.map(readIdentity);
  const name = hello.sessionId.toString("hex");
  const earlier = place && name !== "" ? await findSession(place, name) : undefined;
  const find = place && (() => earlier?.session);
  const connection = createServer({ random: randomBytes, identities, suites, highest, find });
  const stream = new Ssl3Stream(socket, connection);
  let own = earlier && name;
  stream.on("error", (error) => {
    if (place && own !== undefined && isFatalAlert(error)) forgetSession(place, own);
  });
  // A copy, because ssl3/ decrypts in place and a bypass may need the bytes again.
  stream.receive(Buffer.from(bytes));
  const established = await handshake(stream, "client", connection, timeout);
  if ("kind" in established) return established;
  takeKey?.(keyLine(established));
  const { session, resumed, suite } = established;
  if (place && session && !resumed) {
    own = session.id.toString("hex");
    storeSession(place, own, session, undefined);
  }
  const shown = identities.findIndex(({ key }) => authOf(key) === suite.auth);
  const negotiated = negotiatedOf(established);
  // In a resumed session no certificate was shown.
  return { kind: "up", stream, socket, ...(presented.length > 1 && !resumed && { shown }), negotiated };
}

interface ServerOptions extends Ssl3Options {
  readonly fallback: boolean;
  readonly resumption: ServerResumption | undefined;
}

export async function openSsl3ServerLeg(
  socket: Socket,
  hello: ClientHello,
  { suites: choice, timeout, fallback, takeKey, resumption: place }: ServerOptions,
): Promise<ServerLeg | LegFailure> {
  const suites = suitesToOffer(hello, choice);
  if (suites.length === 0) return explainFailure("server", Object.assign(new Error(), { code: NO_SUITES }));
  const name = JSON.stringify([suites, fallback]);
  const earlier = place && (await findSession(place, name));
  const connection = createClient({ random: randomBytes, suites, fallback, session: earlier?.session });
  const stream = new Ssl3Stream(socket, connection);
  stream.on("error", (error) => {
    if (place && isFatalAlert(error)) forgetSession(place, name);
  });
  const established = await handshake(stream, "server", connection, timeout);
  if ("kind" in established) {
    if (place && earlier) forgetSession(place, name);
    return { ...established, resuming: earlier !== undefined };
  }
  takeKey?.(keyLine(established));
  const [certificate, ...sent] = readChain(established.certificates);
  if (!certificate) {
    stream.destroy();
    const reason = "The server's certificates cannot be read";
    return { kind: "failed", cause: "protocol", alert: ALERTS.bad_certificate, code: "BAD_CERTIFICATE", reason };
  }
  const { session, resumed } = established;
  // Finding a session removed it.
  if (place && session) storeSession(place, name, session, resumed ? earlier : undefined);
  const negotiated = negotiatedOf(established);
  return { kind: "up", stream, socket, certificate, sent, verifyCode: NOT_VERIFIED, negotiated };
}

const NO_SUITES = "ERR_SSL_NO_CIPHERS_AVAILABLE";

/** The NSS key log's line for a master secret. */
function keyLine({ clientRandom, master }: Established): Buffer {
  return Buffer.from(`CLIENT_RANDOM ${Buffer.from(clientRandom).toString("hex")} ${master.toString("hex")}\n`);
}

/**
 * If the client itself offers SSL 3.0, the server is offered only the client's suites. Otherwise it is offered all suites of
 * the node: policy has allowed SSL 3.0 towards the server.
 */
function suitesToOffer(hello: ClientHello, choice: SuiteChoice): number[] {
  const ids = suitesFor(choice).map(({ id }) => id);
  return hello.versions.includes(VERSIONS.SSLv3) ? hello.cipherSuites.filter((id) => ids.includes(id)) : ids;
}

async function handshake(
  stream: Ssl3Stream,
  peer: Side,
  connection: Connection,
  timeout: number,
): Promise<Established | LegFailure> {
  const late = Promise.withResolvers<LegFailure>();
  const timer = setTimeout(() => late.resolve(explainTimeout(peer, timeout)), timeout);
  const failed = (error: NodeJS.ErrnoException) => explain(peer, error, connection);
  const outcome = await Promise.race([stream.opened.catch(failed), late.promise]);
  clearTimeout(timer);
  if ("kind" in outcome) stream.destroy();
  return outcome;
}

function explain(peer: Side, error: NodeJS.ErrnoException, connection: Connection): LegFailure {
  const { cause, code } = error;
  // Caused neither by the peer nor by the network: a bug of ours.
  if (code === undefined) throw error;
  if (cause instanceof PeerError) {
    const reason = `The handshake with the ${peer} failed: ${cause.message}`;
    return { kind: "failed", cause: "protocol", alert: cause.alert, code, reason };
  }
  // A FIN in the handshake is an end, not a truncation.
  const failure = explainFailure(peer, code === TRUNCATED ? Object.assign(new Error(), { code: "ECONNRESET" }) : error);
  // SSL 3.0 has no alert for this, but the server has asked for a certificate before it refused.
  return failure.cause === "alert" && connection.certificateRequested
    ? { ...failure, alert: ALERTS.certificate_required }
    : failure;
}

function readIdentity({ certificatePem, keyPem }: Presentable) {
  const chain = splitPem(certificatePem).map((pem) => new X509Certificate(pem).raw);
  return { chain, key: createPrivateKey(keyPem) };
}

/** Certificates. Honest servers send far fewer. */
const MAX_CHAIN = 32;

/** The certificates that can be read, the server's own first. Empty if the server's own cannot be read. */
function readChain(ders: readonly Buffer[]): X509Certificate[] {
  const chain: X509Certificate[] = [];
  for (const der of ders.slice(0, MAX_CHAIN)) {
    try {
      chain.push(new X509Certificate(der));
    } catch {
      if (chain.length === 0) return [];
    }
  }
  return chain;
}

function negotiatedOf({ suite, group, resumed }: Established): Negotiated {
  return { version: "SSLv3", suite: suite.name, group, alpn: undefined, resumed };
}
