import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import type { End } from "../engine/end.ts";
import { Ssl3Layer } from "../engine/ssl3-layer.ts";
import { splitPem } from "../pki/x509/pem.ts";
import { createClient } from "../ssl3/client.ts";
import type { Connection, Established } from "../ssl3/connection.ts";
import { createServer } from "../ssl3/server.ts";
import { authOf, type SuiteChoice, suitesFor } from "../ssl3/suites.ts";
import { VERSIONS } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { explain, shakeHands } from "./handshake.ts";
import type { ClientLeg, ClientResumption, KeyTaker, LegFailure, Negotiated, Presentable, ServerLeg } from "./leg.ts";
import type { ServerResumption } from "./server-session.ts";
import { keyUseOf, readShown } from "./shown-chain.ts";
import { findSession, forgetSession, Ssl3Memory, storeSession } from "./ssl3-session.ts";

/** Legs of SSL 3.0: what `openClientLeg` and `openServerLeg` choose when nothing newer is spoken. */

interface Ssl3Options {
  readonly suites: SuiteChoice;
  /** ms for the whole handshake. */
  readonly timeout: number;
  /** Undefined: the keys stay where they are. */
  readonly takeKey: KeyTaker | undefined;
}

interface ClientOptions extends Ssl3Options {
  readonly presented: readonly Presentable[];
  /** The highest version that the node speaks, as a number. */
  readonly highest: number;
  readonly resumption: ClientResumption;
}

export async function openSsl3ClientLeg(
  end: End,
  hello: ClientHello,
  { presented, suites, timeout, highest, takeKey, resumption }: ClientOptions,
): Promise<ClientLeg | LegFailure> {
  const { sessions, bond } = resumption;
  const place = sessions && { sessions, bond, timeout: resumption.timeout };
  const identities = presented.map(readIdentity);
  const name = hello.sessionId.toString("hex");
  const earlier = place && name !== "" ? await findSession(place, name) : undefined;
  const find = place && (() => earlier);
  const layer = pushLayer(end, createServer({ random: randomBytes, identities, suites, highest, find }));
  let own = earlier && name;
  if (place) end.onceClosed(() => layer.failure && own !== undefined && forgetSession(place, own));
  const shaken = await shakeHands("client", end, layer, timeout);
  if (shaken.kind === "failed") {
    end.close();
    return shaken;
  }
  const established = layer.established!;
  takeKey?.(keyLine(established));
  const { session, resumed, suite } = established;
  if (place && session && !resumed) {
    own = session.id.toString("hex");
    storeSession(place, own, session);
  }
  const shown = identities.findIndex(({ key }) => authOf(key) === suite.auth);
  // In a resumed session none was shown.
  return {
    kind: "up",
    ...(presented.length > 1 && !resumed && { shown }),
    negotiated: negotiatedOf(established),
  };
}

interface ServerOptions extends Ssl3Options {
  /** The largest group over integers, in bits. */
  readonly dhBits: number;
  readonly fallback: boolean;
  readonly resumption: ServerResumption | undefined;
}

export async function openSsl3ServerLeg(
  end: End,
  hello: ClientHello,
  { suites: choice, dhBits, timeout, fallback, takeKey, resumption: place }: ServerOptions,
): Promise<ServerLeg | LegFailure> {
  const suites = suitesToOffer(hello, choice);
  if (suites.length === 0) {
    return explain("server", {
      cause: "protocol",
      alert: ALERTS.handshake_failure,
      code: "ERR_SSL_NO_CIPHERS_AVAILABLE",
    });
  }
  const memory = place && new Ssl3Memory(place, JSON.stringify([suites, fallback]));
  const earlier = memory?.find();
  const connection = createClient({ random: randomBytes, suites, dhBits, fallback, session: earlier?.session });
  const layer = pushLayer(end, connection);
  if (memory) end.onceClosed(() => layer.failure && memory.forget());
  const shaken = await shakeHands("server", end, layer, timeout);
  if (shaken.kind === "failed") {
    end.close();
    if (earlier) memory?.forget();
    // SSL 3.0 has no alert of its own for it, but the server asked before it refused.
    const { certificateRequested } = connection;
    return { ...shaken, certificateRequested, resuming: earlier !== undefined };
  }
  const established = layer.established!;
  takeKey?.(keyLine(established));
  const shown = readShown(established.certificates);
  if (!shown) {
    end.close();
    const reason = "The server's certificates cannot be read";
    return { kind: "failed", cause: "protocol", alert: ALERTS.bad_certificate, code: "BAD_CERTIFICATE", reason };
  }
  const { session, resumed } = established;
  // What was found is gone from where it was.
  if (session) memory?.keep(session, resumed ? earlier : undefined);
  const { chain, ders, key } = shown;
  const negotiated = negotiatedOf(established);
  const { certificateRequested } = connection;
  return {
    kind: "up",
    ...{ certificate: chain[0], ders, key, use: keyUseOf(negotiated.suite), negotiated, certificateRequested },
  };
}

function pushLayer(end: End, connection: Connection): Ssl3Layer {
  const layer = new Ssl3Layer(end.takeWire(), connection);
  end.push(layer);
  return layer;
}

/** The NSS key log's line for a master secret. */
function keyLine({ clientRandom, master }: Established): Buffer {
  return Buffer.from(`CLIENT_RANDOM ${Buffer.from(clientRandom).toString("hex")} ${master.toString("hex")}\n`);
}

/**
 * A client that offers SSL 3.0 itself is taken at its word: the server is offered no suite that the client did not offer.
 * For one that does not, policy has allowed SSL 3.0 towards the server, and the node offers what it has.
 */
function suitesToOffer(hello: ClientHello, choice: SuiteChoice): number[] {
  const ids = suitesFor(choice).map(({ id }) => id);
  return hello.versions.includes(VERSIONS.SSLv3) ? hello.cipherSuites.filter((id) => ids.includes(id)) : ids;
}

function readIdentity({ certificatePem, keyPem }: Presentable) {
  const chain = splitPem(certificatePem).map((pem) => new X509Certificate(pem).raw);
  return { chain, key: createPrivateKey(keyPem) };
}

function negotiatedOf({ suite, group, resumed }: Established): Negotiated {
  return { version: "SSLv3", suite: suite.name, group, alpn: undefined, resumed };
}
