import { readHost } from "../wire/host-name.ts";
import { type RefusedRequest, refuse } from "./request-refusal.ts";

/** The four forms of a request target: RFC 9112, section 3.2. */
export type TargetForm = "origin" | "absolute" | "authority" | "asterisk";

/** The destination of a request. The host is a lower-case name without trailing dot, or an address without brackets. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

export interface RequestLine {
  readonly kind: "line";
  readonly method: string;
  readonly version: "1.0" | "1.1";
  readonly form: TargetForm;
  readonly target: Target | undefined;
  /** The target's authority as the client wrote it, for the Host field; empty when there is none. */
  readonly authority: string;
  /** The user information of the target, as it is written; undefined: it has none. */
  readonly userinfo: string | undefined;
  /** The target in origin-form: RFC 9112, section 3.2.1. */
  readonly originTarget: string;
  /** The target's length in bytes. */
  readonly targetBytes: number;
}

/**
 * The absolute URIs that are read. "http": those that a proxy of ours can ask for. "any": those that another proxy may be asked for, such
 * as ftp://name:password@host/.
 */
export type ReadUris = "http" | "any";

/** Reads a request line, without its CR LF: RFC 9112, section 3. */
export function readRequestLine(line: string, uris: ReadUris): RequestLine | RefusedRequest {
  const parts = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^ ]+) HTTP\/(\d)\.(\d)$/.exec(line);
  if (!parts) return refuse(400, "The request line does not have the form of HTTP/1.x");
  const [, method, target, major, minor] = parts as unknown as [string, string, string, string, string];
  if (major !== "1") return refuse(505, `HTTP/${major} is not supported`);
  const version = minor === "0" ? "1.0" : "1.1";
  const reading = method === "CONNECT" ? readAuthorityForm(target) : readOtherForm(method, target, uris);
  if ("status" in reading) return reading;
  return { kind: "line", method, version, ...reading, targetBytes: target.length };
}

type TargetReading = Pick<RequestLine, "form" | "target" | "authority" | "userinfo" | "originTarget">;

/** CONNECT requires a host and a port: RFC 9112, section 3.2.3. */
function readAuthorityForm(text: string): TargetReading | RefusedRequest {
  const target = readAuthority(text, undefined);
  if (!target) return refuse(400, "CONNECT needs a host and a port from 1 to 65535");
  return { form: "authority", target, authority: text, userinfo: undefined, originTarget: text };
}

function readOtherForm(method: string, text: string, uris: ReadUris): TargetReading | RefusedRequest {
  const nowhere = { target: undefined, authority: "", userinfo: undefined, originTarget: text };
  if (text.startsWith("/")) return { form: "origin", ...nowhere };
  if (text === "*" && method === "OPTIONS") return { form: "asterisk", ...nowhere };
  return uris === "http" ? readAbsoluteForm(method, text) : readAnyUri(text);
}

export const HTTP_PORT = 80;

/**
 * RFC 9112, section 3.2.2. Only http URIs: for https a client uses CONNECT. Programs such as wget and apt send user information,
 * and others the fragment. Neither belongs there (RFC 9110, sections 4.2.4 and 4.2.5), and neither is sent on.
 */
function readAbsoluteForm(method: string, text: string): TargetReading | RefusedRequest {
  const parts = /^http:\/\/(?:([^/?#@]*)@)?([^/?#@]*)((?:[/?][^#]*)?)(?:#.*)?$/i.exec(text);
  if (!parts) return refuse(400, "The request target is neither a path nor an http URI");
  const [, userinfo, authority, rest] = parts as unknown as [string, string | undefined, string, string];
  const target = readAuthority(authority, HTTP_PORT);
  if (!target) return refuse(400, "The request target has no valid host and port");
  const path = rest.startsWith("/") ? rest : `/${rest}`;
  // RFC 9112, section 3.2.4: OPTIONS without a path is about the whole server.
  return {
    form: "absolute",
    target,
    authority,
    userinfo,
    originTarget: method === "OPTIONS" && rest === "" ? "*" : path,
  };
}

/** For another proxy: only its host is of interest, and the request passes as it is. */
function readAnyUri(text: string): TargetReading | RefusedRequest {
  const [, authority] = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#@]*@)?([^/?#@]*)(?:[/?#].*)?$/i.exec(text) ?? [];
  if (authority === undefined) return refuse(400, "The request target is neither a path nor a URI with a host");
  const target = readAuthority(authority, HTTP_PORT);
  if (!target) return refuse(400, "The request target has no valid host and port");
  return { form: "absolute", target, authority, userinfo: undefined, originTarget: text };
}

/** host [":" port], an IPv6 address in brackets: RFC 3986, section 3.2. Undefined: it is none. */
export function readAuthority(text: string, defaultPort: number | undefined): Target | undefined {
  const parts = /^(\[[^\]]*\]|[^:[\]]*)(?::(\d{0,5}))?$/.exec(text);
  const host = parts && readHost(parts[1]!);
  if (!host || parts[1]!.startsWith("[") !== host.text.includes(":")) return undefined;
  const port = parts[2] ? Number(parts[2]) : defaultPort;
  return port !== undefined && port >= 1 && port <= 65_535 ? { host: host.text, port } : undefined;
}
