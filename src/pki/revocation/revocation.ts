import type { X509Certificate } from "node:crypto";
import { recordCertificate } from "../x509/certificate-record.ts";
import { type RevocationSettings, statusOf } from "./certificate-status.ts";
import type { CertificateStatus, ChainStatus, RevocationRecord } from "./revocation-answer.ts";
import type { RevocationCache } from "./revocation-cache.ts";
import type { Fetch } from "./revocation-fetch.ts";

export interface RevocationFinding {
  readonly record: RevocationRecord;
  readonly fault: "revoked" | "revocationUnknown" | undefined;
}

export interface RevocationChecker {
  /**
   * The finding for a chain in the cache, by the SHA-256 of the server's certificate; undefined: ask. `staple`: the OCSP
   * response that the server stapled. `now` in ms since the epoch.
   */
  known(sha256: string, staple: Buffer | undefined, now: number): RevocationFinding | undefined;
  /** Asks about a chain, from the server's certificate to a trusted root. */
  ask(sha256: string, path: readonly X509Certificate[], staple: Buffer | undefined): Promise<RevocationFinding>;
}

/**
 * Makes a checker that asks whether certificates were revoked. For each certificate it uses the first answer of: the
 * stapled OCSP response, the issuer's OCSP responders, the issuer's revocation lists. Sessions that need the same answer
 * at the same time share one request.
 */
export function createRevocationChecker(
  settings: RevocationSettings,
  cache: RevocationCache,
  fetch: Fetch,
  clock: () => number = Date.now,
): RevocationChecker {
  const sources = { settings, cache, fetch, clock };
  return {
    known(sha256, staple, now) {
      const known = cache.chains.find(sha256, now);
      // The stapled response may answer what was unknown.
      if (!known || (known.status === "unknown" && staple)) return undefined;
      cache.hits += 1;
      return findingOf(known, settings, true);
    },
    async ask(sha256, path, staple) {
      cache.misses += 1;
      const statuses = await Promise.all(
        path.slice(0, -1).map((certificate, height) => {
          const subject = { certificate, issuer: path[height + 1]! };
          return statusOf(subject, height === 0 ? staple : undefined, sources);
        }),
      );
      const chain = chainStatusOf(statuses, path);
      cache.chains.keep(sha256, chain, chain.until);
      return findingOf(chain, settings, false);
    },
  };
}

/**
 * One revoked certificate makes the chain revoked. Otherwise the chain is undetermined when the status of the server's
 * certificate is unknown, or that of a CA certificate that can be asked about; many of them name no responder or list.
 */
function chainStatusOf(statuses: readonly CertificateStatus[], path: readonly X509Certificate[]): ChainStatus {
  const revoked = statuses.findIndex(({ status }) => status === "revoked");
  const unknown = statuses.findIndex(
    ({ status, canBeAsked }, height) => status === "unknown" && (height === 0 || canBeAsked),
  );
  const height = revoked >= 0 ? revoked : Math.max(unknown, 0);
  const decisive = statuses[height]!;
  return {
    ...decisive,
    reason: height === 0 ? decisive.reason : aboutCa(path[height]!, decisive),
    mustStaple: height === 0 && decisive.mustStaple,
    until: Math.min(...statuses.map(({ until }) => until)),
    undetermined: decisive.status === "unknown",
  };
}

function aboutCa(certificate: X509Certificate, { reason }: CertificateStatus): string {
  return `${recordCertificate(certificate).subject}: ${reason ?? "no reason was given"}`;
}

function findingOf(chain: ChainStatus, { ocsp, crl }: RevocationSettings, known: boolean): RevocationFinding {
  const { status, from, reason, thisUpdate, nextUpdate, undetermined, mustStaple, canBeAsked } = chain;
  const cached = known && (canBeAsked || from !== null);
  const isUnknownFault = undetermined && (ocsp === "hard" || crl === "hard" || mustStaple);
  return {
    record: { status, from, cached, reason, thisUpdate, nextUpdate },
    fault: status === "revoked" ? "revoked" : isUnknownFault ? "revocationUnknown" : undefined,
  };
}
