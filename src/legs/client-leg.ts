import { hash, hkdfSync } from "node:crypto";
import type { ServerContextOptions } from "../engine/contexts.ts";
import type { End } from "../engine/end.ts";
import { OpensslLayer } from "../engine/openssl-layer.ts";
import type { Writer } from "../engine/writer.ts";
import type { Bond, SessionKeeper } from "../resumption/keeper.ts";
import { ticketKeyFor } from "../resumption/ticket-keys.ts";
import { VERSIONS } from "../vocabulary.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { type Group, groupWithin } from "../wire/groups.ts";
import { EXTENSIONS } from "../wire/numbers.ts";
import { STRONGEST_FIRST, SUITES, type Suite, suiteById } from "../wire/suites.ts";
import type { ContextCache } from "./contexts.ts";
import { negotiatedOf, shakeHands } from "./handshake.ts";
import type { ClientLeg, ClientResumption, KeyTaker, LegFailure, Presentable } from "./leg.ts";
import { allowsTls, highestShared, tlsRange, type VersionRange } from "./offer.ts";
import { openSsl3ClientLeg } from "./ssl3.ts";

export interface ClientLegOptions {
  readonly writer: Writer;
  readonly presented: readonly Presentable[];
  /** What the server chose; undefined: it chose none, and the client gets none. */
  readonly alpn: string | undefined;
  readonly versions: VersionRange;
  /** The largest group of Diffie-Hellman over integers that the node computes with, in bits. */
  readonly dhBits: number;
  /** ms for the whole handshake. */
  readonly timeout: number;
  readonly contexts: ContextCache;
  /** Undefined: the keys stay where they are. */
  readonly takeKey?: KeyTaker | undefined;
  /** Without it every handshake is a full one. */
  readonly resumption?: ClientResumption | undefined;
}

const NO_RESUMPTION: ClientResumption = { sessions: undefined, ticketKeys: [], bond: [], timeout: 300_000 };

const namesOf = (suites: readonly Suite[]) => suites.map(({ openssl }) => openssl).join(":");
const CIPHERS = namesOf(SUITES);
/**
 * All suites of TLS 1.3 are strong, and the client's order counts. Below, not every client puts the weak ones last. But a client without
 * elliptic curves may have put DHE last because it cannot compute with a group of today's size, such as Java 7.
 */
const RANKED_CIPHERS = namesOf(STRONGEST_FIRST);

/**
 * Answers the client's hello, which waits in its connection. A client that refuses, because it does not trust the certificate
 * say, is an expected outcome; it has had its alert from OpenSSL, and the connection is of no more use.
 */
export async function openClientLeg(
  end: End,
  hello: ClientHello,
  options: ClientLegOptions,
): Promise<ClientLeg | LegFailure> {
  const { writer, presented, alpn, versions, timeout, contexts, takeKey, resumption = NO_RESUMPTION } = options;
  if (highestShared(hello, versions) === VERSIONS.SSLv3 || !allowsTls(versions)) {
    const [suites, highest] = [versions.ssl3Suites ?? "all", VERSIONS[versions.max]] as const;
    return openSsl3ClientLeg(end, hello, { presented, suites, highest, timeout, takeKey, resumption });
  }
  const tls13 = hello.versions.includes(VERSIONS["TLSv1.3"]) && versions.max === "TLSv1.3";
  const sessions = tls13 ? undefined : resumption.sessions;
  const place = sessions && new SessionPlace(sessions, resumption, hello);
  const resumable = await place?.find();
  const context = contexts.take(contextOptions(hello, tls13, options, sessions !== undefined));
  const layer = new OpensslLayer({
    ...{ end, writer, context, alpn, resumable, staples: presented.map(({ staple }) => staple) },
    // Without either nothing can be resumed, and to make the bond costs two hashes' time.
    bond: place || resumption.ticketKeys.length > 0 ? bondOf(resumption.bond) : undefined,
    onSession: place && ((id, session) => place.keep(id, session)),
    onKey: takeKey && ((line) => takeKey(Buffer.from(`${line}\n`))),
  });
  end.push(layer);
  const shaken = await shakeHands("client", end, layer, timeout);
  if (shaken.kind === "failed") {
    place?.forget();
    end.close();
    return shaken;
  }
  if (place) end.onceClosed(() => layer.failure && place.forget());
  const negotiated = negotiatedOf(layer.agreed());
  // In a resumed session no certificate was shown.
  const shown = presented.length > 1 && !negotiated.resumed ? Math.max(0, layer.shownIdentity()) : undefined;
  return { kind: "up", negotiated, ...(shown !== undefined && { shown }) };
}

