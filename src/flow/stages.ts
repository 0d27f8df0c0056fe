import type { Socket } from "node:net";
import type { Arrival } from "../capture/arrival.ts";
import type { Sighting } from "../detect/detector.ts";
import type { Agreement } from "../detect/starttls/dialogue.ts";
import type { Watch } from "../detect/starttls/dialogues.ts";
import type { ClientLeg, LegFailure, Negotiated, Presentable, ServerLeg } from "../legs/leg.ts";
import type { Policy } from "../policy/evaluate.ts";
import type { CertificateFacts, Verdict } from "../policy/facts.ts";
import type { CertificateRecord, PresentedRecord } from "../sessions/record.ts";
import type { SessionNews } from "../sessions/session.ts";
import type { Peer, UpgradableConversation } from "../streams/conversation.ts";
import type { Reading } from "../streams/reading.ts";
import type { Meter, RelayEnd, RelayEnding, Tap } from "../streams/relay.ts";
import type { RelayHop } from "../streams/relay-chain.ts";
import type { Chain, ChainFailure } from "../tools/chain.ts";
import type { Endpoint, FlowClass } from "../vocabulary.ts";
import type { ClientHello } from "../wire/client-hello.ts";

/** The seams of `flow.ts`: types only. */

/** What the story needs of each stage. `worker-node.ts` composes it; everything that differs between nodes is in here. */
export interface Node {
  open(arrival: Arrival): SessionHandle;
  /** The policy as it is now; a session keeps the one it began with. */
  readonly policy: Policy;
  resolve(host: string): Promise<readonly string[]>;
  /** `agreed`: the peers have agreed to TLS, so that its beginning is not waited for as long as that of a connection. */
  detect(client: Socket, server: Socket, agreed?: boolean): Promise<Reading<Sighting>>;
  /**
   * What to look for in plaintext that may become TLS, with a server at this port and a client that began so; undefined:
   * there is nothing to watch.
   */
  watch(port: number, begun: Buffer): Watch | undefined;
  /** The same for what is inside of TLS, before anything was said there. */
  watchInside(): Watch | undefined;
  converse(client: Peer, server: Peer, watch: Watch): UpgradableConversation;
  /** A peer whose stream is TLS, for more TLS to be spoken in there. */
  tunnel(peer: Peer): Peer;
  /** Brings a fresh connection to where an earlier one agreed to TLS. Throws NetworkError when it does not get there. */
  sayAgain(socket: Socket, agreement: Agreement): Promise<void>;
  /** The first bytes inside of TLS: whether a client asks a proxy for something. `failure`: an end broke before there were any. */
  glimpse(client: Socket, server: Socket): Promise<Glimpse>;
  /** Servers that offered TLS in plaintext, by protocol, host and port, remembered for a time. */
  readonly offering: Known;
  /** A server no longer offers the TLS that it offered: told to the operator. */
  withdrawn(session: SessionHandle, protocol: string, server: Endpoint): void;
  fingerprints(hello: ClientHello): { readonly ja3: string; readonly ja4: string };
  /**
   * `leaning`: what policy says as far as is known; its rule, or one of its tools, may keep HTTP/2 out. `ends`: an earlier
   * session between them may be resumed.
   */
  serverLeg(socket: Socket, hello: ClientHello, leaning: Verdict, ends?: Ends): Promise<ServerLeg | LegFailure>;
  /** Whether a refusal may come from a server that speaks nothing newer than SSL 3.0, which policy allows. */
  mayFallBack(failure: LegFailure): boolean;
  /** The same for such a server, on a fresh connection. */
  fallBack(socket: Socket, hello: ClientHello, ends?: Ends): Promise<ServerLeg | LegFailure>;
  clientLeg(
    socket: Socket,
    opening: Opening,
    presentation: Presentation,
    server: Negotiated,
    ends: Ends,
  ): Promise<ClientLeg | LegFailure>;
  /** Whether this node holds a key for the server. */
  holdsKey(host: string | undefined, address: string): boolean;
  /** What there is to say of the server's certificate, and whether this node holds its key. */
  judge(leg: ServerLeg, host: string | undefined, address: string): Judgement;
  /** What the client is to be shown: the node's own certificate for the server, or a re-signed one. */
  present(leg: ServerLeg, hello: ClientHello, judgement: Judgement): Promise<Presentation>;
  /** Servers that demand a client certificate, by host and port, remembered for a time. */
  readonly demanding: Known;
  /** Asks a server anew, after it refused, whether it demands a client certificate. */
  probe(dial: () => Promise<Socket>, hello: ClientHello): Promise<boolean>;
  /** Connects the session through its inline tools, Ta to Tb; the session's record follows. Bypasses what may be bypassed. */
  tools(session: SessionHandle, about: Carried): Promise<Chain | ChainFailure>;
  /** The feeds' places for this session's bytes. */
  tap(session: SessionHandle, about: Carried): Taps;
  relay(
    client: RelayEnd,
    hops: readonly RelayHop[],
    server: RelayEnd,
    meter: Meter,
    taps: readonly Tap[],
  ): Promise<RelayEnding>;
  /** The alert that a peer sent, when this error of its leg says so. */
  alertOf(error: NodeJS.ErrnoException): number | undefined;
  /** Ends a connection, after a plaintext fatal alert when one is given, in the words of the client whose hello is given. */
  part(socket: Socket, alert?: number, hello?: ClientHello): void;
  /** A bug of ours ended this session: told to the operator, without what it carried. */
  report(session: SessionHandle, error: unknown): void;
}

