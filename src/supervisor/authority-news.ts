import { log } from "../log.ts";
import type { OfferedCertificate } from "../page/ca-files.ts";
import type { Authorities } from "../pki/issue/authority.ts";
import type { Authority } from "../pki/issue/authority-reading.ts";
import { recordCertificate } from "../pki/x509/certificate-record.ts";
import { isSelfIssued } from "../pki/x509/issuing.ts";
import type { NodeState } from "./state.ts";

/** Who hears that the CAs have changed: the workers, the caches, the log, webhooks. */

/** What the old keys signed is not presented again. */
export function forgetIssued({ mint, workers }: NodeState): void {
  mint.flush();
  workers.tell({ kind: "flush", cache: "issued" });
}

export function noteAuthorities(
  { webhooks }: NodeState,
  authorities: readonly Authority[],
  role: Authority["role"],
  message: string,
): void {
  for (const { keyType, sha256 } of authorities.filter((one) => one.role === role)) {
    log.info({ keyType, sha256 }, message);
    webhooks.tell("ca.made", message, { role, keyType, sha256 });
  }
}

/** The workers' explicit proxies offer them, too. */
export function offer({ authorities, workers }: NodeState): void {
  workers.tell({ kind: "offered", certificates: offeredCertificates(authorities) });
}

/** Clients must not trust the secondary CA. */
export function offeredCertificates(authorities: Authorities): OfferedCertificate[] {
  const offer = (stage: OfferedCertificate["stage"]) => (one: Authority) => ({
    keyType: one.keyType,
    stage,
    subject: recordCertificate(one.certificate).subject,
    sha256: one.sha256,
    notAfter: one.notAfter,
    isRoot: isSelfIssued(one.certificate),
    pem: one.certificatePem,
  });
  const isPrimary = ({ role }: Authority) => role === "primary";
  return [
    ...authorities.list().filter(isPrimary).map(offer("present")),
    ...authorities.next().filter(isPrimary).map(offer("next")),
  ];
}
