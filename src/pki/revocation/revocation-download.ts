import type { X509Certificate } from "node:crypto";
import { NetworkError, PeerError } from "../../errors.ts";
import { openRevocationList, type RevocationList } from "./crl.ts";
import { judgeOcspResponse, type Subject, writeOcspRequest } from "./ocsp.ts";
import { type Answer, reasonOf } from "./revocation-answer.ts";
import type { RevocationCache } from "./revocation-cache.ts";
import type { Fetch } from "./revocation-fetch.ts";

export interface Fetching {
  readonly cache: Pick<RevocationCache, "failures" | "issuers">;
  readonly fetch: Fetch;
  /** ms since the epoch. */
  readonly clock: () => number;
}

export interface Downloads extends Fetching {
  readonly cache: RevocationCache;
  readonly settings: { readonly keep: number };
}

/** After a failure nothing is fetched again for this time, in ms. */
export const FAILURE_TIME = 30_000;
const MAX_RESPONSE = 64 * 2 ** 10;
const MAX_LIST = 15 * 2 ** 20;

/**
 * Asks an OCSP responder with GET, which HTTP caches can answer: RFC 5019, section 5. `deadline` as of performance.now().
 * Throws NetworkError, or PeerError for an answer that cannot be used.
 */
export async function askResponder(
  url: string,
  subject: Subject,
  deadline: number,
  downloads: Downloads,
): Promise<Answer> {
  const request = encodeURIComponent(writeOcspRequest(subject).toString("base64"));
  const bytes = await download(`${url.replace(/\/$/, "")}/${request}`, MAX_RESPONSE, deadline, downloads);
  return judgeOcspResponse(bytes, subject, downloads.clock());
}

/** The revocation list at a URL, from the cache if it has it. Throws NetworkError, or PeerError for one that cannot be used. */
export function fetchList(
  url: string,
  issuer: X509Certificate,
  deadline: number,
  downloads: Downloads,
): Promise<RevocationList> {
  const { cache, clock, settings } = downloads;
  return cache.lists.take(`${url} ${issuer.fingerprint256}`, clock(), async () => {
    const bytes = await download(url, MAX_LIST, deadline, downloads);
    try {
      const list = await openRevocationList(bytes, issuer, clock());
      return { value: list, until: Math.min(list.until, clock() + settings.keep) };
    } catch (error) {
      // A list can have megabytes: do not download it again for the next certificate.
      if (error instanceof PeerError) cache.failures.keep(url, reasonOf(error), clock() + FAILURE_TIME);
      throw error;
    }
  });
}

/** Downloads at most `bytes`, unless that failed a moment ago. Throws NetworkError. */
export async function download(
  url: string,
  bytes: number,
  deadline: number,
  { cache: { failures }, clock, fetch }: Fetching,
): Promise<Buffer> {
  const { origin } = new URL(url);
  const failure = failures.find(origin, clock()) ?? failures.find(url, clock());
  if (failure !== undefined) throw new NetworkError(`${failure}, a moment ago`, "EAGAIN");
  const end = new AbortController();
  const timer = setTimeout(() => end.abort(), deadline - performance.now());
  try {
    return await fetch(url, { bytes, signal: end.signal });
  } catch (error) {
    if (!(error instanceof NetworkError) || error.code === "EAGAIN") throw error;
    // A server that answered may have other URLs that work; one that did not answer is not asked for any.
    const answered = error.code === "EPROTO" || error.code === "EMSGSIZE";
    failures.keep(answered ? url : origin, error.message, clock() + FAILURE_TIME);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
