import { InvariantError, NetworkError } from "../errors.ts";
import { CALL, called, calling } from "../linux/last-call.ts";
import { VERSIONS } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import { HANDSHAKE_TYPES } from "../wire/numbers.ts";
import { searchExtensions } from "../wire/unknown-extension.ts";
import { actFor, callbacks, encode, identifierOf, type Listener } from "./callbacks.ts";
import { encodeCertificate } from "./certificates.ts";
import type { Context } from "./contexts.ts";
import { dropErrors, explain, reasonOf, takeError, UNEXPECTED_EOF } from "./errors.ts";
import {
  type Agreed,
  BROKEN,
  type Carrier,
  END,
  type HandshakeStep,
  type Layer,
  type LayerFailure,
  NOTHING_NOW,
  RESET,
  type Told,
  TRUNCATED,
  type Wire,
} from "./layer.ts";
import { SCRATCH } from "./loop.ts";
import { addressOf, copyFrom, crypto, libc, memory, permanent, rethrow, ssl } from "./native.ts";
import { Session } from "./session.ts";
import { drain, newPair, type Pair, releasePair, type Writer, type Writing } from "./writer.ts";

/**
 * TLS 1.0 to 1.3 on one end, by OpenSSL. On a TCP connection OpenSSL reads from the socket itself and writes into the pair that
 * the writer lends. Inside of another layer, whose plaintext it speaks on, and behind bytes that were put back, it has a pair of
 * its own for each direction.
 *
 * The SSL is private to this class and freed by `free` only, which the end calls once. When a callback closes the end in the
 * middle of a call, the SSL is freed once that call is over.
 */

export interface OpensslOptions {
  /** The end that the layer is about to stand on. */
  readonly end: Carrier;
  readonly writer: Writer;
  readonly context: Context;
  /** Of a client: the SNI; undefined: none is sent. */
  readonly serverName?: string | undefined;
  /** Of a client: the session to offer, which stays the caller's. */
  readonly session?: Session | undefined;
  /** Of a client: asks the server to staple the status of its certificate (RFC 6066, section 8). */
  readonly staple?: boolean;
  /** Of a client: the server may ask for a certificate after the handshake (RFC 8446, section 4.2.6). It is answered with none. */
  readonly postHandshakeAuth?: boolean;
  /** Of a client: the largest group of Diffie-Hellman over integers that it computes with, in bits; undefined: OpenSSL's limit. */
  readonly mostGroupBits?: number | undefined;
  /** Of a client: a ServerHello or HelloRetryRequest, with its header, before OpenSSL reads it. */
  readonly onServerHello?: ((message: Buffer) => void) | undefined;
  /** Of a server: the protocol that it chooses; undefined: none. */
  readonly alpn?: string | undefined;
  /** Of a server: the OCSP responses for the context's identities, in their order. */
  readonly staples?: readonly (Buffer | undefined)[];
  /** Of a server: the session that the client may resume, as DER. */
  readonly resumable?: Buffer | undefined;
  /** Of a server: sessions and tickets are resumed only where this is the same. At most 32 bytes. */
  readonly bond?: Buffer | undefined;
  /** Of a client: a session that can be resumed later, the receiver's from here on. Called during the handshake and later. */
  readonly onServerSession?: ((session: Session) => void) | undefined;
  /** Of a server: the same as DER, and the identifier by which clients come back below TLS 1.3. */
  readonly onSession?: ((id: Buffer, session: Buffer) => void) | undefined;
  /** One line of the NSS key log format, without its end. */
  readonly onKey?: ((line: string) => void) | undefined;
}

/** SSL_CTRL_*, of ssl.h. */
const CTRL = {
  SET_TLSEXT_HOSTNAME: 55,
  SET_TLSEXT_STATUS_REQ_TYPE: 65,
  GET_TLSEXT_STATUS_REQ_OCSP_RESP: 70,
  GET_PEER_SIGNATURE_NID: 108,
  GET_PEER_TMP_KEY: 109,
  GET_TMP_KEY: 133,
} as const;
const STATUSTYPE_OCSP = 1;
/** EVP_PKEY_DH and EVP_PKEY_X25519, of evp.h. */
const [DH, X25519] = [28, 1034];
/** The bits of hashes by OpenSSL's NIDs: MD5, SHA-1, both in one, SHA-2. */
const HASH_BITS = new Map([
  [4, 128],
  [64, 160],
  [114, 160],
  [675, 224],
  [672, 256],
  [673, 384],
  [674, 512],
]);
/** SSL_ERROR_*. */
const ERROR = { SSL: 1, WANT_READ: 2, WANT_WRITE: 3, WANT_X509_LOOKUP: 4, SYSCALL: 5, ZERO_RETURN: 6 } as const;

