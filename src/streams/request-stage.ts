import { Exchange, type RequestAim } from "../detect/exchange.ts";
import { sightProxyHeader } from "../detect/proxy-header.ts";
import {
  createRequestHeadReader,
  type RequestHead,
  type RequestHeadSighting,
  type RequestLimits,
} from "../detect/request-head.ts";
import { sightRequest } from "../detect/request-sight.ts";
import type { End } from "../engine/end.ts";
import { NetworkError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";
import { answerRequest } from "./http-answer.ts";
import { readUntil } from "./reading.ts";
import { RequestConversation } from "./request-conversation.ts";

/** What a client that did not begin with TLS begins with. */
export type FirstRequest =
  | RequestHead
  /** A request that must not reach a server. */
  | { readonly kind: "bad"; readonly status: number; readonly message: string }
  /** Another protocol, or one in which the server speaks first. "undecided": what the client has said so far is only a word. */
  | { readonly kind: "other" | "undecided" };

/** Plain HTTP/1.x: requests, each for a host. */
export interface RequestStage {
  /** Reads the first request's head. The bytes stay with their ends. Throws NetworkError. */
  first(client: End, server: End): Promise<FirstRequest>;
  /**
   * Before a relay connects the client to `answering`: it decides how far their bytes may pass. `rewrites`: the client asks a proxy, and
   * its heads are rewritten for the origin server.
   */
  open(client: End, answering: End, aim: RequestAim, rewrites: boolean): RequestConversation;
  /**
   * Before a relay carries a client that was undecided: ends it if it goes on with a request or a header of the PROXY protocol after all,
   * because the beginning has passed unjudged.
   */
  guard(client: End): void;
  /** Answers a request with an error, and ends the client's connection. */
  refuse(client: End, status: number, message: string): void;
}

export interface RequestSettings {
  /** In ms. */
  readonly timeouts: { readonly hello: number };
  readonly limits: RequestLimits;
}

/**
 * ms for a client to go on that has sent a word and no more. Until then its bytes wait: in another protocol, the server could answer
 * them.
 */
const PATIENCE = 500;
/** ms for the whole word, which a person may type. */
const WORD = 20 * PATIENCE;

export function createRequestStage({ timeouts: { hello }, limits }: RequestSettings): RequestStage {
  return {
    async first(client, server) {
      const sight = await sightFirst(client, server);
      if (sight === "no") return { kind: "other" };
      if (sight === "unlikely") return { kind: "undecided" };
      return readFirst(client, hello, limits);
    },
    open: (client, answering, aim, rewrites) =>
      new RequestConversation(new Exchange(aim, { limits, rewrites }), client, answering, hello),
    guard: guardWord,
    refuse: answerRequest,
  };
}

async function sightFirst(client: End, server: End): Promise<"yes" | "likely" | "unlikely" | "no"> {
  let begun: Buffer = Buffer.alloc(0);
  const judge = (side: Side, bytes: Buffer) => {
    if (side === "server") return { sight: "no" } as const;
    begun = Buffer.concat([begun, bytes]);
    const sight = sightRequest(begun);
    return sight === "unlikely" ? undefined : ({ sight } as const);
  };
  try {
    const { answer } = await readUntil({ client, server }, judge, { silence: PATIENCE, gap: PATIENCE, whole: WORD });
    return answer?.sight ?? "no";
  } catch (error) {
    if (error instanceof NetworkError && error.code === "ETIMEDOUT") return "unlikely";
    throw error;
  }
}

function guardWord(client: End): void {
  let begun: Buffer = Buffer.alloc(0);
  client.isUnmarked = true;
  client.gate = (bytes) => {
    begun = Buffer.concat([begun, bytes]);
    const sight = sightRequest(begun);
    if (sight === "unlikely") return bytes.length;
    client.gate = undefined;
    client.isUnmarked = false;
    if (sight === "no" && sightProxyHeader(begun).kind === "no") return bytes.length;
    client.held = "reads";
    const late = new NetworkError("The client paused in its first word", "ETIMEDOUT");
    queueMicrotask(() => client.reset(late));
    return 0;
  };
}

async function readFirst(client: End, gap: number, limits: RequestLimits): Promise<FirstRequest> {
  const reader = createRequestHeadReader(limits, "any");
  const judge = (_side: Side, bytes: Buffer): Exclude<RequestHeadSighting, { kind: "more" }> | undefined => {
    const reading = reader.push(bytes);
    return reading.kind === "more" ? undefined : reading;
  };
  try {
    const { answer } = await readUntil({ client }, judge, { silence: gap, gap });
    // Some servers take the end of the connection for the end of the head.
    if (!answer) return { kind: "bad", status: 400, message: "The client left before the end of its head" };
    if (answer.kind === "tls") return { kind: "other" };
    if (answer.kind !== "head" || !answer.isAmbiguous) return answer;
    return { kind: "bad", status: 400, message: "The request's target and its Host field name different hosts" };
  } catch (error) {
    if (error instanceof NetworkError && error.code === "ETIMEDOUT") answerRequest(client, 408, error.message);
    throw error;
  }
}
