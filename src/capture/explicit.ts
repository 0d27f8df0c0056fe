import { createRequestHeadReader, type RequestHead } from "../detect/request-head.ts";
import { dial } from "../engine/dial.ts";
import type { End } from "../engine/end.ts";
import { listenConfigured } from "../engine/listen.ts";
import { NetworkError, PeerError } from "../errors.ts";
import { answerRequest } from "../streams/http-answer.ts";
import { readUntil } from "../streams/reading.ts";
import type { Endpoint } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import type { Arrival, Destination, Refusal } from "./arrival.ts";
import type { CaptureContext, CaptureSettings, OpenListener } from "./mode.ts";

const STATUS: Readonly<Record<Refusal["kind"], number>> = { unreachable: 502, timeout: 504, policy: 403 };

export interface ExplicitListener {
  readonly name: string;
  readonly address: { readonly host: string; readonly port: number };
}

export function openExplicit(listener: ExplicitListener, context: CaptureContext): Promise<OpenListener> {
  const { path, workers, loop, settings, arrive } = context;
  const dialOut: Arrival["dial"] = (addresses, port) => dial(loop, addresses, port, settings().timeouts.connect);
  const where = { ...listener.address, shared: workers > 1 };
  return listenConfigured(loop, `${path}.address`, where, (client, from) => {
    arrive(arriveExplicit(client, from, listener, settings, dialOut));
  });
}

/** An explicit proxy: the client names its destination with CONNECT (RFC 9110, section 9.3.6) or an absolute URI (RFC 9112, section 3.2.2). */
export function arriveExplicit(
  client: End,
  from: Endpoint,
  listener: { readonly name: string },
  settings: () => Pick<CaptureSettings, "timeouts" | "limits">,
  dial: Arrival["dial"],
): Arrival {
  let connect = false;
  return {
    listener: listener.name,
    mode: "explicit",
    client,
    from,
    async locate() {
      const head = await readHead(client, settings());
      connect = head.form === "authority";
      if (connect) client.skip(head.headBytes);
      return destinationOf(client, head);
    },
    dial,
    async welcome() {
      if (connect) client.writeBytes(Buffer.from("HTTP/1.1 200 Connection established\r\n\r\n"));
      return client;
    },
    refuse: (refusal) => answerRequest(client, STATUS[refusal.kind], refusal.message),
    again: (fresh) => arriveExplicit(fresh, from, listener, settings, dial),
  };
}

/** Reads one request head. It stays in the connection. */
async function readHead(
  client: End,
  { timeouts: { hello }, limits }: Pick<CaptureSettings, "timeouts" | "limits">,
): Promise<RequestHead> {
  const reader = createRequestHeadReader(limits);
  try {
    const { answer: request } = await readUntil(
      { client },
      (_side, chunk) => {
        const reading = reader.push(chunk);
        return reading.kind === "more" ? undefined : reading;
      },
      { silence: hello, gap: hello },
    );
    if (request === undefined) throw new NetworkError("The client left before it asked for anything", "ECONNRESET");
    if (request.kind === "head") return request;
    if (request.kind === "tls") {
      throw new PeerError(
        "The client spoke TLS to a listener that takes plain proxy requests",
        ALERTS.protocol_version,
      );
    }
    answerRequest(client, request.status, request.message);
    throw new PeerError(`The client's proxy request is malformed: ${request.message}`, ALERTS.decode_error);
  } catch (error) {
    if (error instanceof NetworkError && error.code === "ETIMEDOUT") answerRequest(client, 408, error.message);
    throw error;
  }
}

function destinationOf(client: End, head: RequestHead): Destination {
  if (head.target === undefined) {
    const message = "This is a proxy: ask it with CONNECT host:port, or with an absolute http:// address";
    answerRequest(client, 400, message);
    throw new PeerError("The client's proxy request names no destination", ALERTS.decode_error);
  }
  const { host, port } = head.target;
  return { host, port, connectHost: host, http: head.form === "absolute" };
}