/** SSL_RECEIVED_SHUTDOWN: OpenSSL reads no more. */
const STOP_READING = 2;
/**
 * Steps of OpenSSL's for messages of the handshake that come after the handshake, two to five for each. In TLS 1.3, without data
 * between them: KeyUpdates, which cost a peer 30 bytes and us two key derivations, and tickets. Before it, in all: attempts at
 * renegotiation, which are refused.
 */
const MOST_LATE_STEPS = { modern: 250, older: 20 } as const;
/**
 * HelloRequests before the handshake is up, in all. A client ignores them there (RFC 5246, section 7.4.1.1), and OpenSSL does so without
 * end: as long as more of them come, its call does not return.
 */
const MOST_HELLO_REQUESTS = 20;
/**
 * Records that a peer may cut the handshake's messages into, in all, and later between its data: the largest ClientHello may come in
 * records of one byte. OpenSSL reads a message in one call as long as its bytes come: with empty records between them it took seconds.
 */
const MOST_RECORDS = 150_000;

/** A record with an alert alone, in bytes: a ServerHello is longer. */
const ALERT_RECORD = 7;

/** Where a ServerHello has its version, behind its header. */
const VERSION_AT = 4;

const HANDSHAKE = 0;
const READ = 1;
const WRITE = 2;
const SHUTDOWN = 3;
type Operation = typeof HANDSHAKE | typeof READ | typeof WRITE | typeof SHUTDOWN;

/** In the order of the operations. */
const OPERATION_CALLS = [CALL.SSL_do_handshake, CALL.SSL_read, CALL.SSL_write, CALL.SSL_shutdown] as const;

const BIO_NOCLOSE = 0;
/** SSL_SENT_SHUTDOWN and SSL_RECEIVED_SHUTDOWN. */
const SENT_AND_RECEIVED = 3;

/** SSLs that are alive: a metric, and what tests look at. */
let live = 0;
export function liveConnections(): number {
  return live;
}

const word = memory(8);
const half = memory(4);

/** What a layer inside of another one reads of it before OpenSSL takes it. Its content is valid during one call. */
const relayed = permanent(SCRATCH);

const NO_STAPLES: readonly undefined[] = [];

/** What the peer used in a full handshake. */
export interface PeerStrength {
  /** The size of its Diffie-Hellman group; undefined: the exchange was another one. */
  readonly dhBits: number | undefined;
  /** The size of the hash that it signed; undefined: it signed none, or one that is part of the scheme. */
  readonly hashBits: number | undefined;
}

/** A layer's two pairs when it stands on another layer. */
interface Inside {
  readonly below: Wire;
  readonly incoming: Pair;
  readonly outgoing: Pair;
  /** How the layer below ended; 0: it has not. */
  ended: number;
}

