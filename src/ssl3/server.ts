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
import { ConnectionCore, type Role } from "./connection-core.ts";
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
  /** One for each key type that the server has. */
  readonly identities: readonly Identity[];
  readonly suites: SuiteChoice;
  /** The highest version that the node speaks, TLS included, as a number on the wire. */
  readonly highest: number;
  /** Finds the session with this identifier if this client may resume it. Absent: sessions are not resumed. */
  readonly find?: ((id: Buffer) => SavedSession | undefined) | undefined;
}

/** The server's side: RFC 6101, section 5.5. The first bytes to receive are the ClientHello's, in either format. */
export function createServer(options: ServerOptions): Connection {
  return new ConnectionCore("server", (connection) => new ServerRole(connection, options));
}

/** The result of the hellos. */
interface Agreement {
  readonly hello: ClientHello;
  readonly suite: Suite;
  readonly identity: Identity;
  readonly share: ServerShare | undefined;
  readonly randoms: Randoms;
  readonly sessionId: Buffer;
}

class ServerRole implements Role {
  readonly #connection: ConnectionCore;
  readonly #options: ServerOptions;
  #agreement: Agreement | undefined;
  #resumed: SavedSession | undefined;
  #session: SavedSession | undefined;

  constructor(connection: ConnectionCore, options: ServerOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  onMessage({ name, body, framed }: Message): void {
    if (name === "client_hello") this.#onClientHello(readHello(body, framed));
    else if (name === "client_key_exchange") this.#onClientKeyExchange(body);
    else throw new InvariantError(`Cannot handle ${name} as a server`);
  }

  onFinished(): void {
    const { suite, share } = this.#negotiated();
    const resumed = this.#resumed !== undefined;
    if (!resumed) this.#connection.sendFinished();
    const group = resumed ? undefined : share?.group;
    const session = this.#session;
    this.#connection.complete({ suite, group, resumed, session, certificates: [] });
  }

  #onClientHello(hello: ClientHello): void {
    this.#checkVersion(hello);
    const { random, find } = this.#options;
    const randoms = { client: hello.random, server: random(32) };
    const found = hello.sessionId.length > 0 ? find?.(hello.sessionId) : undefined;
    if (found && this.#resume(found, hello, randoms)) return;

    const chosen = this.#choose(hello);
    const sessionId = find ? random(32) : Buffer.alloc(0);
    this.#agreement = { ...chosen, hello, randoms, sessionId };
    const { suite, identity, share } = chosen;
    const move = suite.exchange === "rsa" ? "server_hello: rsa" : "server_hello: ephemeral";
    const body = serverHello(hello, randoms, sessionId, suite);
    this.#connection.sendServerHello(move, body, { suite, group: share?.group, resumed: false });
    this.#connection.sendMessage("certificate", writeCertificate(identity.chain));
    if (share) {
      const signature = vector16(signParams(identity.key, randoms, share.params));
      this.#connection.sendMessage("server_key_exchange", Buffer.concat([share.params, signature]));
    }
    this.#connection.sendMessage("server_hello_done", Buffer.alloc(0));
  }

  #checkVersion(hello: ClientHello): void {
    if (!hello.versions.includes(VERSIONS.SSLv3)) {
      throw new PeerError("The client does not offer SSL 3.0", ALERTS.protocol_version);
    }
    // RFC 7507, section 3: an attacker may have kept the client from a newer version that both speak.
    if (hello.fallback && this.#options.highest > hello.versions[0]!) {
      const message = "The client fell back to SSL 3.0, but the node speaks a newer version";
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
    const body = serverHello(hello, randoms, session.id, suite);
    this.#connection.sendServerHello("server_hello: resumed", body, { suite, group: undefined, resumed: true });
    this.#connection.setSecrets(suite, session.master, randoms);
    this.#connection.sendFinished();
    return true;
  }

  /** The client's first suite that the node has a certificate and a group for. */
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
    throw new PeerError(
      "The client offers no cipher suite that the node speaks over SSL 3.0",
      ALERTS.handshake_failure,
    );
  }

  #onClientKeyExchange(body: Buffer): void {
    const { hello, suite, identity, share, randoms, sessionId } = this.#negotiated();
    let premaster: Buffer;
    if (share) {
      const reader = new Reader(body, "the ClientKeyExchange");
      premaster = share.agree(reader);
      reader.end();
    } else {
      premaster = decryptPremaster(identity.key, body, hello.legacyVersion, this.#options.random);
    }
    const master = masterSecret(premaster, randoms);
    this.#connection.setSecrets(suite, master, randoms);
    if (sessionId.length > 0) this.#session = { id: sessionId, suite: suite.id, master, certificates: [] };
  }

  #negotiated(): Agreement {
    if (!this.#agreement) throw new InvariantError("No ClientHello was answered yet");
    return this.#agreement;
  }
}

/** The body of an SSLv2-format hello begins with its length, which is not part of the message. */
function readHello(body: Buffer, framed: Buffer): ClientHello {
  if (body.length > framed.length) {
    const sighting = new SslV2HelloReader().push(body);
    if (sighting.kind === "hello") return sighting.hello;
    throw new PeerError("Cannot read the SSLv2-format hello: its lengths do not add up", ALERTS.illegal_parameter);
  }
  return readClientHello(body);
}

function serverHello(hello: ClientHello, { server: random }: Randoms, sessionId: Buffer, suite: Suite): Buffer {
  const secureRenegotiation =
    hello.cipherSuites.includes(SIGNALLING_SUITES.empty_renegotiation_info) ||
    hello.extensions.includes(EXTENSIONS.renegotiation_info);
  return writeServerHello({ random: Buffer.from(random), sessionId, suite: suite.id, secureRenegotiation });
}
