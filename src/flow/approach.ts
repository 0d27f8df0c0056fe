import type { Socket } from "node:net";
import { NetworkError } from "../errors.ts";
import type { LegFailure, ServerLeg } from "../legs/leg.ts";
import type { Peer } from "../streams/conversation.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import type { Ends } from "./stages.ts";
import { CERTIFICATE_REQUIRED, type Layer, nearEnd, type Story } from "./story.ts";

/** The part of a session's story in which the server is asked for TLS, and asked again when its refusal may not be its last word. */

/** What the server answered, and the connection on which it did. */
export interface Approach {
  readonly serverLeg: ServerLeg | LegFailure;
  readonly server: Peer;
}

/** Opens a server leg; with `between` an earlier session of the two is offered. */
type Speak = (stream: Socket, between?: Ends) => Promise<ServerLeg | LegFailure>;

/**
 * Asks the layer's server for TLS. One that speaks nothing newer than SSL 3.0 is spoken to anew, where policy allows it;
 * else its first answer counts.
 */
export async function approach(story: Story, layer: Layer, hello: ClientHello, between: Ends): Promise<Approach> {
  const { node, policy, session } = story;
  const leaning = policy.lean(layer.facts);
  const inTls: Speak = (stream, ends) => node.serverLeg(stream, hello, leaning, ends);
  const inSsl3: Speak = (stream, ends) => node.fallBack(stream, hello, ends);

  let found = await comeBack(story, layer, between, layer.server, inTls);
  if (found.serverLeg.kind === "failed" && node.mayFallBack(found.serverLeg)) {
    const fresh = await redial(story, layer);
    const older = fresh && (await comeBack(story, layer, between, fresh, inSsl3));
    if (older && isNews(older.serverLeg)) found = older;
  }
  if (found.server !== layer.server) session.note({ seenAs: nearEnd(found.server.socket) });
  return found;
}

/**
 * A server that breaks when an earlier session is offered gets one more connection, on which none is: as browsers do. One that
 * only says nothing has taken its time already.
 */
async function comeBack(story: Story, layer: Layer, between: Ends, server: Peer, speak: Speak): Promise<Approach> {
  const first = { serverLeg: await speak(server.stream, between), server };
  const { serverLeg } = first;
  if (serverLeg.kind === "up" || !serverLeg.resuming || serverLeg.cause === "timeout") return first;
  const fresh = await redial(story, layer);
  return fresh ? { serverLeg: await speak(fresh.stream), server: fresh } : first;
}

/** Undefined: the server is gone, and has said all it will. */
async function redial({ ends }: Story, layer: Layer): Promise<Peer | undefined> {
  try {
    const fresh = await layer.redial();
    ends.add(fresh.stream);
    return fresh;
  } catch (error) {
    if (error instanceof NetworkError) return undefined;
    throw error;
  }
}

/** A server that refuses again has said more when it was asked for TLS; what we refuse of it is news. */
function isNews(older: ServerLeg | LegFailure): boolean {
  return older.kind === "up" || older.cause === "protocol" || older.alert === CERTIFICATE_REQUIRED;
}
