import { type IncomingMessage, request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";

/** Requests to a provider of OpenID Connect, whose certificate must reach one of these roots. */

/** What openid-client wants of a request. */
interface Asked {
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body: unknown;
  readonly signal?: AbortSignal;
}

/** Bytes of the longest answer that is read: a document, keys or a token. */
const LONGEST = 1024 * 1024;

/** `roots`: in PEM. No redirect is followed. */
export function fetchWith(roots: () => readonly string[]): (url: string, asked: Asked) => Promise<Response> {
  return (url, { method, headers, body, signal }) => {
    const { promise, resolve, reject } = Promise.withResolvers<Response>();
    const isTls = new URL(url).protocol === "https:";
    const options = { method, headers, ...(signal && { signal }), ...(isTls && { ca: [...roots()] }) };
    const sent = (isTls ? requestTls : requestPlain)(url, options, (answer) => {
      readAnswer(answer).then(resolve, reject);
    });
    sent.on("error", reject);
    sent.end(body === undefined || body === null ? undefined : String(body));
    return promise;
  };
}

async function readAnswer(answer: IncomingMessage): Promise<Response> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > LONGEST) throw new Error(`the answer is longer than ${LONGEST} bytes`);
  }
  const headers = Object.entries(answer.headersDistinct).flatMap(([name, values = []]) =>
    values.map((value): [string, string] => [name, value]),
  );
  return new Response(length === 0 ? null : Buffer.concat(chunks), { status: answer.statusCode ?? 500, headers });
}