function contextOptions(
  hello: ClientHello,
  tls13: boolean,
  { presented, versions, dhBits, takeKey, resumption = NO_RESUMPTION }: ClientLegOptions,
  sessions: boolean,
): ServerContextOptions {
  const { minVersion, maxVersion } = tlsRange(versions);
  const ticketKey = ticketKeyFor(resumption.ticketKeys, tls13 ? hello.pskIdentity : hello.sessionTicket);
  const group = chooseGroup(hello, tls13, dhBits);
  const ranked = !tls13 && hello.cipherSuites.some((id) => suiteById(id)?.exchange === "ecdhe");
  const ciphers = ranked ? RANKED_CIPHERS : CIPHERS;
  return {
    role: "server",
    minVersion: VERSIONS[minVersion],
    maxVersion: VERSIONS[maxVersion],
    ciphers: needsSha1(hello, tls13) ? `${ciphers}:@SECLEVEL=0` : ciphers,
    ...(ranked && { ranked }),
    groups: group?.openssl,
    ...(tls13 && !(group && hello.keyShareGroups.includes(group.id)) && { retries: true }),
    identities: presented.map(({ certificatePem, keyPem }) => ({ certificatePem, keyPem })),
    tickets: ticketKey !== undefined,
    ...(ticketKey && { ticketKey: opensslTicketKey(ticketKey) }),
    sessions,
    sessionTimeout: Math.ceil(resumption.timeout / 1000),
    keyLog: takeKey !== undefined,
  };
}

/**
 * The client takes no better hash than SHA-1 in what the server signs: TLS below 1.2, or TLS 1.2 without signature_algorithms
 * (RFC 5246, section 7.4.1.4.1). OpenSSL signs with it at level 0 only. The certificate is as strong as any.
 */
function needsSha1(hello: ClientHello, tls13: boolean): boolean {
  const [highest = 0] = hello.versions;
  if (highest < VERSIONS["TLSv1.2"]) return true;
  return !tls13 && !hello.extensions.includes(EXTENSIONS.signature_algorithms);
}

const opensslTicketKeys = new WeakMap<Uint8Array, Uint8Array>();

/** Of a key as the workers share it, as OpenSSL takes it: the name of 16 bytes stays, and two keys of 32 bytes follow. */
function opensslTicketKey(key: Uint8Array): Uint8Array {
  const known = opensslTicketKeys.get(key);
  if (known) return known;
  const name = key.subarray(0, 16);
  const derived = hkdfSync("sha256", key.subarray(16), name, "clearline session tickets", 64);
  const made = Buffer.concat([name, Buffer.from(derived)]);
  opensslTicketKeys.set(key, made);
  return made;
}

/** OpenSSL resumes a session, of a ticket too, only where this is the same. 32 bytes: SSL_MAX_SID_CTX_LENGTH. */
function bondOf(bond: Bond): Buffer {
  return hash("sha256", JSON.stringify(bond), "buffer");
}

/** The one session that a client brings by its identifier, or begins. */
class SessionPlace {
  readonly #sessions: SessionKeeper;
  readonly #resumption: ClientResumption;
  #own: Bond | undefined;

  constructor(sessions: SessionKeeper, resumption: ClientResumption, { sessionId, sessionTicket }: ClientHello) {
    this.#sessions = sessions;
    this.#resumption = resumption;
    // Beside a ticket the identifier is made up (RFC 5077, section 3.4).
    this.#own = sessionId.length > 0 && !sessionTicket ? this.#bond(sessionId) : undefined;
  }

  /** The session that the client brings, when all that it is bound to is still the same. */
  async find(): Promise<Buffer | undefined> {
    const found = this.#own && (await this.#sessions.find(this.#own, Date.now()));
    if (!found) this.#own = undefined;
    return found && Buffer.from(found);
  }

  keep(id: Buffer, session: Buffer): void {
    this.#own = this.#bond(id);
    this.#sessions.put(this.#own, session, Date.now() + this.#resumption.timeout);
  }

  /** A fatal alert on the connection, and nobody comes back to the session: RFC 5246, section 7.2. */
  forget(): void {
    if (this.#own) this.#sessions.forget(this.#own);
  }

  #bond(id: Uint8Array): Bond {
    return [...this.#resumption.bond, Buffer.from(id).toString("hex")];
  }
}

/**
 * The node chooses the group: the client's first among those that it sent a share for, which also saves a HelloRetryRequest, else its
 * first among those that it supports. OpenSSL would go by an order of its own.
 */
function chooseGroup(hello: ClientHello, tls13: boolean, dhBits: number): Group | undefined {
  const first = (ids: readonly number[]) =>
    ids.map(groupWithin(dhBits)).find((group) => group && group.versions !== (tls13 ? "1.2-" : "1.3"));
  return (tls13 ? first(hello.keyShareGroups) : undefined) ?? first(hello.supportedGroups);
}
