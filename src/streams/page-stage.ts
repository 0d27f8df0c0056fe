import type { Sighting } from "../detect/detector.ts";
import { openDetectors } from "../detect/detectors.ts";
import { asksForPage } from "../detect/request-fields.ts";
import { createRequestHeadReader, type RequestHead, type RequestLimits } from "../detect/request-head.ts";
import type { End } from "../engine/end.ts";
import { NetworkError, PeerError } from "../errors.ts";
import { type PageOptions, type RefusedSession, type WrittenPage, writeRefusal } from "../page/refusal-page.ts";
import { PAGE_FIELDS } from "../page/style.ts";
import { sendAnswer } from "./http-answer.ts";
import { answerHttp2 } from "./http2-page.ts";
import { type Reading, readUntil } from "./reading.ts";
import { judgeOf } from "./stage.ts";

/** What became of a page: the client has got it, or text instead; or it has not asked for anything. */
export type PageShown = "shown" | "text" | "notAsked";

/** ALPN's names of what pages are shown over. */
export type PageProtocol = "http/1.1" | "h2";

/** What tells whether somebody waits for a page. */
export type PageRequest = Pick<RequestHead, "method" | "wantsPage">;

/** Pages, and text, for clients that are refused: `policy.page`. */
export interface PageStage {
  /** The CA that signs for them. */
  readonly signedBy: "primary" | "secondary";
  write(refused: RefusedSession): WrittenPage;
  /** Reads the ClientHello of a client that was let in for a page. Undefined: it sends none. Never throws. */
  hello(client: End): Promise<Reading<Sighting> | undefined>;
  /** Waits for a request on TLS that the node has opened, answers it, and ends the connection. Never throws. */
  show(client: End, page: WrittenPage, protocol: PageProtocol): Promise<PageShown>;
  /** Answers a request that was read, and ends the connection. */
  answer(client: End, page: WrittenPage, request: PageRequest): PageShown;
}

export interface PageSettings extends PageOptions {
  readonly signedBy: "primary" | "secondary";
  /** ms in which a client must ask, and in which it must go on with what it has begun. */
  readonly wait: number;
  readonly limits: RequestLimits;
}

/** ms for the first byte of a ClientHello. Where the server would speak first, the client waits no longer for what is not there. */
const SILENCE = 2_000;

export function createPageStage({ signedBy, wait, limits, ...options }: PageSettings): PageStage {
  return {
    signedBy,
    write: (refused) => writeRefusal(refused, options),
    async hello(client) {
      try {
        return await readUntil({ client }, judgeOf(openDetectors()), { silence: Math.min(wait, SILENCE), gap: wait });
      } catch (error) {
        if (error instanceof NetworkError || error instanceof PeerError) return undefined;
        throw error;
      }
    },
    async show(client, page, protocol) {
      if (protocol === "h2") return (await showOverHttp2(client, page, wait)) ?? "notAsked";
      const request = await readRequest(client, wait, limits);
      return request ? answerWithPage(client, page, request) : "notAsked";
    },
    answer: answerWithPage,
  };
}

/** Undefined: the client has asked for nothing in time, or spoke another protocol. */
async function readRequest(client: End, wait: number, limits: RequestLimits): Promise<RequestHead | undefined> {
  const reader = createRequestHeadReader(limits, "any");
  const judge = (_side: unknown, bytes: Buffer) => {
    const reading = reader.push(bytes);
    return reading.kind === "more" ? undefined : reading;
  };
  try {
    const { answer } = await readUntil({ client }, judge, { silence: wait, gap: wait });
    return answer?.kind === "head" ? answer : undefined;
  } catch (error) {
    if (error instanceof NetworkError) return undefined;
    throw error;
  }
}

function showOverHttp2(client: End, page: WrittenPage, wait: number): Promise<PageShown | undefined> {
  return answerHttp2(client, wait, ({ method, headers }) => {
    const fields = Object.entries(headers).map(([name, value]) => ({ name, value: String(value), line: "" }));
    const { status, type, body, shown } = contentOf(page, asksForPage(method, fields));
    return { answer: { status, type, body, fields: PAGE_FIELDS }, result: shown };
  });
}

export function answerWithPage(client: End, page: WrittenPage, request: PageRequest): PageShown {
  const { shown, ...content } = contentOf(page, request.wantsPage);
  sendAnswer(client, { ...content, fields: PAGE_FIELDS }, request);
  return shown;
}

function contentOf({ status, html, text }: WrittenPage, wantsPage: boolean) {
  const [type, body, shown] = wantsPage
    ? (["text/html", html, "shown"] as const)
    : (["text/plain", text, "text"] as const);
  return { status, type: `${type}; charset=utf-8`, body, shown };
}
