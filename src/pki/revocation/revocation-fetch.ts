import type { LookupAddress, LookupOptions } from "node:dns";
import { lookup } from "node:dns/promises";
import { type IncomingMessage, request } from "node:http";
import { isIP, type LookupFunction } from "node:net";
import ipaddr from "ipaddr.js";
import { NetworkError } from "../../errors.ts";
import type { Endpoint } from "../../vocabulary.ts";

/** Fetches a URL that a certificate names. Throws NetworkError. */
export type Fetch = (url: string, limit: FetchLimit) => Promise<Buffer>;

export interface FetchLimit {
  /** The most bytes of the body. */
  readonly bytes: number;
  /** Aborts at the deadline. */
  readonly signal: AbortSignal;
}

/** Fetches at the same time. */
const MAX_FETCHES = 16;
/** DNS lookups at the same time: they occupy the few threads that also write files. */
const MAX_LOOKUPS = 2;
const MAX_REDIRECTS = 3;
const HTTP_PORT = 80;

export interface FetchSettings {
  /** Fetch from loopback addresses too. */
  readonly loopback: boolean;
  /** Whether this address is one of this machine's own. */
  isOwn(address: string): boolean;
  /** Whether this is a place of the node itself, which is refused also where `loopback` allows its address. */
  isPlace(to: Endpoint): Promise<boolean>;
}

/**
 * Makes a fetcher over plain HTTP. The author of a certificate chooses the URL, so the fetcher refuses to connect to this
 * machine and its local network: its own addresses (loopback unless `loopback`), link-local, multicast. Private networks are
 * allowed, because a company's CA is there. It checks the address that it connects to, not the name in the URL.
 */
export function createFetch(settings: FetchSettings): Fetch {
  const fetches = createGate(MAX_FETCHES);
  const hosts = { lookups: createGate(MAX_LOOKUPS), isAllowed: (to: Endpoint) => isAllowed(to, settings) };
  return (url, limit) => fetches.enter(() => followRedirects(url, limit, hosts), limit.signal);
}

/** Which hosts may be asked, and the gate of their lookups. */
interface Hosts {
  readonly lookups: Gate;
  isAllowed(to: Endpoint): Promise<boolean>;
}

async function followRedirects(url: string, limit: FetchLimit, hosts: Hosts): Promise<Buffer> {
  let place = url;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
    const answer = await ask(place, limit.signal, hosts);
    const { location } = answer.headers;
    if (isRedirect(answer) && location !== undefined) {
      answer.destroy();
      place = URL.parse(location, place)?.href ?? "";
      continue;
    }
    if (answer.statusCode !== 200) {
      answer.destroy();
      throw new NetworkError(`${hostOf(place)} answered with HTTP status ${answer.statusCode}`, "EPROTO");
    }
    return await readBody(answer, place, limit);
  }
  throw new NetworkError(`${hostOf(url)} redirected more than ${MAX_REDIRECTS} times`, "EPROTO");
}

async function ask(place: string, signal: AbortSignal, hosts: Hosts): Promise<IncomingMessage> {
  const url = URL.parse(place);
  if (url?.protocol !== "http:") throw new NetworkError("The redirect is not to an http URL", "EPROTO");
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = Number(url.port || HTTP_PORT);
  if (isIP(host) && !(await hosts.isAllowed({ address: host, port }))) throw refused(host);
  const find: LookupFunction = (name, options, done) =>
    void findAddresses({ host: name, port }, options, signal, hosts).then(
      (found) => done(null, found),
      (error) => done(error, []),
    );
  const headers = { "accept-encoding": "identity" };
  // With autoSelectFamily Node tries all addresses of a host, one after the other.
  const options = { agent: false, signal, headers, lookup: find, autoSelectFamily: true } as const;
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => reject(asNetworkError(error, host, signal));
    request(url, options, resolve).on("error", fail).end();
  });
}

/** The allowed addresses of a host; at least one. Throws NetworkError. */
async function findAddresses(
  { host, port }: { readonly host: string; readonly port: number },
  options: LookupOptions,
  signal: AbortSignal,
  { lookups, isAllowed }: Hosts,
): Promise<LookupAddress[]> {
  const found = await lookups.enter(() => lookup(host, { ...options, all: true }), signal);
  const answers = await Promise.all(found.map(({ address }) => isAllowed({ address, port })));
  const allowed = found.filter((_, index) => answers[index]);
  if (allowed.length === 0) throw refused(host);
  return allowed;
}

function isRedirect({ statusCode = 0 }: IncomingMessage): boolean {
  return [301, 302, 303, 307, 308].includes(statusCode);
}

async function readBody(answer: IncomingMessage, place: string, { bytes: most, signal }: FetchLimit): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > most) throw new NetworkError(`${hostOf(place)} answered with more than ${most} bytes`, "EMSGSIZE");
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof NetworkError) throw error;
    throw asNetworkError(error as NodeJS.ErrnoException, hostOf(place), signal);
  }
  return Buffer.concat(chunks);
}

const REFUSED_RANGES: readonly string[] = ["linkLocal", "multicast", "unspecified", "broadcast"];

async function isAllowed(to: Endpoint, { loopback, isOwn, isPlace }: FetchSettings): Promise<boolean> {
  // process() turns an IPv4-mapped IPv6 address into the IPv4 address.
  const range = ipaddr.process(to.address.replace(/%.*$/, "")).range();
  if (range === "loopback") return loopback && !(await isPlace(to));
  return !REFUSED_RANGES.includes(range) && !isOwn(to.address) && !(await isPlace(to));
}

function refused(host: string): NetworkError {
  const says = "it is this machine's own, link-local or multicast, or belongs to the node";
  return new NetworkError(`${host} is not allowed: ${says}`, "EACCES");
}

function asNetworkError(error: NodeJS.ErrnoException, host: string, signal: AbortSignal): NetworkError {
  if (error instanceof NetworkError) return error;
  if (signal.aborted) return new NetworkError(`${host} did not answer in time`, "ETIMEDOUT", { cause: error });
  return new NetworkError(`${host} cannot be reached: ${error.code ?? "EPROTO"}`, error.code ?? "EPROTO", {
    cause: error,
  });
}

function hostOf(place: string): string {
  return URL.parse(place)?.host ?? "The server";
}

interface Gate {
  /** Runs the action when its turn comes. Throws NetworkError when its signal has aborted by then. */
  enter<T>(act: () => Promise<T>, signal: AbortSignal): Promise<T>;
}

/** Runs at most `most` actions at the same time; the others wait, in order. */
function createGate(most: number): Gate {
  let inside = 0;
  const waiting: (() => void)[] = [];
  return {
    async enter(act, signal) {
      if (inside < most) inside += 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      try {
        if (signal.aborted) throw new NetworkError("The time was over before the request could begin", "EAGAIN");
        return await act();
      } finally {
        // The next action takes over this one's place, so `inside` stays the same.
        const next = waiting.shift();
        if (next) next();
        else inside -= 1;
      }
    },
  };
}
