import type { End } from "../engine/end.ts";
import type { Endpoint } from "../vocabulary.ts";

/** Where the client wants to go, as far as it said so. */
export interface Destination {
  /** A host name, or an address literal without brackets. */
  readonly host: string;
  readonly port: number;
  /** The host that the client named to this listener itself (CONNECT or an absolute URI); null: it named none. */
  readonly connectHost: string | null;
  /** "http": a plain HTTP request, whose head (rewritten for the origin) goes to the server first. */
  readonly http: Buffer | undefined;
}

/** Why the way to the server is closed. */
export type Refusal =
  | { readonly kind: "unreachable"; readonly code: string; readonly message: string }
  | { readonly kind: "timeout"; readonly message: string }
  | { readonly kind: "policy"; readonly message: string };

/** One client as a listener hands it over. Nothing has been read from it but what the capture mode needed. */
export interface Arrival {
  readonly listener: string;
  readonly mode: "explicit" | "forward" | "inline";
  readonly from: Endpoint;
  /** The client's connection; undefined while its SYN is held. */
  readonly client: End | undefined;
  /** Learns the destination. Throws PeerError when the client asks for it in a wrong way (it has been told), NetworkError when it left. */
  locate(): Promise<Destination>;
  /** Connects to the first of the addresses that answers. Throws NetworkError. */
  dial(addresses: readonly string[], port: number): Promise<End>;
  /** The server is reached: whatever the client waits for before it speaks is sent. Throws NetworkError when it left. */
  welcome(): Promise<End>;
  /** The server is not reached: the client is told in the listener's own way, and its connection is over. */
  refuse(refusal: Refusal): void;
}

/** Connects from one address to another; the server sees the client's own. Throws NetworkError. */
export type ConnectFrom = (from: Endpoint, to: Endpoint) => Promise<End>;
