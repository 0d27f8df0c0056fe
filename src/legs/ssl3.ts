import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { PeerError } from "../errors.ts";
import { splitPem } from "../pki/certificate.ts";
import { NOT_VERIFIED } from "../pki/verify.ts";
import { createClient } from "../ssl3/client.ts";
import type { Connection, Established } from "../ssl3/connection.ts";
import { createServer } from "../ssl3/server.ts";
import { authOf, type SuiteChoice, suitesFor } from "../ssl3/suites.ts";
import { ALERTS } from "../wire/alert.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { VERSIONS } from "../wire/record.ts";
import type { ClientLeg, Presentable } from "./client-leg.ts";
import { type LegFailure, type Negotiated, TRUNCATED } from "./leg.ts";
import { explainFailure, explainTimeout } from "./openssl-errors.ts";
import type { ServerLeg } from "./server-leg.ts";
import type { SessionStore } from "./session-store.ts";
import { Ssl3Stream } from "./ssl3-stream.ts";

/** Legs of SSL 3.0, over the engine in `ssl3/`: what `openClientLeg` and `openServerLeg` choose when nothing newer is spoken. */

interface Ssl3Options {
  readonly suites: SuiteChoice;
  /** ms for the whole handshake. */
  readonly timeout: number;
  /** Undefined: nothing is resumed. */
  readonly sessions: SessionStore | undefined;
}

export async function openSsl3ClientLeg(
  socket: Socket,
  bytes: Buffer,
  options: Ssl3Options & { readonly presented: readonly Presentable[]; readonly highest: number },
): Promise<ClientLeg | LegFailure> {
  const { presented, suites, timeout, highest, sessions } = options;
  const identities = presented.map(readIdentity);
  const connection = createServer({
    random: randomBytes,
    identities,
    suites,
    highest,
    find: sessions && ((id) => sessions.find(id.toString("hex"))),
  });
  const stream = new Ssl3Stream(socket, connection);
  // A copy, for the engine decrypts in place, and a replay may need the bytes again.
  stream.receive(Buffer.from(bytes));
  const established = await handshake(stream, "client", connection, timeout);
  if ("kind" in established) return established;
  keep(stream, sessions, established.session?.id.toString("hex"), established);
  const shown = identities.findIndex(({ key }) => authOf(key) === established.suite.auth);
  return { kind: "up", stream, socket, shown: Math.max(0, shown), negotiated: negotiatedOf(established) };
}

export async function openSsl3ServerLeg(
  socket: Socket,
  hello: ClientHello,
  options: Ssl3Options & { readonly fallback: boolean },
): Promise<ServerLeg | LegFailure> {
  const { suites: choice, timeout, fallback, sessions } = options;
  const suites = suitesToOffer(hello, choice);
  if (suites.length === 0) return explainFailure("server", Object.assign(new Error(), { code: NO_SUITES }));
  const known = sessions?.find(THE_SERVER);
  const session = known && suites.includes(known.suite) ? known : undefined;
  const connection = createClient({ random: randomBytes, suites, fallback, session });
  const stream = new Ssl3Stream(socket, connection);
  const established = await handshake(stream, "server", connection, timeout);
  if ("kind" in established) {
    sessions?.forget(THE_SERVER);
    return established;
  }
  const certificate = linkChain(established.certificates);
  if (!certificate) {
    stream.destroy();
    const reason = "The server's certificates cannot be read";
    return { kind: "failed", cause: "protocol", alert: ALERTS.bad_certificate, code: "BAD_CERTIFICATE", reason };
  }
  keep(stream, sessions, THE_SERVER, established);
  return { kind: "up", stream, socket, certificate, verifyCode: NOT_VERIFIED, negotiated: negotiatedOf(established) };
}

/** A session whose connection ends with a fatal alert is not resumed: RFC 6101, section 5.4. */
function keep(
  stream: Ssl3Stream,
  sessions: SessionStore | undefined,
  id: string | undefined,
  { session }: Established,
): void {
  if (!session || !sessions || id === undefined) return;
  sessions.keep(id, session);
  stream.once("error", ({ code }: NodeJS.ErrnoException) => {
    if (code?.startsWith("ERR_SSL_") && code !== TRUNCATED) sessions.forget(id);
  });
}

const NO_SUITES = "ERR_SSL_NO_CIPHERS_AVAILABLE";
/** A server leg's store is bound to one server, of which one session is kept. */
const THE_SERVER = "server";

/**
 * A client that offers SSL 3.0 itself is taken at its word: the server is offered no suite that the client did not offer.
 * For one that does not, policy has allowed SSL 3.0 towards the server, and the node offers what it has.
 */
function suitesToOffer(hello: ClientHello, choice: SuiteChoice): number[] {
  const ids = suitesFor(choice).map(({ id }) => id);
  return hello.versions.includes(VERSIONS.SSLv3) ? hello.cipherSuites.filter((id) => ids.includes(id)) : ids;
}

async function handshake(
  stream: Ssl3Stream,
  peer: "client" | "server",
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

function explain(peer: "client" | "server", error: NodeJS.ErrnoException, connection: Connection): LegFailure {
  const { cause, code } = error;
  // Not the peer's doing, nor the network's: a bug of ours, for whoever reports them.
  if (code === undefined) throw error;
  if (cause instanceof PeerError) {
    const reason = `The handshake with the ${peer} failed: ${cause.message}`;
    return { kind: "failed", cause: "protocol", alert: cause.alert, code, reason };
  }
  // Its FIN is the end of a handshake, whatever it would have been later.
  const failure = explainFailure(peer, code === TRUNCATED ? Object.assign(new Error(), { code: "ECONNRESET" }) : error);
  // SSL 3.0 has no alert of its own for it, but the server asked before it refused.
  return failure.cause === "alert" && connection.certificateRequested
    ? { ...failure, alert: ALERTS.certificate_required }
    : failure;
}

function readIdentity({ certificatePem, keyPem }: Presentable) {
  const chain = splitPem(certificatePem).map((pem) => new X509Certificate(pem).raw);
  return { chain, key: createPrivateKey(keyPem) };
}

/** Far more than an honest server needs. */
const MAX_CHAIN = 32;

/** As Node gives the certificates of a TLS leg: those sent along hang on the server's own. Undefined: it cannot be read. */
function linkChain(ders: readonly Buffer[]): X509Certificate | undefined {
  const chain: X509Certificate[] = [];
  for (const der of ders.slice(0, MAX_CHAIN)) {
    try {
      chain.push(new X509Certificate(der));
    } catch {
      if (chain.length === 0) return undefined;
    }
  }
  for (const [at, certificate] of chain.entries()) {
    Object.defineProperty(certificate, "issuerCertificate", { value: chain[at + 1] });
  }
  return chain[0];
}

function negotiatedOf({ suite, group }: Established): Negotiated {
  return { version: "SSLv3", suite: suite.name, group, alpn: undefined };
}
