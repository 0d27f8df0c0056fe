import type { X509Certificate } from "node:crypto";
import { NetworkError, PeerError } from "../../errors.ts";
import type { FoundFault } from "../verify/verify.ts";
import { readCertificate } from "../x509/certificate.ts";
import { recordCertificate } from "../x509/certificate-record.ts";
import { readValidity } from "../x509/validity.ts";
import { lookUp, openRevocationList, type RevocationList } from "./crl.ts";
import { judgeOcspResponse, type Subject, writeOcspRequest } from "./ocsp.ts";
import {
  type Answer,
  type CertificateStatus,
  type ChainStatus,
  type RevocationRecord,
  whyNot,
} from "./revocation-answer.ts";
import type { RevocationCache } from "./revocation-cache.ts";
import type { Fetch } from "./revocation-fetch.ts";
import { type Pointers, readPointers } from "./revocation-pointers.ts";

export interface RevocationSettings {
  readonly ocsp: Strictness;
  readonly crl: Strictness;
  /** ms for everything that a session waits for. */
  readonly timeout: number;
  /** ms for which an answer is used, though never beyond its own end. */
  readonly keep: number;
}

/** soft: what cannot be known is recorded. hard: it is a fault. */
type Strictness = "off" | "soft" | "hard";

export interface RevocationFinding {
  readonly record: RevocationRecord;
  readonly fault: FoundFault | undefined;
}

export interface RevocationChecker {
  /** What is known without asking of the chain of this certificate, given by its SHA-256; undefined: ask. `now` in ms since the epoch. */
  known(sha256: string, staple: Buffer | undefined, now: number): RevocationFinding | undefined;
  /** Asks about a chain from the server's certificate to a trusted root. `staple`: the answer that the server sent along. */
  ask(sha256: string, path: readonly X509Certificate[], staple: Buffer | undefined): Promise<RevocationFinding>;
}

/** For how long nothing is asked again after it failed, in ms. */
const FAILED = 30_000;
const LARGEST_ANSWER = 64 * 2 ** 10;
const LARGEST_LIST = 15 * 2 ** 20;
/** Short-lived certificates need not say where to ask, for they end sooner than a revocation is heard of: CA/Browser Forum, section 1.6.1. */
const SHORT_LIVED = 7 * 86_400_000;

/**
 * Makes the one who asks whether certificates were revoked: first the answer that the server stapled, then its issuer's
 * OCSP responder, then the issuer's list. Who asks for the same at the same time shares one question.
 */
