import type { End } from "../engine/end.ts";
import { farewell } from "../engine/farewell.ts";

const REASON: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  414: "URI Too Long",
  431: "Request Header Fields Too Large",
  502: "Bad Gateway",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

/** An answer that the node gives itself. */
export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string | Uint8Array;
  /** Further header fields. */
  readonly fields?: Readonly<Record<string, string>>;
}

/** Of a client's request: what its answer depends on. */
export interface Asked {
  readonly method: string;
}

/** Answers a client's HTTP request on the node's own behalf, with a line of text, and ends its connection. */
export function answerRequest(client: End, status: number, message: string): void {
  sendAnswer(client, { status, type: "text/plain; charset=utf-8", body: `${message}\n` });
}

/** The same with any content, SCRATCH bytes at most. */
export function sendAnswer(client: End, { status, type, body, fields }: Answer, asked?: Asked): void {
  const bytes = Buffer.from(body);
  const lines = [
    `HTTP/1.1 ${status} ${REASON[status] ?? "Error"}`,
    `Content-Type: ${type}`,
    "X-Content-Type-Options: nosniff",
    "Cache-Control: no-store",
    ...Object.entries(fields ?? {}).map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${bytes.length}`,
    "Connection: close",
    "\r\n",
  ];
  const head = Buffer.from(lines.join("\r\n"), "latin1");
  // RFC 9110, section 9.3.2: the answer to HEAD has no content.
  void farewell(client, asked?.method === "HEAD" ? head : Buffer.concat([head, bytes]));
}