export class OpensslLayer implements Layer, Writing, Listener {
  #carrier: Carrier;
  readonly #writer: Writer;
  readonly #context: Context;
  readonly #onServerSession: OpensslOptions["onServerSession"];
  readonly #onSession: OpensslOptions["onSession"];
  readonly #onKey: OpensslOptions["onKey"];
  readonly #inside: Inside | undefined;
  #ssl: number;
  /** The pair that OpenSSL writes into now. */
  #attached: Pair | undefined;
  /** What `act` is to do, and what it came to. */
  #operation: Operation = HANDSHAKE;
  #at = 0;
  #length = 0;
  #result = 0;
  #error = 0;
  /** "asked": the handshake has paused for it once. */
  #certificate: "not asked" | "asked" | "answered" = "not asked";
  /** What the client's first hello names; undefined: it was not asked for. */
  #helloName: { readonly name: string | null } | undefined;
  /** What a callback refused, which OpenSSL's error does not say. */
  #refusal: Pick<LayerFailure, "alert" | "detail"> | undefined;
  #isBroken = false;
  /** Bytes that were sent, up to a number that says enough. */
  #sent = 0;
  #isUp = false;
  /** A call into OpenSSL is under way. */
  #isActing = false;
  /** The end has freed the layer. */
  #isFreed = false;
  /** How reading has ended, which OpenSSL must not be asked again after an error; 0: it has not. */
  #ended = 0;
  readonly #mostGroupBits: number | undefined;
  readonly #onServerHello: OpensslOptions["onServerHello"];
  /** What the server's messages are looked at for. */
  #watches: "extensions" | "group" | "nothing" = "nothing";
  /** OpenSSL calls for each record and message, as its context says at first. */
  #listens = true;
  /** TLS 1.3, where messages after the handshake are usual. */
  #isModern = false;
  #lateSteps = 0;
  #isAskedLate = false;
  /** Messages of the handshake have come, and no data since. */
  #isLate = false;
  #helloRequests = 0;
  #records = 0;
  /** What a write could not pass on, because the peer is in the middle of a message that comes first. */
  #unwritten: Buffer | undefined;
  alpn: Buffer | undefined;
  resumable: Buffer | undefined;
  #staples: readonly (Buffer | undefined)[];
  pair: Pair | undefined;
  failure: LayerFailure | undefined;
  alertReceived: number | undefined;
  alertSent: number | undefined;
  /** Called once, when the server asks for a client certificate after the handshake: in TLS 1.3, or by renegotiation. */
  onAskedLate: (() => void) | undefined;