export function createRevocationChecker(
  settings: RevocationSettings,
  cache: RevocationCache,
  fetch: Fetch,
  clock: () => number = Date.now,
): RevocationChecker {
  const { ocsp, crl, timeout, keep } = settings;
  const isHard = ocsp === "hard" || crl === "hard";

  return {
    known(sha256, staple, now) {
      const known = cache.conclusions.find(sha256, now);
      // A server that staples at last has something to say.
      if (!known || (known.status === "unknown" && staple)) return undefined;
      cache.hits += 1;
      return found(known, true);
    },
    async ask(sha256, path, staple) {
      cache.misses += 1;
      const subjects = path.slice(0, -1).map((certificate, height) => ({ certificate, issuer: path[height + 1]! }));
      const all = await Promise.all(
        subjects.map((subject, height) => tell(subject, height === 0 ? staple : undefined)),
      );
      const conclusion = conclude(all, path);
      cache.conclusions.keep(sha256, conclusion, conclusion.until);
      return found(conclusion, false);
    },
  };

  function found(conclusion: ChainStatus, known: boolean): RevocationFinding {
    const { status, from, reason, thisUpdate, nextUpdate, isOpen, mustStaple, named } = conclusion;
    const record = { status, from, cached: known && (named || from !== null), reason, thisUpdate, nextUpdate };
    if (status === "revoked") return { record, fault: { fault: "revoked", code: "CERT_REVOKED" } as const };
    const isFault = isOpen && (isHard || mustStaple);
    return {
      record,
      fault: isFault ? ({ fault: "revocationUnknown", code: "REVOCATION_UNKNOWN" } as const) : undefined,
    };
  }

  /** What is known of one certificate, asked for at most once at a time. */
  async function tell(subject: Subject, staple: Buffer | undefined): Promise<CertificateStatus> {
    const name = subject.certificate.fingerprint256;
    // The stapled response may say what was unknown.
    if (staple && cache.told.find(name, clock())?.status === "unknown") cache.told.forget(name);
    return cache.told.take(name, clock(), async () => {
      const value = await inquire(subject, staple);
      return { value, until: value.until };
    });
  }

  async function inquire(subject: Subject, staple: Buffer | undefined): Promise<CertificateStatus> {
    const { responders, lists, mustStaple, neverTold } = readPointersOf(subject.certificate);
    const about = {
      mustStaple,
      named: (ocsp !== "off" && responders.length > 0) || (crl !== "off" && lists.length > 0),
    };
    const begun = performance.now();
    const left = () => timeout - (performance.now() - begun);
    const reasons: string[] = [];

    if (ocsp !== "off" && staple) {
      const stapled = await attempt("stapled", () => judgeOcspResponse(staple, subject, clock()));
      if (stapled) return stapled;
    }
    if (neverTold || (isShortLived(subject.certificate) && responders.length + lists.length === 0)) {
      return { ...about, ...UNTOLD, status: "exempt", reason: null, until: clock() + keep };
    }
    // A responder that does not answer leaves time for the list.
    const reserved = crl !== "off" && lists.length > 0 ? timeout / 2 : 0;
    for (const url of ocsp === "off" ? [] : responders) {
      const asked = await attempt("ocsp", () => askResponder(url, subject, left() - reserved));
      if (asked) return asked;
    }
    for (const { url, names } of crl === "off" ? [] : lists) {
      const listed = await attempt("crl", async () =>
        lookUp(await takeList(url, subject.issuer, left()), subject, names),
      );
      if (listed) return listed;
    }
    const reason = reasons.length > 0 ? reasons.join("; ") : "The certificate does not say whom to ask";
    return { ...about, ...UNTOLD, status: "unknown", reason, until: clock() + (reasons.length > 0 ? FAILED : keep) };

    /** The answer, or undefined with the reason noted. */
    async function attempt(
      from: NonNullable<CertificateStatus["from"]>,
      act: () => Promise<Answer>,
    ): Promise<CertificateStatus | undefined> {
      try {
        const { until, ...answer } = await act();
        if (answer.status !== "unknown") return { ...about, ...answer, from, until: Math.min(until, clock() + keep) };
        reasons.push(`${SOURCES[from]}: the issuer does not know the certificate`);
      } catch (error) {
        if (!(error instanceof PeerError) && !(error instanceof NetworkError)) throw error;
        reasons.push(`${SOURCES[from]}: ${error instanceof PeerError ? whyNot(error) : error.message}`);
      }
      return undefined;
    }
  }

  /** RFC 5019, section 5: by GET, so that whatever stands in between may keep the answer. */
  async function askResponder(url: string, subject: Subject, time: number): Promise<Answer> {
    const question = encodeURIComponent(writeOcspRequest(subject).toString("base64"));
    const bytes = await take(`${url.replace(/\/$/, "")}/${question}`, LARGEST_ANSWER, time);
    return judgeOcspResponse(bytes, subject, clock());
  }

  function takeList(url: string, issuer: X509Certificate, time: number): Promise<RevocationList> {
    return cache.lists.take(`${url} ${issuer.fingerprint256}`, clock(), async () => {
      const bytes = await take(url, LARGEST_LIST, time);
      try {
        const list = await openRevocationList(bytes, issuer, clock());
        return { value: list, until: Math.min(list.until, clock() + keep), bytes: list.bytes };
      } catch (error) {
        // It would be as large and as useless for the next certificate.
        if (error instanceof PeerError) cache.failures.keep(url, whyNot(error), clock() + FAILED);
        throw error;
      }
    });
  }

  /** Fetches in `time` ms, unless that failed a moment ago. Throws NetworkError. */
  async function take(url: string, bytes: number, time: number): Promise<Buffer> {
    const origin = new URL(url).origin;
    const failure = cache.failures.find(origin, clock()) ?? cache.failures.find(url, clock());
    if (failure !== undefined) throw new NetworkError(`${failure}, a moment ago`, "EAGAIN");
    const end = new AbortController();
    const timer = setTimeout(() => end.abort(), time);
    try {
      return await fetch(url, { bytes, signal: end.signal });
    } catch (error) {
      if (!(error instanceof NetworkError) || error.code === "EAGAIN") throw error;
      const answered = error.code === "EPROTO" || error.code === "EMSGSIZE";
      cache.failures.keep(answered ? url : origin, error.message, clock() + FAILED);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

const SOURCES = { stapled: "The stapled answer", ocsp: "OCSP", crl: "The revocation list" } as const;
const UNTOLD = { from: null, thisUpdate: null, nextUpdate: null } as const;

/**
 * What there is to say of the whole chain: one revoked certificate is enough. Of those above the server's own, it is no
 * fault when they do not say whom to ask; many do not.
 */
function conclude(all: readonly CertificateStatus[], path: readonly X509Certificate[]): ChainStatus {
  const [leaf] = all;
  const until = Math.min(...all.map((told) => told.until));
  const above = all.findIndex(({ status, named }, height) => height > 0 && status === "unknown" && named);
  const revoked = all.findIndex(({ status }) => status === "revoked");
  if (revoked > 0)
    return { ...leaf!, ...all[revoked]!, reason: aboutCa(path[revoked]!, all[revoked]!), until, isOpen: false };
  if (leaf!.status === "revoked" || leaf!.status === "unknown")
    return { ...leaf!, until, isOpen: leaf!.status === "unknown" };
  if (above > 0)
    return {
      ...leaf!,
      ...all[above]!,
      mustStaple: false,
      reason: aboutCa(path[above]!, all[above]!),
      until,
      isOpen: true,
    };
  return { ...leaf!, until, isOpen: false };
}

function aboutCa(certificate: X509Certificate, { reason }: CertificateStatus): string {
  return `${recordCertificate(certificate).subject}: ${reason ?? "no reason was given"}`;
}

/** What cannot be read leads nowhere. */
function readPointersOf(certificate: X509Certificate): Pointers {
  try {
    return readPointers(readCertificate(certificate.raw));
  } catch (error) {
    if (!(error instanceof PeerError)) throw error;
    return { responders: [], lists: [], mustStaple: false, neverTold: false };
  }
}

function isShortLived(certificate: X509Certificate): boolean {
  const { notBefore, notAfter } = readValidity(certificate);
  return notAfter - notBefore <= SHORT_LIVED;
}
