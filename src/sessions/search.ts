import type { Action, Blame, Fault, Outcome, Version } from "../vocabulary.ts";
import type { Cause } from "./causes.ts";
import { compileClient } from "./client-pattern.ts";
import type { Session, State } from "./record.ts";

/** A place in the order of all lists: the newest first, live and closed ones alike. */
export type Position = Pick<Session, "start" | "id">;

/** A search. Every field that is given must match. */
export interface SessionQuery {
  /** A host, or a pattern with `*`: see `compileHost`. */
  readonly host?: string | undefined;
  /** Like `host`, for the hosts that the client named only: its SNI and its CONNECT host. */
  readonly sni?: string | undefined;
  /** A part of the distinguished name of the server's certificate: see `compileSubject`. */
  readonly subject?: string | undefined;
  /** The state, or its first ends: "EST:EST" finds "EST:EST:INIT:INIT" too. */
  readonly state?: string | undefined;
  /** "none": nothing was decided. */
  readonly verdict?: Action | "none" | undefined;
  readonly listener?: string | undefined;
  /** The client's address, or a subnet: see `compileClient`. */
  readonly client?: string | undefined;
  /** The server's, alike. */
  readonly server?: string | undefined;
  /** One of these. */
  readonly outcome?: readonly Outcome[] | undefined;
  readonly cause?: readonly Cause[] | undefined;
  readonly blame?: Blame | undefined;
  /** A part of the verdict's reason, or of why the session ended: see `compileText`. */
  readonly reason?: string | undefined;
  /** The rule, list or built-in that decided. */
  readonly rule?: string | undefined;
  /** A fault of the server's certificate. */
  readonly fault?: Fault | undefined;
  /** The version of one of the legs. */
  readonly version?: Version | undefined;
  readonly communityId?: string | undefined;
  readonly ja4?: string | undefined;
  /** ms since the epoch: sessions that began at this time or later. */
  readonly since?: number | undefined;
  /** ms since the epoch: sessions that began before. */
  readonly until?: number | undefined;
  /** Sessions that follow this one in a list. */
  readonly after?: Position | undefined;
}

/** Compares two sessions in the order of lists. Sessions keep their places: neither field ever changes. */
export function compareSessions(a: Position, b: Position): number {
  return b.start - a.start || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);
}

/** Makes the test whether a session matches the query. */
export function compileQuery(query: SessionQuery): (session: Session) => boolean {
  const host = query.host === undefined ? undefined : compileHost(query.host);
  const sni = query.sni === undefined ? undefined : compileHost(query.sni);
  const subject = query.subject === undefined ? undefined : compileText(query.subject);
  const state = query.state?.toUpperCase();
  const verdict = query.verdict === "none" ? null : query.verdict;
  const client = query.client === undefined ? undefined : compileClient(query.client);
  const isEnding = compileEnding(query);
  return (session) =>
    isEnding(session) &&
    (verdict === undefined || session.verdict === verdict) &&
    (query.listener === undefined || session.listener === query.listener) &&
    (state === undefined || beginsWith(session.state, state)) &&
    (query.client === undefined || client?.matches(session.client.address) === true) &&
    (sni === undefined || namedHostsOf(session).some(sni.matches)) &&
    (subject === undefined || (session.certificate !== null && subject(session.certificate.subject))) &&
    (host === undefined || hostsOf(session).some(host.matches));
}

/** The part of the test that is about when, how and why a session ended, and with whom. */
function compileEnding(query: SessionQuery): (session: Session) => boolean {
  const { outcome, cause, blame, rule, fault, version, communityId, ja4, since, until, after } = query;
  const reason = query.reason === undefined ? undefined : compileText(query.reason);
  const server = query.server === undefined ? undefined : compileClient(query.server);
  return (session) =>
    (since === undefined || session.start >= since) &&
    (until === undefined || session.start < until) &&
    (after === undefined || compareSessions(after, session) < 0) &&
    (outcome === undefined || outcome.includes(session.outcome)) &&
    (cause === undefined || (session.cause !== null && cause.includes(session.cause))) &&
    (blame === undefined || session.blame === blame) &&
    (rule === undefined || session.rule === rule) &&
    (communityId === undefined || session.communityId === communityId) &&
    (ja4 === undefined || session.ja4 === ja4) &&
    (version === undefined || session.clientLeg.version === version || session.serverLeg.version === version) &&
    (fault === undefined || session.certificate?.faults.some((one) => one.fault === fault) === true) &&
    (query.server === undefined || (session.server && server?.matches(session.server.address)) === true) &&
    (reason === undefined || [session.reason, session.closeReason].some((text) => text !== null && reason(text)));
}

function beginsWith(state: State, ends: string): boolean {
  return state === ends || state.startsWith(`${ends}:`);
}

/** The host names that find a session: its SNI, its CONNECT host, and its certificate's names and common name. */
export function hostsOf(session: Session): readonly string[] {
  const hosts = new Set(namedHostsOf(session));
  if (session.certificate) {
    for (const name of session.certificate.names) hosts.add(canonicalHost(name));
    const common = COMMON_NAME.exec(session.certificate.subject)?.[1];
    if (common) hosts.add(canonicalHost(common));
  }
  return [...hosts];
}

/** The host names that the client itself named: its SNI and its CONNECT host. */
export function namedHostsOf({ sni, connectHost }: Pick<Session, "sni" | "connectHost">): readonly string[] {
  return [sni, connectHost].filter((name) => name !== null).map(canonicalHost);
}

/** Whether this query finds the session by its certificate only, although the client named a host: another one. */
export function isFoundByCertificate(query: SessionQuery, session: Session): boolean {
  const named = namedHostsOf(session);
  return query.host !== undefined && named.length > 0 && !named.some(compileHost(query.host).matches);
}

const COMMON_NAME = /(?:^|, )CN=([^,]+)/;

/** Lower-case and without the trailing dot. */
function canonicalHost(name: string): string {
  const lower = name.trim().toLowerCase();
  return lower.endsWith(".") ? lower.slice(0, -1) : lower;
}

export interface HostPattern {
  /** The only names that can match, for a look-up in an index. Undefined: any name can match. */
  readonly names: readonly string[] | undefined;
  /** `name` as `hostsOf` gives it. */
  readonly matches: (name: string) => boolean;
}

/**
 * Compiles a host to search for; case and a trailing dot do not matter. `*` stands for any characters, dots too, anywhere:
 * "*.example.com", "mail*". A query without `*` also finds a certificate whose wildcard covers the host, so
 * "www.example.com" finds "*.example.com"; a query with `*` compares text only, so "mail*" does not.
 */
export function compileHost(query: string): HostPattern {
  const wanted = canonicalHost(query);
  if (wanted.includes("*")) return { names: undefined, matches: (name) => matchesText(wanted, name) };
  const dot = wanted.indexOf(".");
  // A certificate's wildcard stands for the first label only: RFC 9525, section 6.3.
  const names = dot > 0 ? [wanted, `*${wanted.slice(dot)}`] : [wanted];
  return { names, matches: (name) => names.includes(name) };
}

/**
 * Compiles a text to look for anywhere in another, such as a distinguished name or a sentence; case does not matter, and `*` stands
 * for any characters.
 */
export function compileText(query: string): (text: string) => boolean {
  const wanted = `*${query.toLowerCase()}*`;
  return (text) => matchesText(wanted, text.toLowerCase());
}

/** Goes back to the last `*` only, so the time is at most the product of the two lengths. */
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