export interface Known {
  has(server: string): boolean;
  learn(server: string): void;
}

export interface Glimpse {
  readonly asks: boolean;
  readonly client: Buffer;
  readonly server: Buffer;
  readonly failure: NodeJS.ErrnoException | undefined;
}

export interface SessionHandle {
  readonly id: string;
  readonly client: Endpoint;
  readonly meter: Meter;
  /** The rule, list or built-in that has decided so far; null: none. */
  readonly rule: string | null;
  note(news: SessionNews): void;
  close(reason: string): void;
}

/** A ClientHello with the very bytes that it came in: a late bypass sends them again. */
export interface Opening {
  readonly hello: ClientHello;
  readonly bytes: Buffer;
}

/** Who speaks with whom: a session is resumed only between the same two, as the same host. */
export interface Ends {
  readonly listener: string;
  readonly client: Endpoint;
  readonly server: Endpoint;
  /** Whom the client meant; undefined: it did not say. */
  readonly host: string | undefined;
}

export interface Judgement {
  readonly record: CertificateRecord;
  readonly facts: CertificateFacts;
  /** The node's own keys for this server: inbound. Empty: outbound. */
  readonly held: readonly (Presentable & Omit<PresentedRecord, "authority">)[];
  /** Asks others whether it was revoked, and answers with what is known then. Undefined: that is known, or is not asked. */
  readonly askRevocation?: () => Promise<Judgement>;
}

export interface Presentation {
  readonly shown: readonly Presentable[];
  /** What there is to say of each. */
  readonly records: readonly [PresentedRecord, ...PresentedRecord[]];
}

/** What tools and feeds are told of a session. */
export interface Carried {
  readonly flow: FlowClass;
  readonly server: Endpoint;
  /** The SNI, or the CONNECT host. */
  readonly host: string | undefined;
  /** The protocol of the plaintext, as ALPN names it. */
  readonly alpn?: string | undefined;
  readonly description: string;
  /** The tools that the deciding rule names; undefined: all that take this class of flow. */
  readonly tools: readonly string[] | undefined;
  /** The rule that is expected to decide, where this begins before one has. */
  readonly rule?: string | undefined;
}

export interface Taps {
  readonly taps: readonly Tap[];
  close(): void;
}
