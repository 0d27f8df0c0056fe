import type { KeyObject } from "node:crypto";
import { InvariantError, PeerError } from "../errors.ts";
import { VERSIONS } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import { type ClientHello, readClientHello } from "../wire/client-hello.ts";
import { EXTENSIONS, SIGNALLING_SUITES } from "../wire/numbers.ts";
import { Reader } from "../wire/reader.ts";
import { SslV2HelloReader } from "../wire/sslv2-hello.ts";
import { vector16 } from "../wire/writer.ts";
import type { Connection, SavedSession } from "./connection.ts";
import { Conversation, type Role } from "./conversation.ts";
import { masterSecret, type Randoms } from "./derivation.ts";
import { chooseCurve, type ServerShare, shareCurve, sharePrime } from "./ephemeral.ts";
import { decryptPremaster, signParams } from "./key-exchange.ts";
import { type Message, writeCertificate, writeServerHello } from "./messages.ts";
import type { Random } from "./random.ts";
import { authOf, type Suite, type SuiteChoice, suiteById } from "./suites.ts";

/** A certificate with its key. */
export interface Identity {
  /** DER, its own certificate first. */
  readonly chain: readonly Buffer[];
  readonly key: KeyObject;
}

export interface ServerOptions {
  readonly random: Random;
  /** Several when there is one of each key type. */
  readonly identities: readonly Identity[];
  readonly suites: SuiteChoice;
  /** The highest version that is spoken here, by whatever engine: 0x0304 is TLS 1.3. */
  readonly highest: number;
  /** A session of this identifier that this client may resume. Without it none is offered for resumption. */
  readonly find?: ((id: Buffer) => SavedSession | undefined) | undefined;
}

/** The server's side: RFC 6101, section 5.5. The first bytes to receive are the ClientHello's, in either format. */
export function createServer(options: ServerOptions): Connection {
  return new Conversation("server", (conversation) => new ServerRole(conversation, options));
}

/** What was agreed on in the hellos. */
interface Agreement {
  readonly hello: ClientHello;
  readonly suite: Suite;
  readonly identity: Identity;
  readonly share: ServerShare | undefined;
  readonly randoms: Randoms;
  readonly sessionId: Buffer;
}

class ServerRole implements Role {
  readonly #conversation: Conversation;
  readonly #options: ServerOptions;
  #agreement: Agreement | undefined;
  #resumed: SavedSession | undefined;
  #session: SavedSession | undefined;

  constructor(conversation: Conversation, options: ServerOptions) {
    this.#conversation = conversation;
    this.#options = options;
  }

  hear({ name, body, framed }: Message): void {
    if (name === "client_hello") this.#answerHello(readHello(body, framed));
    else if (name === "client_key_exchange") this.#agree(body);
    else throw new InvariantError(`Cannot answer ${name} as a server`);
  }

  heardFinished(): void {
    const { suite, share } = this.#agreed();
    const resumed = this.#resumed !== undefined;
    if (!resumed) this.#conversation.sayFinished();
    const group = resumed ? undefined : share?.group;
    const session = this.#session;
    this.#conversation.open({ suite, group, resumed, session, certificates: [] });
  }

  #answerHello(hello: ClientHello): void {
    this.#checkVersion(hello);
    const { random, find } = this.#options;
    const randoms = { client: hello.random, server: random(32) };
    const found = hello.sessionId.length > 0 ? find?.(hello.sessionId) : undefined;
    if (found && this.#resume(found, hello, randoms)) return;

    const chosen = this.#choose(hello);
    const sessionId = find ? random(32) : Buffer.alloc(0);
    this.#agreement = { ...chosen, hello, randoms, sessionId };
    const { suite, identity, share } = chosen;
    const line = suite.exchange === "rsa" ? "server_hello: rsa" : "server_hello: ephemeral";
    this.#conversation.sayServerHello(line, serverHello(hello, randoms, sessionId, suite));
    this.#conversation.say("certificate", writeCertificate(identity.chain));
    if (share) {
      const signature = vector16(signParams(identity.key, randoms, share.params));
      this.#conversation.say("server_key_exchange", Buffer.concat([share.params, signature]));
    }
    this.#conversation.say("server_hello_done", Buffer.alloc(0));
  }

