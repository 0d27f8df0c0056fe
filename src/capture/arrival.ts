import type { End } from "../engine/end.ts";
import type { SentHeader } from "../engine/ip-header.ts";
import type { WrittenPage } from "../page/refusal-page.ts";
import type { PageShown } from "../streams/page-stage.ts";
import type { Endpoint, Mode } from "../vocabulary.ts";

/** The destination that the client asked for. */
export interface Destination {
  /** A host name, or an address literal without brackets. */
  readonly host: string;
  readonly port: number;
  /** The host that the client named to this listener, by CONNECT or an absolute URI; null: none. */
  readonly connectHost: string | null;
  /** The client asks a proxy with plain HTTP. Its request stays in the connection. */
  readonly http: boolean;
  /** The request by which the client named it. */
  readonly request?: { readonly method: string; readonly path: string } | undefined;
  /** A header of the PROXY protocol that was in front of the request, and that the listener does not expect. */
  readonly begunWith?: BegunWith | undefined;
}

/** The reason why the server was not reached. */
export type Refusal = (
  | { readonly kind: "unreachable"; readonly code: string; readonly message: string }
  | { readonly kind: "timeout"; readonly message: string }
  | { readonly kind: "policy"; readonly message: string }
) & {
  /** For clients that speak HTTP with the listener. */
  readonly page?: WrittenPage;
};

/** The header of the PROXY protocol that a connection began with. */
export interface BegunWith {
  readonly version: 1 | 2;
  /** null: it names nobody. */
  readonly client: Endpoint | null;
  /** Who has sent it. */
  readonly from: Endpoint;
  /** Whether the session's client is the header's: the listener expects headers from this sender. */
  readonly believed: boolean;
}

/** A client that has come to a listener. Only the bytes that the capture mode needs are read from it. */
export interface Arrival {
  readonly listener: string;
  /** The VLAN that it came by: "10", "100/10"; null or absent: none. */
  readonly vlan?: string | null | undefined;
  readonly mode: Mode;
  readonly from: Endpoint;
  /** A connection to the server that an earlier session on the client's connection has left. */
  readonly server?: End | undefined;
  /** Absent: there was no header, or it has not been found yet. */
  readonly begunWith?: BegunWith | undefined;
  /** The client's connection; undefined while its SYN is held. */
  readonly client: End | undefined;
  /** Finds the destination. Throws PeerError when the client's request is malformed (the client has been told), NetworkError when it left. */
  locate(): Promise<Destination>;
  /** Connects to the first of the addresses that answers. Throws NetworkError. */
  dial(addresses: readonly string[], port: number): Promise<End>;
  /** The server is connected: sends what the client waits for before its first byte. Throws NetworkError when it left. */
  welcome(): Promise<End>;
  /**
   * The server is not connected: tells the client in the way of this capture mode, and ends its connection. Answers what it got of the
   * page; undefined: nothing.
   */
  refuse(refusal: Refusal): PageShown | undefined;
  /**
   * Lets a client in whose server is not connected, because only a page inside of its TLS tells it anything. Undefined or absent:
   * `refuse` tells it.
   */
  admit?(): End | undefined;
  /** An explicit proxy: its client goes on, on this end, with a request for another server. */
  again?(client: End): Arrival;
}

/** Connects from the client's own address, which the server sees, with packets that say `header`. Throws NetworkError. */
export type ConnectFrom = (from: Endpoint, to: Endpoint, header: SentHeader) => Promise<End>;
