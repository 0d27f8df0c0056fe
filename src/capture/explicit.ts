import { type ProxyHeaderSight, type ProxyHeaderSighting, sightProxyHeader } from "../detect/proxy-header.ts";
import { createRequestHeadReader, type RequestHead } from "../detect/request-head.ts";
import type { End } from "../engine/end.ts";
import { listenConfigured } from "../engine/listen.ts";
import { NetworkError, PeerError } from "../errors.ts";
import { answerRequest } from "../streams/http-answer.ts";
import { answerWithPage, type PageRequest } from "../streams/page-stage.ts";
import { readUntil } from "../streams/reading.ts";
import type { Endpoint } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import type { Arrival, BegunWith, Destination, Refusal } from "./arrival.ts";
import { dialingFor } from "./dialing.ts";
import { arriveRefused } from "./headers.ts";
import type { CaptureContext, CaptureSettings, OpenListener } from "./mode.ts";
import { behindProxies, type ProxyFront } from "./proxy-front.ts";

const ESTABLISHED = Buffer.from("HTTP/1.1 200 Connection established\r\n\r\n");

const STATUS: Readonly<Record<Refusal["kind"], number>> = { unreachable: 502, timeout: 504, policy: 403 };

export interface ExplicitListener {
  readonly name: string;
  readonly address: { readonly host: string; readonly port: number };
  readonly proxyProtocol?: ProxyFront | undefined;
}

export function openExplicit(listener: ExplicitListener, context: CaptureContext): Promise<OpenListener> {
  const { path, workers, loop, settings, arrive } = context;
  const dialFor = dialingFor(loop, settings);
  const where = { ...listener.address, shared: workers > 1, savesSyns: true };
  const accept = behindProxies(listener.proxyProtocol, context, {
    plain: (client, from) => arrive(arriveExplicit(client, from, listener, settings, dialFor(client))),
    fronted: ({ client, from, begunWith }) =>
      arrive(arriveExplicit(client, from, listener, settings, dialFor(client), begunWith)),
    refused: (client, from, reason) =>
      arrive(arriveRefused(client, from, { listener: listener.name, mode: "explicit" }, reason)),
  });
  return listenConfigured(loop, `${path}.address`, where, accept);
}

/** An explicit proxy: the client names its destination with CONNECT (RFC 9110, section 9.3.6) or an absolute URI (RFC 9112, section 3.2.2). */
export function arriveExplicit(
  client: End,
  from: Endpoint,
  listener: { readonly name: string },
  settings: () => Pick<CaptureSettings, "timeouts" | "limits">,
  dial: Arrival["dial"],
  begunWith?: BegunWith,
): Arrival {
  let connect = false;
  let request: (PageRequest & Pick<RequestHead, "isBrowser">) | undefined;
  return {
    listener: listener.name,
    mode: "explicit",
    client,
    from,
    begunWith,
    async locate() {
      const { head, header } = await readHead(client, settings(), begunWith === undefined);
      connect = head.form === "authority";
      // The whole head would stay for as long as the session lives.
      request = { method: head.method, wantsPage: head.wantsPage, isBrowser: head.isBrowser };
      client.skip((header?.length ?? 0) + (connect ? head.headBytes : 0));
      const unexpected = header && { version: header.version, client: header.source ?? null, from, believed: false };
      return { ...destinationOf(client, head), ...(unexpected && { begunWith: unexpected }) };
    },
    dial,
    async welcome() {
      if (connect) client.writeBytes(ESTABLISHED);
      return client;
    },
    admit() {
      // Browsers show no page that answers a CONNECT. Other clients report the status.
      if (!connect || !request?.isBrowser) return undefined;
      client.writeBytes(ESTABLISHED);
      return client;
    },
    refuse({ kind, message, page }) {
      if (page && request) return answerWithPage(client, page, request);
      answerRequest(client, STATUS[kind], message);
      return undefined;
    },
    again: (fresh) => arriveExplicit(fresh, from, listener, settings, dial, begunWith),
  };
}

interface FirstRequest {
  readonly head: RequestHead;
  /** A header of the PROXY protocol in front of it, which nobody expected. */
  readonly header: ProxyHeaderSight | undefined;
}

/** Reads one request head. It stays in the connection. `mayBegin`: with a header of the PROXY protocol. */
async function readHead(
  client: End,
  { timeouts: { hello }, limits }: Pick<CaptureSettings, "timeouts" | "limits">,
  mayBegin: boolean,
): Promise<FirstRequest> {
  const reader = createRequestHeadReader(limits);
  let begun: Buffer = Buffer.alloc(0);
  const first: { sighting: ProxyHeaderSighting } = { sighting: { kind: mayBegin ? "unlikely" : "no" } };
  const judge = (_side: unknown, bytes: Buffer) => {
    let rest = bytes;
    if (isOpen(first.sighting)) {
      begun = Buffer.concat([begun, bytes]);
      first.sighting = sightProxyHeader(begun);
      if (isOpen(first.sighting)) return undefined;
      rest = first.sighting.kind === "header" ? begun.subarray(first.sighting.length) : begun;
    }
    const reading = reader.push(rest);
    return reading.kind === "more" ? undefined : reading;
  };
  try {
    const { answer: request, client: asked } = await readUntil({ client }, judge, { silence: hello, gap: hello });
    if (request === undefined) {
      if (asked.length > 0) answerRequest(client, 400, "The client left before the end of its head");
      throw new NetworkError("The client left before it asked for anything", "ECONNRESET");
    }
    const { sighting } = first;
    if (request.kind === "head") return { head: request, header: sighting.kind === "header" ? sighting : undefined };
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

function isOpen({ kind }: ProxyHeaderSighting): boolean {
  return kind === "likely" || kind === "unlikely";
}

function destinationOf(client: End, head: RequestHead): Destination {
  if (head.target === undefined) {
    const message = "This is a proxy: ask it with CONNECT host:port, or with an absolute http:// address";
    answerRequest(client, 400, message);
    throw new PeerError("The client's proxy request names no destination", ALERTS.decode_error);
  }
  const { host, port } = head.target;
  const { method, path } = head;
  return { host, port, connectHost: host, http: head.form === "absolute", request: { method, path } };
}
