import { decodeBody, textDecoder } from "./decode.ts";
import { type Field, fieldOf, type RequestHead, type ResponseHead } from "./messages.ts";
import { SessionReader } from "./reader.ts";
import { readEvent } from "./replay.ts";
import type { SessionLog } from "./session-log.ts";
import { type Body, Collector, type Detail, type Keeping, type Transaction, urlOf } from "./transaction.ts";

/** HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/). */

export interface HarOptions {
  /** The node's. */
  readonly version: string;
  /** Whether bodies and messages are written. */
  readonly bodies: boolean;
  /** The most bytes of one body. */
  readonly body: number;
  /** Which transactions are written. */
  wants(transaction: Transaction): boolean;
}

/** The pieces of a HAR file with the transactions of these sessions, each read again from what is held of it. */
export async function* harOf(logs: readonly SessionLog[], options: HarOptions): AsyncGenerator<string> {
  const creator = { name: "Clearline", version: options.version };
  yield `{"log":{"version":"1.2","creator":${JSON.stringify(creator)},"entries":[`;
  let isFirst = true;
  for (const log of logs) {
    for await (const entry of entriesOf(log, options)) {
      yield `${isFirst ? "" : ","}${JSON.stringify(entry)}`;
      isFirst = false;
    }
  }
  const missing = logs.flatMap(({ session, missing }) => (missing === undefined ? [] : [`${session.id}: ${missing}`]));
  yield `]${missing.length > 0 ? `,"comment":${JSON.stringify(missing.join("; "))}` : ""}}}\n`;
}

/** The most bytes of open bodies while a session is read again. */
const TOTAL = 32 * 1024 * 1024;

async function* entriesOf(log: SessionLog, options: HarOptions): AsyncGenerator<object> {
  const done: [Transaction, Detail][] = [];
  const keeping: Keeping = { heads: true, body: options.bodies ? options.body : 0, total: TOTAL };
  const collector = new Collector(log.session, keeping, { open: 0 }, (...found) => void done.push(found));
  const reader = new SessionReader(collector);
  const wanted = function* () {
    for (const found of done.splice(0)) if (options.wants(found[0])) yield found;
  };
  try {
    for (const event of [...log.events]) {
      collector.now = event.time;
      await readEvent(reader, event);
      for (const [transaction, detail] of wanted()) yield await entryOf(log, transaction, detail, options);
    }
    await reader.close();
    collector.close(log.isOver && log.missing === undefined ? "the session ended first" : "it goes on");
    for (const [transaction, detail] of wanted()) yield await entryOf(log, transaction, detail, options);
  } finally {
    await reader.close();
  }
}

async function entryOf(
  log: SessionLog,
  transaction: Transaction,
  detail: Detail,
  options: HarOptions,
): Promise<object> {
  const { started, requestEnded, responseStarted, ended } = transaction;
  const { request, response, frames } = detail;
  // A response may begin before its request has ended.
  const sent = Math.min(requestEnded ?? started, responseStarted ?? Number.POSITIVE_INFINITY);
  const answered = responseStarted ?? ended ?? sent;
  const timings = { send: sent - started, wait: answered - sent, receive: (ended ?? answered) - answered };
  return {
    startedDateTime: new Date(started).toISOString(),
    time: timings.send + timings.wait + timings.receive,
    request: await requestOf(log, request, transaction, detail, options),
    response: await responseOf(response, transaction, detail, options),
    cache: {},
    timings,
    serverIPAddress: log.session.server.address,
    connection: log.session.id,
    ...(transaction.problem !== null && { comment: transaction.problem }),
    ...(frames.length > 0 && { _webSocketMessages: frames.map(messageOf) }),
  };
}

async function requestOf(
  { session }: SessionLog,
  head: RequestHead,
  { requestBytes }: Transaction,
  { bodies }: Detail,
  options: HarOptions,
): Promise<object> {
  const url = urlOf(head, session);
  const content = bodies.client.bytes.length > 0 ? await contentOf(head, bodies.client, options) : undefined;
  return {
    method: head.method,
    url,
    httpVersion: head.version,
    cookies: (fieldOf(head, "cookie") ?? "").split(/[;,] */).flatMap(pairOf),
    headers: headersOf(withAuthority(head)),
    queryString: queryOf(url),
    ...(content && { postData: { mimeType: mimeOf(head), text: content.text, ...postCommentOf(content) } }),
    headersSize: head.size,
    bodySize: requestBytes,
  };
}

