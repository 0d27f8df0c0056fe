import type { X509Certificate } from "node:crypto";
import { NetworkError, PeerError } from "../../errors.ts";
import { readCertificate } from "../x509/certificate.ts";
import { readValidity } from "../x509/validity.ts";
import { lookUp } from "./crl.ts";
import { type Failure, failureOf } from "./failures.ts";
import { judgeOcspResponse, type Subject } from "./ocsp.ts";
import { type Answer, type CertificateStatus, reasonOf } from "./revocation-answer.ts";
import { askResponder, type Downloads, fetchList } from "./revocation-download.ts";
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

/**
 * Asks one source after the other until one has an answer; those that failed the last time come last. If only these are left and the
 * session may go on without an answer, they are asked behind it: a silent responder costs each session its whole timeout.
 */
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
  const mustKnow = isNeeded(pointers, settings);
  const begun = clock();
  const failed = questions.flatMap(({ failure }) => failure ?? []);
  const now = mustKnow || failed.length === 0 ? questions : questions.filter(({ failure }) => !failure);

  const first = await answerOf(now, about, sources);
  if (typeof first !== "string") return first;
  if (exempt) return { ...about, ...NO_ANSWER, status: "exempt", reason: null, until: begun + settings.keep };
  if (questions.length === 0) {
    const none = "The certificate names no OCSP responder or revocation list to ask";
    return { ...about, ...NO_ANSWER, status: "unknown", reason: none, until: begun + settings.keep };
  }
  if (now === questions) return { ...about, ...NO_ANSWER, status: "unknown", reason: first, until: clock() + PAUSE };
  const behind = questions.filter(({ failure }) => failure && failure.again <= begun);
  if (behind.length > 0) void askBehind(subject, behind, about, sources);
  const reason = [first, ...failed.map(({ reason: why }) => why)].filter((one) => one !== "").join("; ");
  const until = behind.length > 0 ? begun + SOON : Math.min(...failed.map(({ again }) => again));
  return { ...about, ...NO_ANSWER, status: "unknown", reason, until };
}

/** ms that an unknown status is kept after a failure, and while the answer is under way. */
const PAUSE = 30_000;
const SOON = 5_000;

/** Whether a status that stays unknown is a fault. */
function isNeeded({ mustStaple }: Pointers, { ocsp, crl }: RevocationSettings): boolean {
  return mustStaple || ocsp === "hard" || crl === "hard";
}

type About = Pick<CertificateStatus, "mustStaple" | "canBeAsked">;

/** The first answer, or the reasons why there is none. */
async function answerOf(
  questions: readonly Question[],
  about: About,
  { settings, clock }: Sources,
): Promise<CertificateStatus | string> {
  const reasons: string[] = [];
  for (const { from, answer } of questions) {
    const answered = await orReason(answer);
    if (typeof answered !== "string") {
      const { until, ...rest } = answered;
      return { ...about, ...rest, from, until: Math.min(until, clock() + settings.keep) };
    }
    reasons.push(`${SOURCE_NAMES[from]}: ${answered}`);
  }
  return reasons.join("; ");
}

/** Later sessions have the answer. */
async function askBehind({ certificate }: Subject, questions: readonly Question[], about: About, sources: Sources) {
  const status = await answerOf(questions, about, sources);
  if (typeof status !== "string") sources.cache.certificates.keep(certificate.fingerprint256, status, status.until);
}

const SOURCE_NAMES = { stapled: "The stapled response", ocsp: "OCSP", crl: "The revocation list" } as const;
const NO_ANSWER = { from: null, thisUpdate: null, nextUpdate: null } as const;

interface Question {
  readonly from: keyof typeof SOURCE_NAMES;
  /** Why the source could not be used the last time; undefined: it could, or was not asked. */
  readonly failure?: Failure | undefined;
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
  const failure = (url: string) => failureOf(url, sources.cache.failures, sources.clock());
  return [
    ...responders.map((url) => ({
      from: "ocsp" as const,
      failure: failure(url),
      answer: () => askResponder(url, subject, responderDeadline, sources),
    })),
    ...lists.map(({ url, names }) => ({
      from: "crl" as const,
      failure: failure(url),
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
