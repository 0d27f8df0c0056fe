import { HTTP_PORT, type RequestLine, readAuthority } from "./request-line.ts";
import { type RefusedRequest, refuse } from "./request-refusal.ts";

/** One header field. */
export interface Field {
  /** As the client sent it, without its CR LF. */
  readonly line: string;
  /** In lower case. */
  readonly name: string;
  readonly value: string;
}

/**
 * Reads header fields from lines without their CR LF: RFC 9112, section 5. Refuses fields that two recipients could read
 * differently, because they allow request smuggling.
 */
export function readFields(lines: readonly string[], version: RequestLine["version"]): Field[] | RefusedRequest {
  const fields: Field[] = [];
  for (const line of lines) {
    // No obs-fold (section 5.2), and no space before the colon (section 5.1).
    const parts = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(line);
    if (!parts) return refuse(400, "A line of the request is not a header field");
    fields.push({ line, name: parts[1]!.toLowerCase(), value: parts[2]! });
  }
  return checkFraming(fields, version) ?? fields;
}

/** Checks the fields that give the request's host and the length of its body: RFC 9112, sections 3.2 and 6. */
function checkFraming(fields: readonly Field[], version: RequestLine["version"]): RefusedRequest | undefined {
  const [hosts, lengths, codings] = ["host", "content-length", "transfer-encoding"].map((name) =>
    valuesOf(fields, name),
  );
  if (hosts!.length > 1) return refuse(400, "The request has two Host fields");
  if (lengths!.length > 1) return refuse(400, "The request has two Content-Length fields");
  if (lengths!.some((length) => !/^\d{1,15}$/.test(length))) return refuse(400, "Content-Length is not a number");
  if (codings!.length === 0) return undefined;
  if (lengths!.length > 0) return refuse(400, "The request has both Content-Length and Transfer-Encoding");
  if (version === "1.0") return refuse(400, "An HTTP/1.0 request has a Transfer-Encoding");
  // Section 7: chunked is applied once, and last.
  const list = listOf(codings!);
  const isLast = list.length > 0 && list.indexOf("chunked") === list.length - 1;
  return isLast ? undefined : refuse(400, "The last Transfer-Encoding is not chunked");
}

/** The host of the Host field, as hosts are compared; undefined: there is none, or it is empty. RFC 9112, section 3.2. */
export function hostFieldOf(fields: readonly Field[]): string | RefusedRequest | undefined {
  const [value] = valuesOf(fields, "host");
  if (!value) return undefined;
  return readAuthority(value, HTTP_PORT)?.host ?? refuse(400, "The Host field is not a host and a port");
}

/** The length of the request's body in bytes, or "chunked": RFC 9112, section 6.3. */
export function bodyOf(fields: readonly Field[]): number | "chunked" {
  return valuesOf(fields, "transfer-encoding").length > 0
    ? "chunked"
    : Number(valuesOf(fields, "content-length")[0] ?? 0);
}

/** Whether the client asks to switch to another protocol (RFC 9110, section 7.8), such as WebSocket. */
export function asksUpgrade(fields: readonly Field[], version: RequestLine["version"]): boolean {
  const protocols = listOf(valuesOf(fields, "upgrade"));
  // RFC 9113 dropped h2c: such a request is sent on as HTTP/1.1.
  const wanted = protocols.length > 0 && !protocols.includes("h2c");
  return wanted && version === "1.1" && listOf(valuesOf(fields, "connection")).includes("upgrade");
}

/** Whether there is an Upgrade field at all: a server may act on it whatever else is said. */
export function mentionsUpgrade(fields: readonly Field[]): boolean {
  return valuesOf(fields, "upgrade").length > 0;
}

/** The methods with which a browser asks for a page, unless it says what it does. */
const PAGE_METHODS = ["GET", "HEAD"];

/**
 * Whether the client shows what it gets as a page: it accepts HTML by name (RFC 9110, section 12.5.1), and it navigates. Browsers say
 * that in Sec-Fetch-Mode. A proxy's CONNECT says neither: its client gets the page that proxies send.
 */