  #checkVersion(hello: ClientHello): void {
    if (!hello.versions.includes(VERSIONS.SSLv3)) {
      throw new PeerError("Cannot speak SSL 3.0: the client does not offer it", ALERTS.protocol_version);
    }
    // RFC 7507, section 3: somebody has kept the client from a version that both speak.
    if (hello.fallback && this.#options.highest > hello.versions[0]!) {
      const message = "Cannot speak SSL 3.0: the client fell back to it, and newer versions are spoken here";
      throw new PeerError(message, ALERTS.inappropriate_fallback);
    }
  }

  /** The abbreviated handshake, when the client still offers the session's suite and it is still allowed. */
  #resume(session: SavedSession, hello: ClientHello, randoms: Randoms): boolean {
    const suite = suiteById(session.suite, this.#options.suites);
    if (!suite || !hello.cipherSuites.includes(suite.id)) return false;
    this.#resumed = session;
    this.#session = session;
    const [identity] = this.#options.identities;
    this.#agreement = { hello, suite, identity: identity!, share: undefined, randoms, sessionId: session.id };
    this.#conversation.sayServerHello("server_hello: resumed", serverHello(hello, randoms, session.id, suite));
    this.#conversation.agree(suite, session.master, randoms);
    this.#conversation.sayFinished();
    return true;
  }

  /** The client's first suite that there is a certificate and a group for. */
  #choose(hello: ClientHello): Pick<Agreement, "suite" | "identity" | "share"> {
    const { identities, suites, random } = this.#options;
    const curve = chooseCurve(hello.supportedGroups);
    for (const id of hello.cipherSuites) {
      const suite = suiteById(id, suites);
      const identity = identities.find(({ key }) => authOf(key) === suite?.auth);
      if (!suite || !identity) continue;
      if (suite.exchange === "rsa") return { suite, identity, share: undefined };
      if (suite.exchange === "dhe") return { suite, identity, share: sharePrime(random) };
      if (curve !== undefined) return { suite, identity, share: shareCurve(curve, random) };
    }
    throw new PeerError("Cannot speak SSL 3.0: no cipher suite is shared", ALERTS.handshake_failure);
  }

  #agree(body: Buffer): void {
    const { hello, suite, identity, share, randoms, sessionId } = this.#agreed();
    let premaster: Buffer;
    if (share) {
      const reader = new Reader(body, "the ClientKeyExchange");
      premaster = share.agree(reader);
      reader.end();
    } else {
      premaster = decryptPremaster(identity.key, body, hello.legacyVersion, this.#options.random);
    }
    const master = masterSecret(premaster, randoms);
    this.#conversation.agree(suite, master, randoms);
    if (sessionId.length > 0) this.#session = { id: sessionId, suite: suite.id, master, certificates: [] };
  }

  #agreed(): Agreement {
    if (!this.#agreement) throw new InvariantError("Cannot go on: no hello was answered");
    return this.#agreement;
  }
}

/** The body of an SSLv2-format hello has its length before it, which is not part of the message. */
function readHello(body: Buffer, framed: Buffer): ClientHello {
  if (body.length > framed.length) {
    const sighting = new SslV2HelloReader().push(body);
    if (sighting.kind === "hello") return sighting.hello;
    throw new PeerError("Cannot read the SSLv2-format hello: its lengths do not agree", ALERTS.illegal_parameter);
  }
  return readClientHello(body);
}

function serverHello(hello: ClientHello, { server: random }: Randoms, sessionId: Buffer, suite: Suite): Buffer {
  const secureRenegotiation =
    hello.cipherSuites.includes(SIGNALLING_SUITES.empty_renegotiation_info) ||
    hello.extensions.includes(EXTENSIONS.renegotiation_info);
  return writeServerHello({ random: Buffer.from(random), sessionId, suite: suite.id, secureRenegotiation });
}
