import type { Socket } from "node:net";
import type { Arrival, Endpoint } from "./capture/arrival.ts";
import type { Reading } from "./capture/reading.ts";
import type { Sighting } from "./detect/detector.ts";
import type { ClientLeg, Presentable } from "./legs/client-leg.ts";
import type { LegFailure, Negotiated } from "./legs/leg.ts";
import type { Meter, Parting, RelayEnd, Tap } from "./legs/relay.ts";
import type { RelayHop } from "./legs/relay-chain.ts";
import type { ServerLeg } from "./legs/server-leg.ts";
import type { Policy } from "./policy/evaluate.ts";
import type { CertificateFacts, Verdict } from "./policy/facts.ts";
import type { CertificateRecord, PresentedRecord, SessionNews } from "./sessions/session.ts";
import type { Chain, ChainFailure } from "./tools/chain.ts";
import type { FlowClass } from "./tools/tool.ts";
import type { ClientHello } from "./wire/client-hello.ts";

/** The seams of `flow.ts`: types only. */

/** What the story needs of each stage. `main.ts` composes it; everything that differs between nodes is in here. */
export interface Node {
  open(arrival: Arrival): SessionHandle;
  /** The policy as it is now; a session keeps the one it began with. */
  readonly policy: Policy;
  resolve(host: string): Promise<readonly string[]>;
  detect(client: Socket, server: Socket): Promise<Reading<Sighting>>;
  fingerprints(hello: ClientHello): { readonly ja3: string; readonly ja4: string };
  /** `leaning`: what policy says as far as is known; its rule, or one of its tools, may keep HTTP/2 out. */
  serverLeg(socket: Socket, hello: ClientHello, between: Between, leaning: Verdict): Promise<ServerLeg | LegFailure>;
  /** Whether a refusal may come from a server that speaks nothing newer than SSL 3.0, which policy allows. */
  mayFallBack(failure: LegFailure): boolean;
  /** The same for such a server, on a fresh connection. */
  fallBack(socket: Socket, hello: ClientHello, between: Between): Promise<ServerLeg | LegFailure>;
  clientLeg(
    socket: Socket,
    opening: Opening,
    presentation: Presentation,
    server: Negotiated,
    between: Between,
  ): Promise<ClientLeg | LegFailure>;
  /** Whether this node holds a key for the server. */
  holdsKey(host: string | undefined, address: string): boolean;
  /** What there is to say of the server's certificate, and whether this node holds its key. */
  judge(leg: ServerLeg, host: string | undefined, address: string): Judgement;
  /** What the client is to be shown: the node's own certificate for the server, or a re-signed one. */
  present(leg: ServerLeg, hello: ClientHello, judgement: Judgement): Promise<Presentation>;
  /** Servers that demand a client certificate, by host and port, remembered for a time. */
  readonly demanding: { has(server: string): boolean; learn(server: string): void };
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
  ): Promise<Parting>;
  /** The alert that a peer sent, when this error of its leg says so. */
  alertOf(error: NodeJS.ErrnoException): number | undefined;
  /** Ends a connection, after a plaintext fatal alert when one is given, in the words of the client whose hello is given. */
  part(socket: Socket, alert?: number, hello?: ClientHello): void;
  /** A bug of ours ended this session: told to the operator, without what it carried. */
  report(session: SessionHandle, error: unknown): void;
}

export interface SessionHandle {
  readonly id: string;
  readonly client: Endpoint;
  readonly meter: Meter;
  note(news: SessionNews): void;
  close(reason: string): void;
}

/** Whose session it is: what is resumed belongs to these three. */
export interface Between {
  readonly client: Endpoint;
  readonly server: Endpoint;
  readonly host: string | undefined;
}

/** A ClientHello with the very bytes that it came in: a late bypass sends them again. */
export interface Opening {
  readonly hello: ClientHello;
  readonly bytes: Buffer;
}

export interface Judgement {
  readonly record: CertificateRecord;
  readonly facts: CertificateFacts;
  /** The node's own keys for this server: inbound. Empty: outbound. */
  readonly held: readonly (Presentable & Omit<PresentedRecord, "authority">)[];
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
}

export interface Taps {
  readonly taps: readonly Tap[];
  close(): void;
}