export function asksForPage(method: string, fields: readonly Field[]): boolean {
  const accepted = valuesOf(fields, "accept");
  if (method === "CONNECT" && accepted.length === 0) return true;
  const acceptsPage = listOf(accepted).some(
    (range) => /^text\/html\s*(?:;|$)/.test(range) && !NOT_ACCEPTED.test(range),
  );
  const [mode] = valuesOf(fields, "sec-fetch-mode");
  return acceptsPage && (mode === undefined ? PAGE_METHODS.includes(method) : mode.toLowerCase() === "navigate");
}

/** All browsers begin so. */
export function isBrowser(fields: readonly Field[]): boolean {
  return valuesOf(fields, "user-agent").some((agent) => agent.startsWith("Mozilla/"));
}

const NOT_ACCEPTED = /;\s*q\s*=\s*0(?:\.0*)?\s*(?:;|$)/;

/** RFC 9110, section 7.6.1, and the Proxy fields, which are for the node. */
const HOP_BY_HOP = /^(?:connection|keep-alive|te|upgrade|proxy-.*)$/;
/** Never dropped, even if Connection names them: they give the request's host and length. */
const END_TO_END = new Set(["host", "content-length", "transfer-encoding"]);

/**
 * Rewrites the head for the origin server: RFC 9112, sections 3.2.1 and 3.2.2. Fields that are neither hop-by-hop nor Host
 * keep their bytes and their order.
 */
export function rewriteForOrigin(line: RequestLine, fields: readonly Field[], upgrade: boolean): Buffer {
  const named = new Set(listOf(valuesOf(fields, "connection")));
  const lines = [`${line.method} ${line.originTarget} HTTP/${line.version}`];
  if (!fields.some(({ name }) => name === "host")) lines.push(`Host: ${line.authority}`);
  const credentials = credentialsOf(line, fields);
  if (credentials) lines.push(credentials);
  for (const field of fields) {
    if (field.name === "host") {
      lines.push(field.value === line.authority ? field.line : `Host: ${line.authority}`);
    } else if (field.name === "upgrade" && upgrade) {
      lines.push(field.line);
    } else if (END_TO_END.has(field.name) || !(HOP_BY_HOP.test(field.name) || named.has(field.name))) {
      lines.push(field.line);
    }
  }
  const connection = upgrade ? "Upgrade" : persistenceOf(line, fields);
  if (connection) lines.push(`Connection: ${connection}`);
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
}

/** User information of the target, in the field where the server looks for it (RFC 7617), unless the client has sent that. */
function credentialsOf({ userinfo }: RequestLine, fields: readonly Field[]): string | undefined {
  if (!userinfo || fields.some(({ name }) => name === "authorization")) return undefined;
  const decoded = userinfo.replaceAll(/%([0-9A-Fa-f]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  const pair = decoded.includes(":") ? decoded : `${decoded}:`;
  return `Authorization: Basic ${Buffer.from(pair, "latin1").toString("base64")}`;
}

/**
 * What the client asks of the connection, for the server: "close", "keep-alive" or nothing. Clients say it to a proxy in a field
 * of its own, too. RFC 9112, section 9.3: HTTP/1.0 closes unless it is asked to keep the connection.
 */
function persistenceOf({ version }: RequestLine, fields: readonly Field[]): "close" | "keep-alive" | undefined {
  const wishes = listOf([...valuesOf(fields, "connection"), ...valuesOf(fields, "proxy-connection")]);
  if (wishes.includes("close")) return "close";
  if (wishes.includes("keep-alive")) return "keep-alive";
  return version === "1.0" ? "close" : undefined;
}

function valuesOf(fields: readonly Field[], wanted: string): string[] {
  return fields.filter(({ name }) => name === wanted).map(({ value }) => value);
}

/** The members of a comma-separated list over all its field lines, in lower case: RFC 9110, section 5.6.1. */
function listOf(values: readonly string[]): string[] {
  const members = values.flatMap((value) => value.toLowerCase().split(","));
  return members.map((member) => member.trim()).filter((member) => member !== "");
}
