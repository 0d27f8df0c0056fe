import { type KeyObject, X509Certificate } from "node:crypto";
import { InvariantError, PeerError } from "../errors.ts";
import { hex, VERSIONS } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import { SIGNALLING_SUITES } from "../wire/numbers.ts";
import { Reader } from "../wire/reader.ts";
import type { Connection, SavedSession } from "./connection.ts";
import { ConnectionCore, type Role } from "./connection-core.ts";
import { masterSecret, type Randoms } from "./derivation.ts";
import { answerCurve, answerPrime, type ClientShare } from "./ephemeral.ts";
import { encryptPremaster, verifyParams } from "./key-exchange.ts";
import {
  checkCertificateRequest,
  type Message,
  readCertificate,
  readServerHello,
  writeClientHello,
} from "./messages.ts";
import type { Random } from "./random.ts";
import { authOf, type Suite, suiteById } from "./suites.ts";

export interface ClientOptions {
  readonly random: Random;
  /** The suites to offer, in order, all from `suitesFor`. */
  readonly suites: readonly number[];
  /** The largest group of Diffie-Hellman over integers, in bits. */
  readonly dhBits: number;
  /** Whether a newer version was tried before: RFC 7507. */
  readonly fallback: boolean;
  /** A session to resume. */
  readonly session?: SavedSession | undefined;
}

/** The client's side: RFC 6101, section 5.5. `take` gives its hello at once. The caller judges the server's certificate. */
export function createClient(options: ClientOptions): Connection {
  return new ConnectionCore("client", (connection) => new ClientRole(connection, options));
}

class ClientRole implements Role {
  readonly #connection: ConnectionCore;
  readonly #options: ClientOptions;
  readonly #random: Buffer;
  #randoms: Randoms | undefined;
  #suite: Suite | undefined;
  #sessionId: Buffer = Buffer.alloc(0);
  #session: SavedSession | undefined;
  #resumed = false;
  #certificates: readonly Buffer[] = [];
  #key: KeyObject | undefined;
  #share: ClientShare | undefined;

  constructor(connection: ConnectionCore, options: ClientOptions) {
    this.#connection = connection;
    this.#options = options;
    const { random, suites, session, fallback } = options;
    this.#random = random(32);
    const hello = writeClientHello({
      random: this.#random,
      sessionId: session?.id ?? Buffer.alloc(0),
      suites: fallback ? [...suites, SIGNALLING_SUITES.fallback] : suites,
    });
    connection.sendMessage("client_hello", hello);
  }

  onMessage({ name, body }: Message): void {
    if (name === "server_hello") this.#onServerHello(body);
    else if (name === "certificate") this.#onCertificate(readCertificate(body));
    else if (name === "server_key_exchange") this.#onServerKeyExchange(body);
    else if (name === "certificate_request") checkCertificateRequest(body);
    else if (name === "server_hello_done") this.#onServerHelloDone();
    else throw new InvariantError(`Cannot handle ${name} as a client`);
  }

  onFinished(): void {
    if (this.#resumed) this.#connection.sendFinished();
    this.#connection.complete({
      suite: this.#negotiated().suite,
      group: this.#share?.group,
      resumed: this.#resumed,
      session: this.#session,
      certificates: this.#certificates,
    });
  }

  #onServerHello(body: Buffer): void {
    const { suites, session } = this.#options;
    const hello = readServerHello(body);
    const suite = suites.includes(hello.suite) ? suiteById(hello.suite, "all") : undefined;
    if (!suite) {
      throw new PeerError(
        `The server chose suite ${hex(hello.suite, 4)}, which the client did not offer`,
        ALERTS.illegal_parameter,
      );
    }
    this.#suite = suite;
    this.#randoms = { client: this.#random, server: Buffer.from(hello.random) };
    this.#sessionId = Buffer.from(hello.sessionId);
    this.#resumed = session !== undefined && session.id.length > 0 && session.id.equals(hello.sessionId);
    if (session && this.#resumed) this.#resume(session, suite, this.#randoms);
    else this.#connection.acceptServerHello(suite.exchange === "rsa" ? "server_hello: rsa" : "server_hello: ephemeral");
  }

  #resume(session: SavedSession, suite: Suite, randoms: Randoms): void {
    if (suite.id !== session.suite) {
      throw new PeerError("The server resumed the session with another suite", ALERTS.illegal_parameter);
    }
    this.#session = session;
    this.#certificates = session.certificates;
    this.#connection.acceptServerHello("server_hello: resumed");
    this.#connection.setSecrets(suite, session.master, randoms);
  }

  #onCertificate(chain: readonly Buffer[]): void {
    this.#certificates = chain.map((certificate) => Buffer.from(certificate));
    const key = readKey(this.#certificates[0]!);
    if (key === undefined || authOf(key) !== this.#negotiated().suite.auth) {
      throw new PeerError(
        "The server's certificate has a key that does not fit the suite",
        ALERTS.unsupported_certificate,
      );
    }
    this.#key = key;
  }

  #onServerKeyExchange(body: Buffer): void {
    const { suite, randoms, key } = this.#negotiated();
    const reader = new Reader(body, "the ServerKeyExchange");
    const { random, dhBits } = this.#options;
    const share = suite.exchange === "dhe" ? answerPrime(reader, random, dhBits) : answerCurve(reader, random);
    const params = body.subarray(0, body.length - reader.remaining);
    const signature = reader.vector16(1);
    reader.end();
    verifyParams(key, randoms, params, signature);
    this.#share = share;
  }

  #onServerHelloDone(): void {
    const { suite, randoms, key } = this.#negotiated();
    const { premaster, message } = this.#share ?? encryptPremaster(key, VERSIONS.SSLv3, this.#options.random);
    if (this.#connection.certificateRequested) this.#connection.sendNoCertificate();
    this.#connection.sendMessage("client_key_exchange", message);
    const master = masterSecret(premaster, randoms);
    this.#connection.setSecrets(suite, master, randoms);
    this.#connection.sendFinished();
    if (this.#sessionId.length > 0) {
      this.#session = { id: this.#sessionId, suite: suite.id, master, certificates: this.#certificates };
    }
  }

  #negotiated() {
    if (!this.#suite || !this.#randoms) throw new InvariantError("No ServerHello was received yet");
    return { suite: this.#suite, randoms: this.#randoms, key: this.#key! };
  }
}

/** The public key of a DER certificate; undefined: it cannot be read. */
function readKey(der: Buffer): KeyObject | undefined {
  try {
    return new X509Certificate(der).publicKey;
  } catch {
    return undefined;
  }
}
