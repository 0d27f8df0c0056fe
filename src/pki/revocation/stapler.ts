import { X509Certificate } from "node:crypto";
import { NetworkError, PeerError } from "../../errors.ts";
import { readCertificate } from "../x509/certificate.ts";
import { isIssuedBy } from "../x509/issuing.ts";
import { splitPem } from "../x509/pem.ts";
import { judgeOcspResponse, type Subject } from "./ocsp.ts";
import type { KeptStaple } from "./revocation-answer.ts";
import { downloadResponse, type Fetching } from "./revocation-download.ts";
import { readPointers } from "./revocation-pointers.ts";

/** A certificate of the node's own for a server. */
interface HeldCertificate {
  /** The server's certificate first, then its chain. */
  readonly certificatePem: string;
  readonly sha256: string;
}

/** What the server has shown, with the response that it stapled. */
interface ShownStaple {
  readonly certificate: X509Certificate;
  readonly ders: readonly Buffer[];
  readonly staple?: Buffer | undefined;
}

export interface Stapler {
  /**
   * The OCSP response to staple to this certificate: what the server stapled to the same one, else what its issuer's responder
   * answers. Undefined: there is none yet. Only a certificate that promises one (must-staple) waits for the responder.
   */
  find(held: HeldCertificate, shown: ShownStaple): Promise<KeptStaple | undefined>;
}

const MAX_RESPONSE = 64 * 2 ** 10;

/** Finds the issuers of a certificate, the first in `ders`: the certificates above it, nearest first. */
export type FindPath = (ders: readonly Buffer[], now: number) => { readonly path: readonly X509Certificate[] };

/** `timeout`: the most ms that a session waits. */
export function createStapler(fetching: Fetching, findPath: FindPath, timeout: number): Stapler {
  const { cache, clock } = fetching;
  /** Sessions with the same certificate share one question. */
  const asking = new Map<string, Promise<KeptStaple | undefined>>();

  /** The certificate with its issuer, which the user gave along, the server has sent, or the node trusts. Undefined: none of these. */
  function subjectOf(certificatePem: string, sent: readonly Buffer[]): Subject | undefined {
    const [certificate, ...chain] = splitPem(certificatePem).map((pem) => new X509Certificate(pem));
    if (!certificate) return undefined;
    const ders = [certificate.raw, ...chain.map(({ raw }) => raw), ...sent.slice(1)];
    const [, issuer] = findPath(ders, clock()).path;
    return issuer && isIssuedBy(certificate, issuer) ? { certificate, issuer } : undefined;
  }

  async function keep(name: string, bytes: Buffer, subject: Subject): Promise<KeptStaple | undefined> {
    const now = clock();
    const { status, until } = await judgeOcspResponse(bytes, subject, now);
    if (status !== "good") return undefined;
    const kept = { bytes, issuer: subject.issuer.raw, until, renew: now + (until - now) / 2 };
    cache.staples.keep(name, kept, until);
    return kept;
  }

  async function ask(name: string, subject: Subject, responders: readonly string[]): Promise<KeptStaple | undefined> {
    const deadline = performance.now() + timeout;
    for (const url of responders) {
      const kept = await orNothing(async () => {
        return keep(name, await downloadResponse(url, subject, MAX_RESPONSE, deadline, fetching), subject);
      });
      if (kept) return kept;
    }
    return undefined;
  }

  return {
    async find({ certificatePem, sha256 }, shown) {
      const kept = cache.staples.find(sha256, clock());
      if (kept && clock() < kept.renew) return kept;
      const subject = subjectOf(certificatePem, shown.ders);
      if (!subject) return kept;
      const { staple } = shown;
      const isSame = shown.certificate.raw.equals(subject.certificate.raw);
      const own = isSame && staple ? await orNothing(() => keep(sha256, staple, subject)) : undefined;
      if (own) return own;
      const pointers = await orNothing(async () => readPointers(readCertificate(subject.certificate.raw)));
      if (!pointers) return kept;
      let answer = asking.get(sha256);
      if (!answer) {
        answer = ask(sha256, subject, pointers.responders).finally(() => asking.delete(sha256));
        asking.set(sha256, answer);
      }
      return pointers.mustStaple && !kept ? answer : kept;
    },
  };
}

/** Undefined when the server or the responder cannot be reached, or says what cannot be used. */
async function orNothing<T>(act: () => Promise<T>): Promise<T | undefined> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof NetworkError || error instanceof PeerError) return undefined;
    throw error;
  }
}