  constructor(options: OpensslOptions) {
    const { end, writer, context, serverName, session, staple, alpn, resumable, bond, onKey } = options;
    this.#mostGroupBits = context.offersDhe ? options.mostGroupBits : undefined;
    this.#carrier = end;
    this.#writer = writer;
    this.#context = context;
    this.#onServerHello = options.onServerHello;
    this.#onServerSession = options.onServerSession;
    this.#onSession = options.onSession;
    this.#onKey = onKey;
    this.alpn = alpn === undefined ? undefined : fixed(Buffer.from(alpn, "latin1"));
    this.resumable = resumable;
    this.#staples = options.staples ?? NO_STAPLES;
    this.#ssl = context.connection();
    live += 1;
    try {
      this.#inside = end.isLayered || end.hasUnread ? this.#standInside(end.takeWire()) : undefined;
      if (!this.#inside) ssl.set0_rbio(this.#ssl, crypto.BIO_new_socket(end.fd, BIO_NOCLOSE));
      if (bond) ssl.set_session_id_context(this.#ssl, bond, bond.length);
      if (context.role === "server") ssl.set_accept_state(this.#ssl);
      else this.#prepareClient(serverName, session, staple ?? false);
      if (options.postHandshakeAuth) ssl.set_post_handshake_auth(this.#ssl, 1);
      takeError();
    } catch (error) {
      this.free();
      throw error;
    }
  }

  #prepareClient(serverName: string | undefined, session: Session | undefined, staple: boolean): void {
    ssl.set_connect_state(this.#ssl);
    if (serverName !== undefined) ssl.ctrlText(this.#ssl, CTRL.SET_TLSEXT_HOSTNAME, 0, serverName);
    if (staple) ssl.ctrl(this.#ssl, CTRL.SET_TLSEXT_STATUS_REQ_TYPE, STATUSTYPE_OCSP, 0);
    session?.offer(this.#ssl);
    this.#watches = "extensions";
  }

  #standInside(below: Wire): Inside {
    const [incoming, outgoing] = [newPair(), newPair()];
    // A pair has room in one direction: what we write into `inner`, OpenSSL reads from `outer`.
    crypto.BIO_up_ref(incoming.outer);
    ssl.set0_rbio(this.#ssl, incoming.outer);
    return { below, incoming, outgoing, ended: 0 };
  }

  handshake(): HandshakeStep {
    if (this.failure) return this.failure;
    this.#do(HANDSHAKE, 0, 0);
    if (this.#result === 1 && !this.failure) {
      this.#comeUp();
      return "up";
    }
    if (this.#error === ERROR.WANT_X509_LOOKUP) return "certificate wanted";
    const told = this.#explain();
    if (this.failure) return this.failure;
    if (told === NOTHING_NOW) return "waiting";
    const code = told === RESET || told === BROKEN ? "ECONNRESET" : "EOF";
    this.failure = { cause: "network", alert: ALERTS.handshake_failure, code };
    return this.failure;
  }

  #comeUp(): void {
    this.#isUp = true;
    // OpenSSL has asked for all of them by now.
    [this.alpn, this.resumable, this.#staples] = [undefined, undefined, NO_STAPLES];
    // A callback may have closed the end.
    if (this.#ssl === 0) return;
    this.#isModern = ssl.version(this.#ssl) >= VERSIONS["TLSv1.3"];
    if (this.#isModern) this.#eraseExchange();
    this.#watches = "nothing";
    this.#records = 0;
    this.#listen(false);
  }

  /**
   * Erases the keys of the exchange, of which the traffic's are made. OpenSSL would keep them as long as the SSL, with 4 KiB for each
   * leg, and whoever read them could decrypt what passed before. Below TLS 1.3 it keeps no secret ones, and `peerStrength` asks for the
   * peer's.
   */
  #eraseExchange(): void {
    for (const which of [CTRL.GET_TMP_KEY, CTRL.GET_PEER_TMP_KEY]) {
      if (ssl.ctrlMemory(this.#ssl, which, 0, word) <= 0) continue;
      const key = Number(word.readBigUInt64LE());
      // It has a type then, and nothing else. A key of this type may be asked for its size also when it is empty.
      crypto.EVP_PKEY_set_type(key, X25519);
      crypto.EVP_PKEY_free(key);
    }
  }

  read(at: number, room: number): number {
    if (this.#ended !== 0) return this.#ended;
    dropErrors();
    // Only while it reads: writing would cost callbacks, too.
    if (this.#isLate) this.#listen(true);
    this.#do(READ, at, room);
    this.#listen(false);
    if (this.#isAskedLate) this.#tellAskedLate();
    if (this.failure) {
      this.#ended = BROKEN;
      return BROKEN;
    }
    if (this.#result > 0) {
      if (this.#isModern) this.#lateSteps = 0;
      this.#isLate = false;
      this.#records = 0;
      return this.#result;
    }
    const told = this.#explain();
    if (told !== NOTHING_NOW) this.#ended = told;
    return told;
  }

  write(at: number, length: number): boolean {
    if (this.#isBroken) return true;
    if (!this.#take(at, length)) {
      this.#unwritten = memory(length);
      libc.memcpy(addressOf(this.#unwritten), at, length);
      return false;
    }
    return this.#drain();
  }

  /**
   * False: OpenSSL takes nothing now, because it waits for the rest of a message of the peer's that comes first. The pair has room
   * for all of the bytes, so after another error they will never be taken.
   */
  #take(at: number, length: number): boolean {
    dropErrors();
    this.#do(WRITE, at, length);
    if (this.#result === length) return true;
    if (this.#isUp && this.#error === ERROR.WANT_READ) return false;
    this.#explain();
    this.#isBroken = true;
    return true;
  }

  flush(): boolean {
    if (this.#isFreed) return true;
    if (!this.#drain()) return false;
    const kept = this.#unwritten;
    if (!kept) return true;
    if (!this.#isBroken && !this.#take(addressOf(kept), kept.length)) return false;
    this.#unwritten = undefined;
    return this.#drain();
  }

  /** Sends what OpenSSL has written. True: nothing is left. */
  #drain(): boolean {
    if (this.#isFreed) return true;
    if (this.#inside) return this.#drainInside();
    if (this.pair) this.#writer.flush(this);
    return this.pair === undefined;
  }

  finish(): void {
    // After an error OpenSSL has said what there was to say, and must not be called again.
    if (this.#isBroken || this.#ended < TRUNCATED) return;
    dropErrors();
    this.#do(SHUTDOWN, 0, 0);
    if (this.#result < 0) takeError();
  }

  get isBroken(): boolean {
    return this.#isBroken || (this.#inside?.below.isBroken ?? false);
  }

  agreed(): Agreed {
    return this.#agreed(ssl.get_current_cipher(this.#live()));
  }

  #agreed(suite: number): Agreed {
    const own = this.#ssl;
    const version = ssl.version(own);
    const resumed = ssl.session_reused(own) === 1;
    // An abbreviated handshake below TLS 1.3 exchanges no keys; OpenSSL still names the group of the full one. It crashes without a
    // session, which there is not yet after a HelloRetryRequest.
    const exchanged = (!resumed || version > 0x0303) && ssl.get_session(own) !== 0;
    return {
      version,
      suite: ssl.CIPHER_standard_name(suite) ?? "unknown",
      group: (exchanged ? ssl.get0_group_name(own) : null) ?? undefined,
      alpn: this.#agreedAlpn(),
      resumed,
    };
  }

  told(): Told | undefined {
    if (this.#ssl === 0 || this.#context.role !== "server" || this.#sent <= ALERT_RECORD) return undefined;
    const suite = ssl.get_pending_cipher(this.#ssl);
    if (suite === 0) return undefined;
    return { ...this.#agreed(suite), finished: ssl.get_finished(this.#ssl, word, 0) > 0 };
  }

  #agreedAlpn(): string | undefined {
    ssl.get0_alpn_selected(this.#ssl, word, half);
    const length = half.readUInt32LE();
    return length === 0 ? undefined : copyFrom(Number(word.readBigUInt64LE()), length).toString("latin1");
  }

  /** The certificates that the peer has shown, in DER, its own first. Empty in an abbreviated handshake below TLS 1.3. */
  peerChain(): Buffer[] {
    const stack = ssl.get_peer_cert_chain(this.#live());
    if (stack === 0) return [];
    return Array.from({ length: crypto.sk_num(stack) }, (_, index) => encodeCertificate(crypto.sk_value(stack, index)));
  }

  peerStrength(): PeerStrength {
    const signed = ssl.ctrlMemory(this.#live(), CTRL.GET_PEER_SIGNATURE_NID, 0, half) > 0;
    const hashBits = signed ? HASH_BITS.get(half.readInt32LE()) : undefined;
    if (ssl.ctrlMemory(this.#ssl, CTRL.GET_PEER_TMP_KEY, 0, word) <= 0) return { dhBits: undefined, hashBits };
    const key = Number(word.readBigUInt64LE());
    const dhBits = crypto.EVP_PKEY_get_base_id(key) === DH ? crypto.EVP_PKEY_get_bits(key) : undefined;
    crypto.EVP_PKEY_free(key);
    return { dhBits, hashBits };
  }

  /** The OCSP response that the server has stapled, in DER. */
  staple(): Buffer | undefined {
    const length = ssl.ctrlMemory(this.#live(), CTRL.GET_TLSEXT_STATUS_REQ_OCSP_RESP, 0, word);
    return length > 0 ? copyFrom(Number(word.readBigUInt64LE()), length) : undefined;
  }

  get stapled(): Buffer | undefined {
    return this.#staples[this.#context.shownBy(this.#ssl)];
  }

  /** Which of its context's identities a server has shown; -1: none, or the handshake was abbreviated. */
  shownIdentity(): number {
    return this.#context.shownBy(this.#live());
  }

  /** Whoever waited for the handshake may ask after the connection was closed. Throws NetworkError then: 0 would crash OpenSSL. */
  #live(): number {
    if (this.#ssl === 0) throw new NetworkError("The connection is closed", "ECONNRESET");
    return this.#ssl;
  }

  /** Nested layers read and write through the layers below, which go along. */
  moveTo(carrier: Carrier): void {
    this.#carrier = carrier;
    if (!this.#inside) ssl.set0_rbio(this.#ssl, crypto.BIO_new_socket(carrier.fd, BIO_NOCLOSE));
  }

  free(): void {
    this.#isFreed = true;
    this.#isBroken = true;
    if (this.#ssl === 0 || this.#isActing) return;
    const own = this.#ssl;
    this.#ssl = 0;
    this.#unwritten = undefined;
    calling(CALL.SSL_free, this.#carrier.fd);
    // Otherwise OpenSSL spoils the session of a connection that ends without close_notify (RFC 5246, section 7.2.1, no longer asks for it).
    if (this.#onServerSession) ssl.set_shutdown(own, SENT_AND_RECEIVED);
    ssl.free(own);
    called();
    live -= 1;
    this.#writer.discard(this);
    if (!this.#inside) return;
    releasePair(this.#inside.incoming);
    releasePair(this.#inside.outgoing);
  }

  // What the writer and OpenSSL's callbacks ask of a layer.

  act(pair: Pair): void {
    if (this.#attached !== pair) {
      crypto.BIO_up_ref(pair.inner);
      ssl.set0_wbio(this.#ssl, pair.inner);
      this.#attached = pair;
    }
    calling(OPERATION_CALLS[this.#operation], this.#carrier.fd);
    this.#result = actFor(this);
    called();
    this.#error = this.#result > 0 ? 0 : ssl.get_error(this.#ssl, this.#result);
    try {
      rethrow();
    } catch (error) {
      crypto.ERR_clear_error();
      throw error;
    }
  }

  callOpenssl(): number {
    switch (this.#operation) {
      case HANDSHAKE:
        return ssl.do_handshake(this.#ssl);
      case READ:
        return ssl.read(this.#ssl, this.#at, this.#length);
      case WRITE:
        return ssl.write(this.#ssl, this.#at, this.#length);
      case SHUTDOWN:
        return ssl.shutdown(this.#ssl);
    }
  }

  send(at: number, length: number): number {
    const inside = this.#inside;
    const taken = inside ? this.#sendInside(inside.below, at, length) : this.#carrier.send(at, length);
    if (this.#sent <= ALERT_RECORD) this.#sent += Math.max(0, taken);
    return taken;
  }

  #sendInside(below: Wire, at: number, length: number): number {
    if (below.isBroken) return -1;
    if (!below.flush()) return 0;
    const taken = Math.min(length, SCRATCH);
    below.write(at, taken);
    return taken;
  }

  onAlert(direction: "received" | "sent", description: number): void {
    if (direction === "received") this.alertReceived = description;
    else this.alertSent = description;
  }

  #tellAskedLate(): void {
    const tell = this.onAskedLate;
    this.onAskedLate = undefined;
    this.#isAskedLate = false;
    tell?.();
  }

  onStep(): void {
    if (!this.#isUp) this.#watch();
    else if (this.#operation === READ) this.#onLateStep();
  }

  #onLateStep(): void {
    // The one message that a server may begin with there is a HelloRequest, and a client certificate is what it is used for.
    if (!this.#isModern && this.#context.role === "client") this.#isAskedLate = true;
    this.#lateSteps += 1;
    this.#isLate = true;
    this.#listen(true);
    if (this.#lateSteps <= MOST_LATE_STEPS[this.#isModern ? "modern" : "older"]) return;
    this.#stop("it sent too many messages of the handshake after the handshake");
  }

  onRecord(): void {
    this.#records += 1;
    if (this.#records > MOST_RECORDS) this.#stop("it cut messages of the handshake into too many records");
  }

  onHelloRequest(): void {
    this.#helloRequests += 1;
    if (this.#helloRequests > MOST_HELLO_REQUESTS) this.#stop("it sent too many HelloRequests during the handshake");
  }

  /** Ends a call of OpenSSL's that messages of the handshake would keep busy. */
  #stop(detail: string): void {
    if (this.failure) return;
    this.failure = { cause: "protocol", alert: ALERTS.unexpected_message, code: "TOO_MANY_HANDSHAKE_MESSAGES", detail };
    ssl.set_shutdown(this.#ssl, STOP_READING);
  }

  onMessage(message: () => Buffer): number | undefined {
    if (this.#watches !== "extensions") return this.#watches === "group" ? undefined : -1;
    const bytes = message();
    const { unknown, goesOn } = searchExtensions(bytes);
    if (bytes[0] === HANDSHAKE_TYPES.server_hello) this.#lookAtHello(bytes, goesOn);
    if (!goesOn) this.#watches = "nothing";
    if (!unknown) return -1;
    const detail = `it sent extension ${unknown.type}, which was not offered`;
    this.#refusal = { alert: ALERTS.unsupported_extension, detail };
    return unknown.at;
  }

  /** `isModern`: an extension has the version (RFC 8446, section 4.2.1), and not the field. */
  #lookAtHello(message: Buffer, isModern: boolean): void {
    this.#onServerHello?.(message);
    if (isModern) return;
    const version = message.length < VERSION_AT + 2 ? 0 : message.readUInt16BE(VERSION_AT);
    if (version <= VERSIONS["TLSv1.2"]) return;
    // OpenSSL says the same of it as of a version that is too old.
    const detail = `it chose version 0x${version.toString(16).padStart(4, "0")}, which was not offered`;
    this.#refusal = { alert: ALERTS.illegal_parameter, detail };
  }

  /** A message of the handshake begins to come. */
  #watch(): void {
    if (this.#watches === "nothing" && this.#mostGroupBits !== undefined) this.#watchGroup();
  }

  /** Once the suite is known, where the ServerHello was all that had extensions. */
  #watchGroup(): void {
    const suite = ssl.get_pending_cipher(this.#ssl);
    if (suite === 0 || !ssl.CIPHER_standard_name(suite)?.startsWith("TLS_DHE_")) return;
    this.#watches = "group";
  }

  #listen(listens: boolean): void {
    // A callback may have closed the end.
    if (listens === this.#listens || this.#ssl === 0) return;
    this.#listens = listens;
    ssl.set_msg_callback(this.#ssl, listens ? callbacks.message : 0);
  }

  takesGroup(bits: number): boolean {
    const most = this.#mostGroupBits!;
    if (bits <= most) return true;
    const detail = `its Diffie-Hellman group has ${bits} bits, above ${most}`;
    this.failure = { cause: "protocol", alert: ALERTS.insufficient_security, code: "DH_GROUP_TOO_LARGE", detail };
    return false;
  }

  onSession(session: number): void {
    this.#onSession?.(identifierOf(session), encode(session));
    this.#onServerSession?.(new Session(session));
  }

  onKey(line: string): void {
    this.#onKey?.(line);
  }

  /** RFC 8446, section 4.1.2: a second ClientHello, after a HelloRetryRequest, names the same host as the first. */
  allowsName(name: string | null): boolean {
    this.#helloName ??= { name };
    if (this.#helloName.name === name) return true;
    this.#refusal = { alert: ALERTS.illegal_parameter, detail: "its second ClientHello names another host" };
    return false;
  }

  pausesForCertificate(): boolean {
    if (this.#isUp) {
      this.#isAskedLate = true;
      return false;
    }
    const isFirst = this.#certificate === "not asked";
    this.#certificate = isFirst ? "asked" : "answered";
    return isFirst;
  }

  /** Makes one call into OpenSSL, and another one as long as the layer below has more for it. */
  #do(operation: Operation, at: number, length: number): void {
    if (this.#isFreed) throw new InvariantError("A layer was used after it was freed");
    if (this.#isActing) throw new InvariantError("A layer was used by a callback of its own");
    [this.#operation, this.#at, this.#length] = [operation, at, length];
    this.#isActing = true;
    try {
      if (this.#inside) this.#doInside(this.#inside);
      else this.#writer.work(this);
    } finally {
      this.#isActing = false;
      if (this.#isFreed) this.free();
    }
  }

  #doInside(inside: Inside): void {
    do {
      this.act(inside.outgoing);
      this.#drainInside();
    } while (this.#error === ERROR.WANT_READ && !this.#isFreed && this.#feed(inside));
  }

  /** Gives OpenSSL what the layer below has. False: it has nothing now, or has ended. */
  #feed(inside: Inside): boolean {
    if (inside.ended !== 0) return false;
    const room = Math.min(SCRATCH, crypto.BIO_ctrl_get_write_guarantee(inside.incoming.inner));
    const length = inside.below.read(relayed.at, room);
    if (length < 0) inside.ended = length;
    if (length <= 0) return false;
    if (crypto.BIO_write(inside.incoming.inner, relayed.at, length) !== length) {
      throw new InvariantError("A pair took less than it had room for");
    }
    return true;
  }

  #drainInside(): boolean {
    const inside = this.#inside!;
    return drain(inside.outgoing, this) && inside.below.flush();
  }

  /** What a failed call means to the reader. The queue of errors is empty afterwards. */
  #explain(): number {
    switch (this.#error) {
      case ERROR.WANT_READ:
        if (!this.#inside) return NOTHING_NOW;
        return this.#inside.ended === END ? TRUNCATED : this.#inside.ended;
      case ERROR.WANT_WRITE:
        return NOTHING_NOW;
      case ERROR.ZERO_RETURN:
        return this.alertReceived === ALERTS.close_notify ? END : TRUNCATED;
    }
    const code = takeError();
    if (code === 0) return RESET;
    if (reasonOf(code) === UNEXPECTED_EOF) return this.#carrier.isReset ? RESET : TRUNCATED;
    this.failure ??= { ...explain(code, this.alertSent), ...this.#refusal };
    return BROKEN;
  }
}

function fixed(bytes: Buffer): Buffer {
  const kept = memory(bytes.length);
  bytes.copy(kept);
  return kept;
}