async function responseOf(
  head: ResponseHead | undefined,
  { responseBytes, problem }: Transaction,
  { bodies }: Detail,
  options: HarOptions,
): Promise<object> {
  const content = head && bodies.server.bytes.length > 0 ? await contentOf(head, bodies.server, options) : undefined;
  const size = content?.size ?? responseBytes;
  return {
    status: head?.status ?? 0,
    statusText: head?.reason ?? problem ?? "",
    httpVersion: head?.version ?? "",
    cookies: head ? head.fields.filter(([name]) => name.toLowerCase() === "set-cookie").flatMap(setCookieOf) : [],
    headers: headersOf(head?.fields ?? []),
    content: {
      size,
      ...(content && content.problem === null && size > responseBytes && { compression: size - responseBytes }),
      mimeType: head ? mimeOf(head) : "",
      ...(content && {
        text: content.text,
        ...(content.encoding && { encoding: content.encoding }),
        ...commentOf(content),
      }),
    },
    redirectURL: (head && fieldOf(head, "location")) ?? "",
    headersSize: head?.size ?? -1,
    bodySize: responseBytes,
  };
}

interface Content {
  readonly size: number;
  readonly text: string;
  readonly encoding: "base64" | undefined;
  readonly problem: string | null;
}

async function contentOf(head: RequestHead | ResponseHead, body: Body, { body: limit }: HarOptions): Promise<Content> {
  const { bytes, problem } = await decodeBody(head, body, limit);
  const decoder = textDecoder(head);
  const text = decoder ? decoder.decode(bytes) : bytes.toString("base64");
  return { size: bytes.length, text, encoding: decoder ? undefined : "base64", problem };
}

function commentOf({ problem }: Pick<Content, "problem">): { comment?: string } {
  return problem === null ? {} : { comment: problem };
}

/** HAR has no field for the encoding of what was sent. */
function postCommentOf({ encoding, problem }: Content): { comment?: string } {
  return commentOf({ problem: [encoding && "the text is in base64", problem].filter(Boolean).join("; ") || null });
}

function headersOf(fields: readonly Field[]): object[] {
  return fields.map(([name, value]) => ({ name, value }));
}

/** HTTP/2 has no Host field; tools that read HAR expect one. */
function withAuthority({ fields, authority, version }: RequestHead): readonly Field[] {
  const isAdded = version === "HTTP/2" && authority !== undefined && !fields.some(([name]) => name === "host");
  return isAdded ? [["host", authority], ...fields] : fields;
}

function mimeOf(head: RequestHead | ResponseHead): string {
  return fieldOf(head, "content-type") ?? "";
}

function queryOf(url: string): object[] {
  const query = /\?([^#]*)/.exec(url)?.[1] ?? "";
  return [...new URLSearchParams(query)].map(([name, value]) => ({ name, value }));
}

function pairOf(text: string): { name: string; value: string }[] {
  const at = text.indexOf("=");
  return at <= 0 ? [] : [{ name: text.slice(0, at).trim(), value: text.slice(at + 1).trim() }];
}

function setCookieOf([, value]: Field): object[] {
  const [first = "", ...attributes] = value.split(";").map((part) => part.trim());
  const named = (name: string) =>
    attributes.find((one) => one.toLowerCase().startsWith(`${name}=`))?.slice(name.length + 1);
  const flagged = (name: string) => attributes.some((one) => one.toLowerCase() === name);
  const [path, domain] = [named("path"), named("domain")];
  return pairOf(first).map((pair) => ({
    ...pair,
    ...(path !== undefined && { path }),
    ...(domain !== undefined && { domain }),
    httpOnly: flagged("httponly"),
    secure: flagged("secure"),
  }));
}

/** As browsers write them. */
function messageOf({ from, kind, bytes, time }: Detail["frames"][number]): object {
  return {
    type: from === "client" ? "send" : "receive",
    time: time / 1000,
    opcode: kind === "text" ? 1 : 2,
    data: kind === "text" ? bytes.toString() : bytes.toString("base64"),
  };
}
