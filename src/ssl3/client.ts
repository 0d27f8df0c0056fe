import { type KeyObject, X509Certificate } from "node:crypto";
import { InvariantError, PeerError } from "../errors.ts";
import { VERSIONS } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import { SIGNALLING_SUITES } from "../wire/numbers.ts";
import { Reader } from "../wire/reader.ts";
import type { Connection, SavedSession } from "./connection.ts";
import { Conversation, type Role } from "./conversation.ts";
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
  /** Suites to offer, in order; only those of `suitesFor`. */
  readonly suites: readonly number[];
  /** A newer version was tried before: RFC 7507. */
  readonly fallback: boolean;
  /** A session to resume, if the server still knows it. */
  readonly session?: SavedSession | undefined;
}

/** The client's side: RFC 6101, section 5.5. Its hello can be taken at once. The server's certificate is not judged here. */
export function createClient(options: ClientOptions): Connection {
  return new Conversation("client", (conversation) => new ClientRole(conversation, options));
}

class ClientRole implements Role {
  readonly #conversation: Conversation;
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

  constructor(conversation: Conversation, options: ClientOptions) {
    this.#conversation = conversation;
    this.#options = options;
    const { random, suites, session, fallback } = options;
    this.#random = random(32);
    const hello = writeClientHello({
      random: this.#random,
      sessionId: session?.id ?? Buffer.alloc(0),
      suites: fallback ? [...suites, SIGNALLING_SUITES.fallback] : suites,
    });
    conversation.say("client_hello", hello);
  }

  hear({ name, body }: Message): void {
    if (name === "server_hello") this.#hearHello(body);
    else if (name === "certificate") this.#hearCertificate(readCertificate(body));
    else if (name === "server_key_exchange") this.#hearShare(body);
    else if (name === "certificate_request") checkCertificateRequest(body);
    else if (name === "server_hello_done") this.#answer();
    else throw new InvariantError(`Cannot answer ${name} as a client`);
  }

  heardFinished(): void {
    if (this.#resumed) this.#conversation.sayFinished();
    this.#conversation.open({
      suite: this.#known().suite,
      group: this.#share?.group,
      resumed: this.#resumed,
      session: this.#session,
      certificates: this.#certificates,
    });
  }

  #hearHello(body: Buffer): void {
    const { suites, session } = this.#options;
    const hello = readServerHello(body);
    const suite = suites.includes(hello.suite) ? suiteById(hello.suite, "all") : undefined;
    if (!suite) {
      throw new PeerError(`Cannot go on: the server chose suite ${hello.suite} unoffered`, ALERTS.illegal_parameter);
    }
    this.#suite = suite;
    this.#randoms = { client: this.#random, server: Buffer.from(hello.random) };
    this.#sessionId = Buffer.from(hello.sessionId);
    this.#resumed = session !== undefined && session.id.length > 0 && session.id.equals(hello.sessionId);
    if (session && this.#resumed) this.#resume(session, suite, this.#randoms);
    else
      this.#conversation.heardServerHello(suite.exchange === "rsa" ? "server_hello: rsa" : "server_hello: ephemeral");
  }

  #resume(session: SavedSession, suite: Suite, randoms: Randoms): void {
    if (suite.id !== session.suite) {
      throw new PeerError("Cannot go on: the server resumed with another suite", ALERTS.illegal_parameter);
    }
    this.#session = session;
    this.#certificates = session.certificates;
    this.#conversation.heardServerHello("server_hello: resumed");
    this.#conversation.agree(suite, session.master, randoms);
  }

  #hearCertificate(chain: readonly Buffer[]): void {
    this.#certificates = chain.map((certificate) => Buffer.from(certificate));
    const key = readKey(this.#certificates[0]!);
    if (key === undefined || authOf(key) !== this.#known().suite.auth) {
      throw new PeerError(
        "Cannot go on: the certificate's key is not of the suite's kind",
        ALERTS.unsupported_certificate,
      );
    }
    this.#key = key;
  }

  #hearShare(body: Buffer): void {
    const { suite, randoms, key } = this.#known();
    const reader = new Reader(body, "the ServerKeyExchange");
    const share = (suite.exchange === "dhe" ? answerPrime : answerCurve)(reader, this.#options.random);
    const params = body.subarray(0, body.length - reader.remaining);
    const signature = reader.vector16(1);
    reader.end();
    verifyParams(key, randoms, params, signature);
    this.#share = share;
  }

  #answer(): void {
    const { suite, randoms, key } = this.#known();
    const { premaster, message } = this.#share ?? encryptPremaster(key, VERSIONS.SSLv3, this.#options.random);
    if (this.#conversation.certificateRequested) this.#conversation.sayNoCertificate();
    this.#conversation.say("client_key_exchange", message);
    const master = masterSecret(premaster, randoms);
    this.#conversation.agree(suite, master, randoms);
    this.#conversation.sayFinished();
    if (this.#sessionId.length > 0) {
      this.#session = { id: this.#sessionId, suite: suite.id, master, certificates: this.#certificates };
    }
  }

  #known() {
    if (!this.#suite || !this.#randoms) throw new InvariantError("Cannot go on: no ServerHello was heard");
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
