import { PeerError } from "../errors.ts";
import { nameVersion, type Side, SSLV2, VERSIONS } from "../vocabulary.ts";
import { ALERTS } from "./alert.ts";
import { type ClientHello, readClientHello } from "./client-hello.ts";
import { groupById } from "./groups.ts";
import { HANDSHAKE_TYPES } from "./numbers.ts";
import { type PlaintextItem, PlaintextRecords } from "./plaintext-records.ts";
import { Reader } from "./reader.ts";
import { readServerHello, type ServerHello } from "./server-hello.ts";
import { suiteById } from "./suites.ts";

/** What a policy may have judged, and a second ClientHello must repeat: RFC 8446, section 4.1.2, says what may change in it. */
const REPEATED = ["alpnProtocols", "versions", "cipherSuites", "supportedGroups"] as const;
type JudgedHello = Pick<ClientHello, "format" | "serverName" | "serverAddress" | (typeof REPEATED)[number]>;

/** What must hold between two peers whose TLS passes as it is. */
export interface ExchangeRules {
  /** The hello by which the session was judged. */
  readonly hello: JudgedHello;
  /** Whether the session passes because of its version: then the server may choose none of these. */
  readonly isForbidden?: ((version: number) => boolean) | undefined;
  /** The session passes because the server refused all that the node can do: it may choose nothing of that. */
  readonly beyondNode?: boolean | undefined;
  /**
   * Up to TLS 1.2, where it is not encrypted, the server's certificate is to be judged before it passes whole. "must": the server
   * shows one; "may": it may go back to an earlier session instead.
   */
  readonly certificate?: "must" | "may" | undefined;
}

/**
 * Follows the hellos of two peers whose TLS passes as it is, until the server has chosen the version. A policy judged the first
 * ClientHello, so a second one, after a HelloRetryRequest, must name the same host and offer the same; and a session that passes
 * because its version is outside of the limits must not get one that is inside.
 */
