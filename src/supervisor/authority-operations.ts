import type { AuthorityInfo } from "../control/api.ts";
import type { Operations } from "../control/operations.ts";
import { log } from "../log.ts";
import type { OfferedCertificate } from "../page/ca-files.ts";
import type { Authorities } from "../pki/issue/authority.ts";
import type { Authority } from "../pki/issue/authority-reading.ts";
import { recordCertificate } from "../pki/x509/certificate-record.ts";
import { serialNumberOf } from "../pki/x509/fingerprint.ts";
import { isSelfIssued } from "../pki/x509/issuing.ts";
import type { NodeState } from "./state.ts";

/** The CAs' life, as the API asks for it: shown, renewed, followed by others, destroyed. `renewed`: the CAs that sign have changed. */
export function createAuthorityOperations(
  state: NodeState,
  renewed: () => Promise<unknown>,
): Pick<
  Operations,
  | "offeredCertificates"
  | "authorities"
  | "authorityPem"
  | "renewAuthority"
  | "makeNextAuthority"
  | "activateAuthority"
  | "destroyAuthority"
> {
  const { authorities } = state;
  return {
    authorities: () => authorityInfos(state),
    authorityPem(role, keyType, stage) {
      const listed = stage === "next" ? authorities.next() : authorities.list();
      return listed.find((one) => one.role === role && one.keyType === keyType)?.certificatePem;
    },
    offeredCertificates: () => offeredCertificates(authorities),
    async renewAuthority(role) {
      await authorities.renew(role, Date.now());
      forgetIssued(state);
      offer(state);
      note(state, authorities.list(), role, `Made a new ${role} CA, which replaces the one before`);
      await renewed();
      return authorityInfos(state);
    },
    async makeNextAuthority(role) {
      await authorities.makeNext(role, Date.now());
      offer(state);
      note(
        state,
        authorities.next(),
        role,
        `Made the ${role} CA that is to follow; the present one signs until it is activated`,
      );
      return authorityInfos(state);
    },
    async activateAuthority(role) {
      await authorities.activate(role, Date.now());
      forgetIssued(state);
      offer(state);
      note(state, authorities.list(), role, `The next ${role} CA signs now`);
      await renewed();
      return authorityInfos(state);
    },
    async destroyAuthority(role, which) {
      const keys = await authorities.destroy(role, which).finally(() => offer(state));
      log.info({ keys }, `Destroyed the private keys of the ${which} ${role} CAs`);
      return keys;
    },
  };
}

function authorityInfos({ authorities }: NodeState): AuthorityInfo[] {
  return [
    ...authorities.list().map((one) => infoOf(one, "present")),
    ...authorities.next().map((one) => infoOf(one, "next")),
  ];
}

function infoOf(
  { role, keyType, certificate, sha256, notBefore, notAfter, given }: Authority,
  stage: AuthorityInfo["stage"],
): AuthorityInfo {
  const { subject } = recordCertificate(certificate);
  const serial = serialNumberOf(certificate);
  return { role, keyType, subject, serial, sha256, notBefore, notAfter, origin: given ? "given" : "made", stage };
}

/** What the old keys signed is not presented again. */
function forgetIssued({ mint, workers }: NodeState): void {
  mint.flush();
  workers.tell({ kind: "flush", cache: "issued" });
}

function note(
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
function offer({ authorities, workers }: NodeState): void {
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
