import { ConfigError, InvariantError } from "../errors.ts";
import { CALL, called, calling } from "../linux/last-call.ts";
import { REFUSED_EXTENSION } from "../wire/unknown-extension.ts";
import { callbacks } from "./callbacks.ts";
import { explain, takeError } from "./errors.ts";
import { addressOfFunction, crypto, ssl } from "./native.ts";
import { withPem } from "./pem.ts";

/**
 * SSL_CTX: what many connections share. Making one costs milliseconds, so contexts are kept and shared by whoever asks for the same
 * options. OpenSSL counts the references: every SSL holds one, so a context can be released while connections still use it.
 */

interface CommonOptions {
  /** Version numbers, such as 0x0303 for TLS 1.2. */
  readonly minVersion: number;
  readonly maxVersion: number;
  /** OpenSSL's names, TLS 1.3's among them, joined by ":". May end with "@SECLEVEL=0". */
  readonly ciphers: string;
  /** OpenSSL's names joined by ":", each with "*" in front for which a key share is sent; undefined: OpenSSL's own. */
  readonly groups?: string | undefined;
  /** Session tickets: a server makes them, a client takes them. */
  readonly tickets: boolean;
  /** Sessions are given to the layer, for a cache of ours. */
  readonly sessions: boolean;
  /** The handshake's secrets are given to the layer, as lines of the NSS key log format. */
  readonly keyLog: boolean;
}

export interface ClientContextOptions extends CommonOptions {
  readonly role: "client";
  /** OpenSSL's names joined by ":"; undefined: OpenSSL's own. */
  readonly sigalgs?: string | undefined;
  /** In the order of preference, bytes read as latin1 (RFC 7301, section 3.1). */
  readonly alpn: readonly string[];
}

export interface ServerContextOptions extends CommonOptions {
  readonly role: "server";
  /** Certificates with their chains and keys, in PEM: at most one of each key type. OpenSSL shows the one that the client can verify. */
  readonly identities: readonly { readonly certificatePem: string; readonly keyPem: string }[];
  /** What tickets are sealed with: 80 bytes, a name of 16 first. Undefined: OpenSSL makes up its own. */
  readonly ticketKey?: Uint8Array | undefined;
  /** The client will be asked for a second hello (RFC 8446, section 4.1.4), which must name the same host as the first. */
  readonly retries?: boolean;
  /** The suites are in the order of the server's preference. Otherwise the client's order counts. */
  readonly ranked?: boolean;
  /** Seconds for which a session may be resumed. */
  readonly sessionTimeout: number;
}

export type ContextOptions = ClientContextOptions | ServerContextOptions;

/** SSL_CTRL_*, of ssl.h. */
const CTRL = {
  MODE: 33,
  SET_READ_AHEAD: 41,
  SET_SESS_CACHE_MODE: 44,
  SET_TLSEXT_SERVERNAME_CB: 53,
  SET_TLSEXT_TICKET_KEYS: 59,
  SET_TLSEXT_STATUS_REQ_CB: 63,
  CHAIN_CERT: 89,
  SET_GROUPS_LIST: 92,
  SET_SIGALGS_LIST: 98,
  SET_DH_AUTO: 118,
  SET_MIN_PROTO_VERSION: 123,
  SET_MAX_PROTO_VERSION: 124,
} as const;

/**
 * SSL_OP_*. Renegotiation is refused on both legs: it lets a peer change what was judged. Compression is never negotiated (CRIME).
 * A FIN without close_notify is told by the alert that has not come: as an error it would end our own direction too.
 * Compressed certificates (RFC 8879) are not asked for: OpenSSL would offer them where the client does not, and what is in them could
 * not be looked at.
 * Servers without RFC 5746 are accepted as browsers accept them: with renegotiation refused there is nothing to attack here.
 */
const OP = {
  LEGACY_SERVER_CONNECT: 0x4n,
  IGNORE_UNEXPECTED_EOF: 0x80n,
  NO_TICKET: 0x4000n,
  NO_COMPRESSION: 0x20000n,
  /** A client whose first suite is ChaCha20 is slow with AES. */
  PRIORITIZE_CHACHA: 0x200000n,
  CIPHER_SERVER_PREFERENCE: 0x400000n,
  NO_RENEGOTIATION: 0x40000000n,
  NO_RX_CERTIFICATE_COMPRESSION: 0x200000000n,
};
const ALWAYS =
  OP.IGNORE_UNEXPECTED_EOF |
  OP.NO_RENEGOTIATION |
  OP.NO_COMPRESSION |
  OP.LEGACY_SERVER_CONNECT |
  OP.NO_RX_CERTIFICATE_COMPRESSION;

