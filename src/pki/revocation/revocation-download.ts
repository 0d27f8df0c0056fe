import type { X509Certificate } from "node:crypto";
import { NetworkError, PeerError } from "../../errors.ts";
import { openRevocationList, type RevocationList } from "./crl.ts";
import { failureOf, noteFailure } from "./failures.ts";
import { judgeOcspResponse, type Subject, writeOcspRequest } from "./ocsp.ts";
import { type Answer, reasonOf } from "./revocation-answer.ts";
import type { RevocationCache } from "./revocation-cache.ts";
import type { Fetch } from "./revocation-fetch.ts";

export interface Fetching {
  readonly cache: Pick<RevocationCache, "failures" | "issuers" | "staples">;
  readonly fetch: Fetch;
  /** ms since the epoch. */
  readonly clock: () => number;
}

export interface Downloads extends Fetching {
  readonly cache: RevocationCache;
  readonly settings: { readonly keep: number };
}

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
  const bytes = await downloadResponse(url, subject, MAX_RESPONSE, deadline, downloads);
  downloads.cache.failures.forget(url);
  return judgeOcspResponse(bytes, subject, downloads.clock());
}

/** The responder's answer as it comes. Throws NetworkError. */
export function downloadResponse(
  url: string,
  subject: Subject,
  bytes: number,
  deadline: number,
  fetching: Fetching,
): Promise<Buffer> {
  const request = encodeURIComponent(writeOcspRequest(subject).toString("base64"));
  return download(`${url.replace(/\/$/, "")}/${request}`, bytes, deadline, fetching);
}

/** The revocation list at a URL, from the cache if it has it. Throws NetworkError, or PeerError for one that cannot be used. */
export function fetchList(
  url: string,
  issuer: X509Certificate,
  deadline: number,
  downloads: Downloads,
): Promise<RevocationList> {
  const { cache, clock, settings } = downloads;
  const began = clock();
  return cache.lists.take(`${url} ${issuer.fingerprint256}`, clock(), async () => {
    const bytes = await download(url, MAX_LIST, deadline, downloads);
    try {
      const list = await openRevocationList(bytes, issuer, clock());
      cache.failures.forget(url);
      return { value: list, until: Math.min(list.until, clock() + settings.keep) };
    } catch (error) {
      // A list can have megabytes: do not download it again for the next certificate.
      if (error instanceof PeerError) {
        noteFailure(url, reasonOf(error), cache.failures, { began, now: clock() });
      }
      throw error;
    }
  });
}

/** Downloads at most `bytes`, unless that failed and its pause is not over. Throws NetworkError. */
export async function download(
  url: string,
  bytes: number,
  deadline: number,
  { cache: { failures }, clock, fetch }: Fetching,
): Promise<Buffer> {
  const began = clock();
  const failure = failureOf(url, failures, began);
  if (failure && failure.again > began) throw new NetworkError(`${failure.reason}, a moment ago`, "EAGAIN");
  const end = new AbortController();
  const timer = setTimeout(() => end.abort(), deadline - performance.now());
  try {
    const body = await fetch(url, { bytes, signal: end.signal });
    failures.forget(new URL(url).origin);
    return body;
  } catch (error) {
    if (!(error instanceof NetworkError) || error.code === "EAGAIN") throw error;
    // A server that answered may have other URLs that work; one that did not answer is not asked for any.
    const answered = error.code === "EPROTO" || error.code === "EMSGSIZE";
    noteFailure(answered ? url : new URL(url).origin, error.message, failures, { began, now: clock() });
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
