import { compileClient } from "./client-pattern.ts";
import type { Session, State } from "./record.ts";

/** What to look for; every part that is given must match. */
export interface SessionQuery {
  /** A host, or a pattern with `*`: see `compileHost`. */
  readonly host?: string | undefined;
  /** The state, or its first ends: "EST:EST" finds "EST:EST:INIT:INIT" too. */
  readonly state?: string | undefined;
  /** "none": nothing was decided. */
  readonly verdict?: "decrypt" | "bypass" | "drop" | "none" | undefined;
  readonly listener?: string | undefined;
  /** The client's address, or a subnet: see `compileClient`. */
  readonly client?: string | undefined;
}

/** A query made ready: is this one of the sessions looked for? */
export function compileQuery(query: SessionQuery): (session: Session) => boolean {
  const host = query.host === undefined ? undefined : compileHost(query.host);
  const state = query.state?.toUpperCase();
  const verdict = query.verdict === "none" ? null : query.verdict;
  const client = query.client === undefined ? undefined : compileClient(query.client);
  return (session) =>
    (verdict === undefined || session.verdict === verdict) &&
    (query.listener === undefined || session.listener === query.listener) &&
    (state === undefined || beginsWith(session.state, state)) &&
    (query.client === undefined || client?.matches(session.client.address) === true) &&
    (host === undefined || hostsOf(session).some(host.matches));
}

function beginsWith(state: State, ends: string): boolean {
  return state === ends || state.startsWith(`${ends}:`);
}

/** The host names a session is found by: its SNI, its CONNECT host, and its certificate's names and common name. */
export function hostsOf(session: Session): readonly string[] {
  const hosts = new Set<string>();
  for (const name of [session.sni, session.connectHost]) if (name) hosts.add(canonicalHost(name));
  if (session.certificate) {
    for (const name of session.certificate.names) hosts.add(canonicalHost(name));
    const common = COMMON_NAME.exec(session.certificate.subject)?.[1];
    if (common) hosts.add(canonicalHost(common));
  }
  return [...hosts];
}

const COMMON_NAME = /(?:^|, )CN=([^,]+)/;

/** Lower-case and without the trailing dot. */
function canonicalHost(name: string): string {
  const lower = name.trim().toLowerCase();
  return lower.endsWith(".") ? lower.slice(0, -1) : lower;
}

export interface HostPattern {
  /** The only names that can match, when they are few: the way into an index. Undefined: any name can. */
  readonly names: readonly string[] | undefined;
  /** `name` as `hostsOf` gives it. */
  readonly matches: (name: string) => boolean;
}

/**
 * A host to look for, without regard to case or a trailing dot. `*` stands for any characters, dots too, anywhere:
 * "*.example.com", "mail*". A query without `*` also finds a certificate whose wildcard covers the host, so
 * "www.example.com" finds "*.example.com"; a query with `*` compares text only, so "mail*" does not.
 */
export function compileHost(query: string): HostPattern {
  const wanted = canonicalHost(query);
  if (wanted.includes("*")) return { names: undefined, matches: (name) => matchesText(wanted, name) };
  const dot = wanted.indexOf(".");
  // A certificate's wildcard stands for exactly one label, the first: RFC 9525, section 6.3.
  const names = dot > 0 ? [wanted, `*${wanted.slice(dot)}`] : [wanted];
  return { names, matches: (name) => names.includes(name) };
}

/** Walks both texts once, going back to the last `*` only: no pattern makes it slower than their product. */
function matchesText(pattern: string, text: string): boolean {
  let at = 0;
  let star = -1;
  let resume = 0;
  for (let i = 0; i < text.length; ) {
    if (pattern[at] === "*") {
      star = at++;
      resume = i;
    } else if (pattern[at] === text[i]) {
      at++;
      i++;
    } else if (star >= 0) {
      at = star + 1;
      i = ++resume;
    } else return false;
  }
  while (pattern[at] === "*") at++;
  return at === pattern.length;
}
