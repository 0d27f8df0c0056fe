import type { X509Certificate } from "node:crypto";
import { NetworkError, PeerError } from "../../errors.ts";
import { readCertificate } from "../x509/certificate.ts";
import { readValidity } from "../x509/validity.ts";
import { lookUp } from "./crl.ts";
import { judgeOcspResponse, type Subject } from "./ocsp.ts";
import { type Answer, type CertificateStatus, reasonOf } from "./revocation-answer.ts";
import { askResponder, type Downloads, FAILURE_TIME, fetchList } from "./revocation-download.ts";
import { type Pointers, readPointers } from "./revocation-pointers.ts";

export interface RevocationSettings {
  readonly ocsp: Strictness;
  readonly crl: Strictness;
  /** The most ms that a session waits for all answers about a certificate. */
  readonly timeout: number;
  /** The most ms that an answer is used; it may end earlier itself. */
  readonly keep: number;
}

/** soft: an unknown status is recorded. hard: it is a fault. */
type Strictness = "off" | "soft" | "hard";

export interface Sources extends Downloads {
  readonly settings: RevocationSettings;
}

/** The status of a certificate, from the cache or from its sources. `staple`: the OCSP response that the server stapled. */
export async function statusOf(
  subject: Subject,
  staple: Buffer | undefined,
  sources: Sources,
): Promise<CertificateStatus> {
  const { certificates } = sources.cache;
  const name = subject.certificate.fingerprint256;
  // The stapled response may answer what was unknown.
  if (staple && certificates.find(name, sources.clock())?.status === "unknown") certificates.forget(name);
  return certificates.take(name, sources.clock(), async () => {
    const value = await ask(subject, staple, sources);
    return { value, until: value.until };
  });
}

/** Asks one source after the other until one has an answer. */
async function ask(subject: Subject, staple: Buffer | undefined, sources: Sources): Promise<CertificateStatus> {
  const { settings, clock } = sources;
  const pointers = readPointersOf(subject.certificate);
  const responders = settings.ocsp === "off" ? [] : pointers.responders;
  const lists = settings.crl === "off" ? [] : pointers.lists;
  const about = { mustStaple: pointers.mustStaple, canBeAsked: responders.length + lists.length > 0 };
  const exempt = isExempt(subject.certificate, pointers);
  const questions = [
    ...(staple && settings.ocsp !== "off" ? [stapleQuestion(subject, staple, sources)] : []),
    ...(exempt ? [] : questionsTo(responders, lists, subject, sources)),
  ];

  const reasons: string[] = [];
  for (const { from, answer } of questions) {
    const answered = await orReason(answer);
    if (typeof answered !== "string") {
      const { until, ...rest } = answered;
      return { ...about, ...rest, from, until: Math.min(until, clock() + settings.keep) };
    }
    reasons.push(`${SOURCE_NAMES[from]}: ${answered}`);
  }
  const kept = clock() + settings.keep;
  if (exempt) return { ...about, ...NO_ANSWER, status: "exempt", reason: null, until: kept };
  const none = "The certificate names no OCSP responder or revocation list to ask";
  if (reasons.length === 0) return { ...about, ...NO_ANSWER, status: "unknown", reason: none, until: kept };
  const until = clock() + FAILURE_TIME;
  return { ...about, ...NO_ANSWER, status: "unknown", reason: reasons.join("; "), until };
}

const SOURCE_NAMES = { stapled: "The stapled response", ocsp: "OCSP", crl: "The revocation list" } as const;
const NO_ANSWER = { from: null, thisUpdate: null, nextUpdate: null } as const;

interface Question {
  readonly from: keyof typeof SOURCE_NAMES;
  /** Throws PeerError or NetworkError. */
  readonly answer: () => Promise<Answer>;
}

function stapleQuestion(subject: Subject, staple: Buffer, { clock }: Sources): Question {
  return { from: "stapled", answer: () => judgeOcspResponse(staple, subject, clock()) };
}

function questionsTo(
  responders: Pointers["responders"],
  lists: Pointers["lists"],
  subject: Subject,
  sources: Sources,
): Question[] {
  const { timeout } = sources.settings;
  const deadline = performance.now() + timeout;
  // Silent responders leave half of the time for the lists.
  const responderDeadline = lists.length > 0 ? deadline - timeout / 2 : deadline;
  return [
    ...responders.map((url) => ({
      from: "ocsp" as const,
      answer: () => askResponder(url, subject, responderDeadline, sources),
    })),
    ...lists.map(({ url, names }) => ({
      from: "crl" as const,
      async answer() {
        const list = await fetchList(url, subject.issuer, deadline, sources);
        return lookUp(list, subject, names);
      },
    })),
  ];
}

/** The answer, or the reason why there is none. */
async function orReason(ask: Question["answer"]): Promise<Answer | string> {
  try {
    const answer = await ask();
    return answer.status === "unknown" ? "the issuer does not know the certificate" : answer;
  } catch (error) {
    if (error instanceof PeerError) return reasonOf(error);
    if (error instanceof NetworkError) return error.message;
    throw error;
  }
}

/** A certificate whose pointers cannot be read has none. */
function readPointersOf(certificate: X509Certificate): Pointers {
  try {
    return readPointers(readCertificate(certificate.raw));
  } catch (error) {
    if (!(error instanceof PeerError)) throw error;
    return { responders: [], lists: [], mustStaple: false, noRevocationAvailable: false };
  }
}

/** In ms: CA/Browser Forum, Baseline Requirements, section 1.6.1. */
const SHORT_LIVED = 7 * 86_400_000;

/** A short-lived certificate needs no pointers, because it expires before news of its revocation would spread. */
function isExempt(certificate: X509Certificate, pointers: Pointers): boolean {
  if (pointers.noRevocationAvailable) return true;
  const { notBefore, notAfter } = readValidity(certificate);
  return notAfter - notBefore <= SHORT_LIVED && pointers.responders.length + pointers.lists.length === 0;
}
