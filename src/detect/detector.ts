import type { Side } from "../vocabulary.ts";
import type { ClientHello } from "../wire/client-hello.ts";

/** What a flow's opening bytes turned out to be. */
export type Sight =
  /** A complete ClientHello. The flow's bytes so far are its beginning: kept by the caller for a replay. */
  { readonly protocol: "tls"; readonly hello: ClientHello };

/** What the bytes so far allow us to say. "more" is an answer, not a failure. */
export type Sighting =
  | { readonly kind: "match"; readonly sight: Sight }
  | { readonly kind: "more" }
  | { readonly kind: "no" };

/**
 * Watches the opening bytes of one flow, in the order they arrive. Never touches a socket, a timer or a log.
 * Throws PeerError when the bytes claim to be the protocol and break it.
 */
export interface Opening {
  feed(side: Side, bytes: Uint8Array): Sighting;
}
