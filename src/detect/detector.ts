import type { Side } from "../vocabulary.ts";
import type { ClientHello } from "../wire/client-hello.ts";

/** The protocol that a flow begins with. */
export type Sight =
  /** A complete ClientHello. The caller keeps the bytes so far for a replay. */
  { readonly protocol: "tls"; readonly hello: ClientHello };

/** The answer for the bytes so far. "more": they are not enough. "no": they are another protocol. */
export type Sighting =
  | { readonly kind: "match"; readonly sight: Sight }
  | { readonly kind: "more" }
  | { readonly kind: "no" };

/**
 * Reads the first bytes of one flow, in the order in which they arrive. Never touches a socket, a timer or a log.
 * Throws PeerError when the bytes begin like the protocol and then break it.
 */
export interface Opening {
  feed(side: Side, bytes: Uint8Array): Sighting;
}