/** SSL_EXT_*, of ssl.h: ClientHello, ServerHello up to TLS 1.2 and of 1.3, EncryptedExtensions, HelloRetryRequest, Certificate. */
const EVERY_MESSAGE = 0x80 | 0x100 | 0x200 | 0x400 | 0x800 | 0x1000;

/** SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, NO_AUTO_CHAIN and RELEASE_BUFFERS: an idle connection holds no record buffers. */
const MODE = 0x2 | 0x8 | 0x10;

/** SSL_SESS_CACHE_*: both roles tell of sessions, and OpenSSL keeps none itself. */
const CACHE_OFF = 0;
const CACHE_OURS = 0x1 | 0x2 | 0x80 | 0x100 | 0x200;

/** Bytes that one recv(2) of a TLS connection brings at most. */
const READ_BUFFER = 32 * 1024;

/** Contexts that this process has made and not yet released. */
let live = 0;
export function liveContexts(): number {
  return live;
}

export class Context {
  readonly role: "client" | "server";
  /** Whether suites with Diffie-Hellman over integers are among its ciphers. */
  readonly offersDhe: boolean;
  #pointer: number;
  /** Of a server: its own certificates in the order of the options, as OpenSSL has them. */
  readonly #identities: number[] = [];

  /** Throws ConfigError for options that OpenSSL does not take: a key that does not fit, a name that it does not know. */
  constructor(options: ContextOptions) {
    this.role = options.role;
    this.offersDhe = options.ciphers.split(":").some((name) => name.startsWith("DHE-"));
    calling(CALL.SSL_CTX_new, -1);
    this.#pointer = ssl.CTX_new(options.role === "client" ? ssl.TLS_client_method() : ssl.TLS_server_method());
    if (this.#pointer === 0) throw new InvariantError("SSL_CTX_new failed");
    live += 1;
    try {
      this.#setCommon(options);
      if (options.role === "client") this.#setClient(options);
      else this.#setServer(options);
      called();
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** A new SSL of this context. The caller owns it. */
  connection(): number {
    if (this.#pointer === 0) throw new InvariantError("A context was used after its release");
    calling(CALL.SSL_new, -1);
    const connection = ssl.new(this.#pointer);
    called();
    if (connection === 0) throw new InvariantError(`SSL_new failed: ${explain(takeError()).code}`);
    return connection;
  }

  /** Which of the options' identities a connection of this context shows; -1: none. */
  shownBy(connection: number): number {
    return this.#identities.indexOf(ssl.get_certificate(connection));
  }

  /** Connections go on; no new ones are made. May be called twice. */
  release(): void {
    if (this.#pointer === 0) return;
    calling(CALL.SSL_CTX_free, -1);
    ssl.CTX_free(this.#pointer);
    called();
    this.#pointer = 0;
    live -= 1;
  }

  #setCommon({ minVersion, maxVersion, ciphers, groups, tickets, sessions, keyLog }: CommonOptions): void {
    const context = this.#pointer;
    ssl.CTX_set_options(context, tickets ? ALWAYS : ALWAYS | OP.NO_TICKET);
    ssl.CTX_ctrl(context, CTRL.MODE, MODE, 0);
    ssl.CTX_ctrl(context, CTRL.SET_READ_AHEAD, 1, 0);
    ssl.CTX_set_default_read_buffer_len(context, READ_BUFFER);
    ssl.CTX_ctrl(context, CTRL.SET_MIN_PROTO_VERSION, minVersion, 0);
    ssl.CTX_ctrl(context, CTRL.SET_MAX_PROTO_VERSION, maxVersion, 0);
    const names = ciphers.split(":");
    const [suites13, older] = [names.filter(isTls13), names.filter((name) => !isTls13(name))];
    this.#accept(ssl.CTX_set_ciphersuites(context, suites13.join(":")), "the TLS 1.3 suites");
    if (older.some((name) => !name.startsWith("@"))) {
      this.#accept(ssl.CTX_set_cipher_list(context, older.join(":")), "the cipher list");
    } else if (older.length > 0) ssl.CTX_set_security_level(context, 0);
    if (groups !== undefined) this.#accept(ssl.CTX_ctrlText(context, CTRL.SET_GROUPS_LIST, 0, groups), "the groups");
    ssl.CTX_ctrl(context, CTRL.SET_SESS_CACHE_MODE, sessions ? CACHE_OURS : CACHE_OFF, 0);
    if (sessions) ssl.CTX_sess_set_new_cb(context, callbacks.newSession);
    if (keyLog) ssl.CTX_set_keylog_callback(context, callbacks.keyLog);
    ssl.CTX_set_info_callback(context, callbacks.info);
    // A connection tells of records only where it had the callback when it began to read with its keys.
    ssl.CTX_set_msg_callback(context, callbacks.message);
  }

  #setClient({ sigalgs, alpn }: ClientContextOptions): void {
    const context = this.#pointer;
    if (sigalgs !== undefined) {
      this.#accept(ssl.CTX_ctrlText(context, CTRL.SET_SIGALGS_LIST, 0, sigalgs), "the signature algorithms");
    }
    if (alpn.length > 0) {
      const list = alpnList(alpn);
      // This one answers 0 when all is well.
      this.#accept(ssl.CTX_set_alpn_protos(context, list, list.length) === 0 ? 1 : 0, "the ALPN protocols");
    }
    // Never offered: a function that answers 0 adds nothing. A server that sends it is refused.
    const [nothing, refuse] = [addressOfFunction("OPENSSL_isservice"), callbacks.refusedExtension];
    const isKnown = ssl.CTX_add_custom_ext(context, REFUSED_EXTENSION, EVERY_MESSAGE, nothing, 0, 0, refuse, 0);
    this.#accept(isKnown, "an extension to refuse");
    ssl.CTX_set_client_cert_cb(context, callbacks.clientCertificate);
    // The chain is judged outside of the handshake, once for all connections that show it. This callback answers a number above 0.
    ssl.CTX_set_cert_verify_callback(context, addressOfFunction("uv_version"), 0);
  }

  #setServer({
    retries = false,
    ranked = false,
    identities,
    ticketKey,
    tickets,
    sessions,
    sessionTimeout,
  }: ServerContextOptions): void {
    const context = this.#pointer;
    for (const identity of identities) this.#identities.push(this.#use(identity));
    if (ranked) ssl.CTX_set_options(context, OP.CIPHER_SERVER_PREFERENCE | OP.PRIORITIZE_CHACHA);
    ssl.CTX_ctrl(context, CTRL.SET_DH_AUTO, 1, 0);
    ssl.CTX_set_alpn_select_cb(context, callbacks.selectAlpn, 0);
    ssl.CTX_callback_ctrl(context, CTRL.SET_TLSEXT_STATUS_REQ_CB, callbacks.status);
    ssl.CTX_set_timeout(context, sessionTimeout);
    if (retries) ssl.CTX_callback_ctrl(context, CTRL.SET_TLSEXT_SERVERNAME_CB, callbacks.serverName);
    if (sessions) ssl.CTX_sess_set_get_cb(context, callbacks.findSession);
    if (!tickets) ssl.CTX_set_num_tickets(context, 0);
    if (ticketKey) {
      const key = Buffer.from(ticketKey);
      const isTaken = ssl.CTX_ctrlMemory(context, CTRL.SET_TLSEXT_TICKET_KEYS, key.length, key);
      key.fill(0);
      this.#accept(isTaken, "the ticket key");
    }
  }

  /** Answers OpenSSL's own certificate of the identity. */
  #use({ certificatePem, keyPem }: ServerContextOptions["identities"][number]): number {
    const context = this.#pointer;
    const [leaf, ...chain] = readCertificates(certificatePem);
    if (leaf === undefined) throw new ConfigError("", "Cannot show a certificate: the PEM holds none");
    try {
      this.#accept(ssl.CTX_use_certificate(context, leaf), "the certificate");
      // "1": the context takes a reference of its own.
      for (const one of chain) this.#accept(ssl.CTX_ctrl(context, CTRL.CHAIN_CERT, 1, one), "the certificate chain");
    } finally {
      for (const one of [leaf, ...chain]) crypto.X509_free(one);
    }
    const key = withPem(keyPem, (bio) => crypto.PEM_read_bio_PrivateKey(bio, 0, 0, 0));
    if (key === 0) this.#accept(0, "the private key");
    try {
      this.#accept(ssl.CTX_use_PrivateKey(context, key), "the private key");
    } finally {
      crypto.EVP_PKEY_free(key);
    }
    return leaf;
  }

  #accept(result: number, what: string): void {
    if (result > 0) return;
    throw new ConfigError("", `OpenSSL does not take ${what}: ${explain(takeError()).code}`);
  }
}

/** Protocol names as ALPN has them on the wire: RFC 7301, section 3.1. */
export function alpnList(names: readonly string[]): Buffer {
  return Buffer.concat(names.map((name) => Buffer.from(`${String.fromCharCode(name.length)}${name}`, "latin1")));
}

function isTls13(name: string): boolean {
  return name.startsWith("TLS_");
}

/** The certificates of a PEM text, in order. The caller frees them. */
function readCertificates(pem: string): number[] {
  const found: number[] = [];
  withPem(pem, (bio) => {
    for (;;) {
      const one = crypto.PEM_read_bio_X509(bio, 0, 0, 0);
      if (one === 0) break;
      found.push(one);
    }
    // The end of the text is an error to OpenSSL too.
    takeError();
    return 0;
  });
  return found;
}
