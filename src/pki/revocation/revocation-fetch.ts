import type { LookupAddress, LookupOptions } from "node:dns";
import { lookup } from "node:dns/promises";
import { type IncomingMessage, request } from "node:http";
import { isIP, type LookupFunction } from "node:net";
import ipaddr from "ipaddr.js";
import { NetworkError } from "../../errors.ts";

/** Fetches what stands at a URL of a certificate. Throws NetworkError. */
export type Fetch = (url: string, limit: FetchLimit) => Promise<Buffer>;

export interface FetchLimit {
  /** The longest body, in bytes. */
  readonly bytes: number;
  /** Aborts when the time is over. */
  readonly signal: AbortSignal;
}

/** Fetches at one time, and names that are looked up at one time: those have the few threads that files are written by. */
const MOST_FETCHES = 16;
const MOST_LOOKUPS = 2;
const MOST_REDIRECTS = 3;

/**
 * Makes a fetcher by plain HTTP. Whoever wrote the certificate chose the address, so this machine itself and what is
 * beside it on the wire are not asked: loopback (unless `loopback`), link-local, multicast. A private network is, for a
 * company's CA is there. The address that is judged is the one that is connected to.
 */
export function createFetch({ loopback }: { readonly loopback: boolean }): Fetch {
  const fetches = createGate(MOST_FETCHES);
  const lookups = createGate(MOST_LOOKUPS);
  const allowed = (address: string) => isAllowed(address, loopback);

  return (url, limit) =>
    fetches.enter(async () => {
      let place = url;
      for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects += 1) {
        const answer = await ask(place, limit.signal);
        const { location } = answer.headers;
        if (isRedirect(answer) && location !== undefined) {
          answer.destroy();
          place = URL.parse(location, place)?.href ?? "";
          continue;
        }
        if (answer.statusCode !== 200) {
          answer.destroy();
          throw new NetworkError(`${hostOf(place)} answers ${answer.statusCode}`, "EPROTO");
        }
        return await readBody(answer, place, limit);
      }
      throw new NetworkError(`${hostOf(url)} redirects again and again`, "EPROTO");
    }, limit.signal);

  async function ask(place: string, signal: AbortSignal): Promise<IncomingMessage> {
    const url = URL.parse(place);
    if (url?.protocol !== "http:") throw new NetworkError("A redirect leads away from plain HTTP", "EPROTO");
    const host = url.hostname.replace(/^\[|\]$/g, "");
    if (isIP(host) && !allowed(host)) throw refused(host);
    const headers = { "accept-encoding": "identity" };
    return new Promise((resolve, reject) => {
      const fail = (error: NodeJS.ErrnoException) => reject(asNetworkError(error, host, signal));
      const find: LookupFunction = (name, options, done) =>
        void look(name, options, signal).then(
          (found) => done(null, found),
          (error) => done(error, []),
        );
      // Node then asks for all addresses of a host, and tries one after the other.
      const options = { agent: false, signal, headers, lookup: find, autoSelectFamily: true } as const;
      request(url, options, resolve).on("error", fail).end();
    });
  }

  /** The addresses of a host that may be asked. */
  async function look(host: string, options: LookupOptions, signal: AbortSignal): Promise<LookupAddress[]> {
    const found = await lookups.enter(() => lookup(host, { ...options, all: true }), signal);
    const usable = found.filter(({ address }) => allowed(address));
    if (usable.length === 0) throw refused(host);
    return usable;
  }
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
      if (length > most) throw new NetworkError(`${hostOf(place)} answers with more than ${most} bytes`, "EMSGSIZE");
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof NetworkError) throw error;
    throw asNetworkError(error as NodeJS.ErrnoException, hostOf(place), signal);
  }
  return Buffer.concat(chunks);
}

const REFUSED_RANGES: readonly string[] = ["loopback", "linkLocal", "multicast", "unspecified", "broadcast"];

function isAllowed(address: string, loopback: boolean): boolean {
  // An IPv4 address in the clothes of IPv6 is what it is inside.
  const range = ipaddr.process(address.replace(/%.*$/, "")).range();
  return (loopback && range === "loopback") || !REFUSED_RANGES.includes(range);
}

function refused(host: string): NetworkError {
  return new NetworkError(`${host} is not an address that is asked`, "EACCES");
}

function asNetworkError(error: NodeJS.ErrnoException, host: string, signal: AbortSignal): NetworkError {
  if (error instanceof NetworkError) return error;
  if (signal.aborted) return new NetworkError(`${host} did not answer in time`, "ETIMEDOUT", { cause: error });
  return new NetworkError(`${host} cannot be asked: ${error.code ?? "EPROTO"}`, error.code ?? "EPROTO", {
    cause: error,
  });
}

function hostOf(place: string): string {
  return URL.parse(place)?.host ?? "The address";
}

/** Lets so many in at one time; the others wait, in order. Whose time is over when it is their turn does not act. */
function createGate(most: number): { enter<T>(act: () => Promise<T>, signal: AbortSignal): Promise<T> } {
  let inside = 0;
  const waiting: (() => void)[] = [];
  return {
    async enter(act, signal) {
      if (inside < most) inside += 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      try {
        if (signal.aborted) throw new NetworkError("There was no time left to ask", "EAGAIN");
        return await act();
      } finally {
        // Whoever goes in next has the place of whoever leaves.
        const next = waiting.shift();
        if (next) next();
        else inside -= 1;
      }
    },
  };
}
