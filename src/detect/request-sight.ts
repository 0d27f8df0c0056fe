/**
 * Whether a client's first bytes are an HTTP/1.x request. "likely": its beginning. "unlikely": they may become one, but so may what
 * another protocol says before it waits for an answer.
 */
export type RequestSight = "yes" | "no" | "likely" | "unlikely";

/** As long as any server takes a request line. */
const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32768}";
const METHOD = new RegExp(`^${TOKEN}[ \\t\\v\\f]*$`);
const TARGET = new RegExp(`^${TOKEN}[ \\t\\v\\f]+(?:[/*]|h(?:t(?:t(?:p(?:s?(?::.*)?)?)?)?)?$)`, "is");
/** As lenient as servers are about what separates the parts: the strict reader refuses what is wrong with it. */
const LINE = /\sHTTP\/\d*\.?\d*\s*$/i;
/** HTTP/0.9 with a host. */
const SIMPLE = new RegExp(`^${TOKEN}\\s+https?://`, "i");
/** RFC 9113, section 3.4: HTTP/2 with prior knowledge. */
const PREFACE = "PRI * HTTP/2.0";

/** `bytes` are all of the client's so far. A CONNECT is none: what follows is a tunnel's. */
export function sightRequest(bytes: Buffer): RequestSight {
  const text = bytes.toString("latin1").replace(/^[\r\n\t ]+/, "");
  if (text === "") return "unlikely";
  if (/^CONNECT\s/i.test(text) || text.startsWith(PREFACE)) return "no";
  const end = text.indexOf("\n");
  if (end < 0) return METHOD.test(text) ? "unlikely" : TARGET.test(text) ? "likely" : "no";
  const line = text.slice(0, end);
  return LINE.test(line) || SIMPLE.test(line) ? "yes" : "no";
}