export class HelloExchange {
  readonly #rules: ExchangeRules;
  readonly #sides: Readonly<Record<Side, PlaintextRecords>> = {
    client: new PlaintextRecords(),
    server: new PlaintextRecords(),
  };
  /** Bytes of each side that were read and not passed: the last one of an incomplete message. */
  readonly #held: Record<Side, number> = { client: 0, server: 0 };
  #retried = false;
  #isFirst = true;
  #isClientReadable = true;
  #isSettled = false;
  #awaitsCertificate = false;
  #certificates: readonly Buffer[] | undefined;

  constructor(rules: ExchangeRules) {
    this.#rules = rules;
  }

  /** Nothing more needs to be read of either side. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** The server's certificates in DER, which wait to be judged: nothing of the server's passes until `accept`. */
  get certificates(): readonly Buffer[] | undefined {
    return this.#certificates;
  }

  accept(): void {
    this.#isSettled = true;
  }

  /**
   * How many of a side's bytes may pass; the others come again, in front of the next. A message passes whole only once it has been
   * judged. Throws PeerError when the peers do what must not be.
   */
  feed(side: Side, bytes: Uint8Array): number {
    // A hello in the format of SSLv2 names no host, and no second one follows.
    const isOpaque = side === "client" && (this.#rules.hello.format === "sslv2" || !this.#isClientReadable);
    if (this.#isSettled || isOpaque) return bytes.length;
    if (side === "server" && this.#certificates) return 0;
    const records = this.#sides[side];
    for (const item of records.read(bytes.subarray(this.#held[side]))) {
      if (side === "client") this.#judgeClient(item);
      else this.#judgeServer(item);
      if (this.#isSettled) return bytes.length;
      if (side === "server" && this.#certificates) return 0;
    }
    this.#held[side] = records.isInMessage ? 1 : 0;
    return bytes.length - this.#held[side];
  }

  #judgeClient(item: PlaintextItem): void {
    if (item.kind === "unreadable") this.#isClientReadable = false;
    if (item.kind !== "message" || item.type !== HANDSHAKE_TYPES.client_hello) return;
    // The first is the one that was judged: it has waited in its connection.
    if (this.#isFirst) {
      this.#isFirst = false;
      return;
    }
    const second = readClientHello(item.body);
    const { hello } = this.#rules;
    const { serverName, serverAddress } = second;
    if (serverName !== hello.serverName || serverAddress !== hello.serverAddress) {
      throw broken(`The client's second ClientHello names ${nameOf(serverName ?? serverAddress)}`, "client");
    }
    const changed = REPEATED.find((field) => String(second[field]) !== String(hello[field]));
    if (changed) throw broken(`The client's second ClientHello has other ${WORDS[changed]} than its first`, "client");
  }

  #judgeServer(item: PlaintextItem): void {
    const { isForbidden, beyondNode, certificate, hello } = this.#rules;
    if (this.#awaitsCertificate) {
      this.#readCertificate(item);
      return;
    }
    if (item.kind === "change") return;
    if (item.kind === "message") {
      if (item.type === HANDSHAKE_TYPES.server_hello) this.#judgeServerHello(item.body);
      return;
    }
    // A server of SSL 2.0 answers in a format of its own.
    if ((isForbidden || beyondNode || certificate) && hello.versions[0] !== SSLV2)
      throw broken("The server's first bytes are not a ServerHello", "server");
    this.#isSettled = true;
  }

  #judgeServerHello(body: Buffer): void {
    const chosen = this.#read(body);
    const { version, retry } = chosen;
    const { certificate } = this.#rules;
    if (this.#rules.isForbidden?.(version)) {
      throw broken(`The server chose ${nameVersion(version)}, which policy does not bypass`, "server");
    }
    if (this.#rules.beyondNode && canDo(chosen))
      throw broken("The server chose what it had refused to this node before", "server");
    if (!retry) {
      this.#awaitsCertificate = certificate === "must" || (certificate === "may" && version <= VERSIONS["TLSv1.2"]);
      this.#isSettled = !this.#awaitsCertificate;
      return;
    }
    // RFC 8446, section 4.1.4: "unexpected_message" for a second one in the same connection.
    if (this.#retried || !this.#isClientReadable)
      throw broken("The server sent a HelloRetryRequest out of place", "client");
    this.#retried = true;
  }

  /** RFC 5246, section 7.4.2. */
  #readCertificate(item: PlaintextItem): void {
    if (item.kind === "message" && item.type === HANDSHAKE_TYPES.certificate) {
      const list = new Reader(new Reader(item.body, "the Certificate").vector24(), "the certificates");
      const certificates: Buffer[] = [];
      while (list.remaining > 0) certificates.push(Buffer.from(list.vector24()));
      this.#certificates = certificates;
    } else if (item.kind === "message" && item.type === HANDSHAKE_TYPES.new_session_ticket) {
      // An abbreviated handshake gives a new ticket first: RFC 5077, section 3.3.
    } else if (item.kind === "change" && this.#rules.certificate === "may") this.#isSettled = true;
    else throw broken("The server showed no certificate", "server");
  }

  /** One that cannot be read is the client's to refuse, unless the version matters. */
  #read(body: Buffer): ServerHello {
    try {
      return readServerHello(body);
    } catch (error) {
      if (!(error instanceof PeerError) || this.#rules.isForbidden || this.#rules.beyondNode) throw error;
      const unread = { version: 0, legacyVersion: 0, suite: 0, extensions: [] };
      return { ...unread, retry: false, group: undefined, preShared: false };
    }
  }
}

/** The node could have spoken with the server in this way: what it cannot do is a suite, a group, or a pre-shared key. */
function canDo({ suite, group, preShared }: ServerHello): boolean {
  return !preShared && suiteById(suite) !== undefined && (group === undefined || groupById(group) !== undefined);
}

const WORDS: Readonly<Record<(typeof REPEATED)[number], string>> = {
  alpnProtocols: "ALPN protocols",
  versions: "versions",
  cipherSuites: "cipher suites",
  supportedGroups: "groups",
};

function nameOf(host: string | undefined): string {
  return host === undefined ? "no host" : `another host, ${host}`;
}

function broken(message: string, side: Side): PeerError {
  return new PeerError(message, ALERTS.illegal_parameter, { side });
}
